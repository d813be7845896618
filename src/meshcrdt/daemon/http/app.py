"""The ASGI application: every route, and what turns errors into problems."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.http import problems
from meshcrdt.daemon.http.addresses import AddressRoutes
from meshcrdt.daemon.http.channels import ChannelRoutes
from meshcrdt.daemon.http.names import NameRoutes
from meshcrdt.daemon.http.peers import PeerRoutes
from meshcrdt.daemon.http.requests import EncodedPath
from meshcrdt.daemon.http.workloads import WorkloadRoutes
from meshcrdt.errors import MeshError


def make_app(daemon: Daemon) -> ASGIApp:
    """Return the application that serves `/v1` for one daemon."""
    topics = (PeerRoutes, AddressRoutes, ChannelRoutes, NameRoutes, WorkloadRoutes)
    app = Starlette(
        routes=[route for topic in topics for route in topic(daemon).routes()],
        exception_handlers={
            problems.Problem: problems.on_problem,
            MeshError: problems.on_known,
            CommandError: problems.on_known,
            HTTPException: problems.on_http,
            Exception: problems.on_bug,
        },
    )
    app.router.redirect_slashes = False
    return EncodedPath(app)
