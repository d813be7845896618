"""Status, health, connect, forget, rmpeer, token, and the way to the end."""

from __future__ import annotations

import json
from http import HTTPStatus
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshcrdt.daemon import values
from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.http.problems import Problem, feature_off, unknown
from meshcrdt.daemon.http.requests import Fields
from meshcrdt.daemon.options import peer_address
from meshcrdt.daemon.status import status_object
from meshcrdt.node.events import Force
from meshcrdt.topology.directory import UnknownPeer


class PeerRoutes:
    """The routes about this daemon and its peers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._mesh = daemon.mesh

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/status", self.status, methods=["GET"]),
            Route("/v1/health", self.health, methods=["GET"]),
            Route("/v1/openapi.json", self.document, methods=["GET"]),
            Route("/v1/connect", self.connect, methods=["POST"]),
            Route("/v1/forget", self.forget, methods=["POST"]),
            Route("/v1/rmpeer", self.rmpeer, methods=["POST"]),
            Route("/v1/token", self.token, methods=["POST"]),
            Route("/v1/stop", self.stop, methods=["POST"]),
            Route("/v1/reset", self.reset, methods=["POST"]),
        ]

    async def status(self, request: Request) -> Response:
        """GET /v1/status."""
        return JSONResponse(status_object(self._daemon))

    async def health(self, request: Request) -> Response:
        """GET /v1/health: 200 when ready."""
        state = self._mesh.state
        if state != "ready":
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"this node is {state}", extra={"state": state}
            )
        return JSONResponse({"state": state})

    async def document(self, request: Request) -> Response:
        """GET /v1/openapi.json: this API, described."""
        return JSONResponse(openapi_document())

    async def connect(self, request: Request) -> Response:
        """POST /v1/connect."""
        fields = await Fields.of(request, "peers")
        peers = fields.texts("peers", peer_address, at_least=1)
        await self._mesh.connect(peers)
        return JSONResponse({"peers": list(peers)})

    async def forget(self, request: Request) -> Response:
        """POST /v1/forget."""
        fields = await Fields.of(request, "peers")
        peers = fields.texts(
            "peers", lambda text: values.plain(text, "peer", bytes_max=512), at_least=1
        )
        for text in peers:
            try:
                self._mesh.node.addresses_meant(text)
            except UnknownPeer as error:
                raise unknown(str(error)) from None
        await self._mesh.forget(peers)
        return JSONResponse({"peers": list(peers)})

    async def rmpeer(self, request: Request) -> Response:
        """POST /v1/rmpeer: let a member go for good."""
        fields = await Fields.of(request, "peer", "force")
        peer = fields.text("peer", lambda text: values.plain(text, "peer", bytes_max=512))
        force = Force.YES if fields.flag("force") else Force.NO
        try:
            self._mesh.node.topology.resolve(peer)
        except UnknownPeer as error:
            raise unknown(str(error)) from None
        await self._mesh.evict(peer, force=force)
        return JSONResponse({"peer": peer})

    async def token(self, request: Request) -> Response:
        """POST /v1/token: a token that adds a host."""
        fields = await Fields.of(request, "ttl_s", "uses")
        ttl_s = fields.seconds("ttl_s", values.TOKEN_TTL_S, high=values.TOKEN_TTL_S_MAX)
        uses = fields.integer("uses", values.TOKEN_USES, low=1, high=values.TOKEN_USES_MAX)
        if self._daemon.settings.insecure:
            raise feature_off(
                "this node runs with --insecure: there is no secret, hosts join by address alone"
            )
        if self._mesh.state == "starting":
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "this node has not joined a cluster itself yet"
            )
        return JSONResponse({"token": self._mesh.token(ttl_s, uses=uses)})

    async def stop(self, request: Request) -> Response:
        """POST /v1/stop: drain and end; the answer names what to wait for."""
        await Fields.of(request)
        return self._ending("stop", request)

    async def reset(self, request: Request) -> Response:
        """POST /v1/reset: leave the cluster, end, and forget everything on this host."""
        await Fields.of(request)
        self._daemon.control.wipe = True
        return self._ending("reset", request)

    def _ending(self, verb: str, request: Request) -> Response:
        control = self._daemon.control
        caller = request.client
        # A Unix socket's caller has no address; who may be one, its permissions say.
        where = f"by {caller.host}:{caller.port}" if caller and caller.port else "on its socket"
        control.stop(f"{verb!r} was asked of the API {where}")
        return JSONResponse(
            {"pid": control.pid, "lock": str(control.lock_path)}, status_code=HTTPStatus.ACCEPTED
        )


def openapi_document() -> dict[str, object]:
    """Return the OpenAPI document of the API."""
    text = files("meshcrdt.daemon.http").joinpath("openapi.json").read_text()
    document: dict[str, object] = json.loads(text)
    return document
