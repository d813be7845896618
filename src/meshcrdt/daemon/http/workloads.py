"""`/v1/attach`, `/v1/detach`, `/v1/expose`, `/v1/hide`: workloads and this host's own presence."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshcrdt.daemon import values
from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.http.problems import feature_off
from meshcrdt.daemon.http.requests import Fields
from meshcrdt.daemon.workloads.attach import Workloads


class WorkloadRoutes:
    """The workload routes of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/attach", self.attach, methods=["POST"]),
            Route("/v1/detach", self.detach, methods=["POST"]),
            Route("/v1/expose", self.expose, methods=["POST"]),
            Route("/v1/hide", self.hide, methods=["POST"]),
        ]

    def _workloads(self) -> Workloads:
        if self._daemon.workloads is None:
            raise feature_off(self._daemon.dataplane_reason or "no dataplane runs here")
        return self._daemon.workloads

    async def attach(self, request: Request) -> Response:
        """POST /v1/attach."""
        fields = await Fields.of(request, "target", "addresses", "name")
        target = fields.text("target", values.target)
        addresses = fields.texts("addresses", values.attach_address)
        name = fields.text("name", values.dns_name, None)
        attached = await self._workloads().attach(target, addresses, name=name)
        return JSONResponse(attached)

    async def detach(self, request: Request) -> Response:
        """POST /v1/detach."""
        fields = await Fields.of(request, "target", "addresses")
        target = fields.text("target", values.target)
        addresses = fields.texts("addresses", values.attached_address)
        return JSONResponse(await self._workloads().detach(target, addresses))

    async def expose(self, request: Request) -> Response:
        """POST /v1/expose."""
        fields = await Fields.of(request, "addresses")
        addresses = fields.texts("addresses", values.attach_address)
        return JSONResponse(await self._workloads().expose(addresses))

    async def hide(self, request: Request) -> Response:
        """POST /v1/hide."""
        fields = await Fields.of(request, "addresses")
        addresses = fields.texts("addresses", values.attached_address)
        return JSONResponse(await self._workloads().hide(addresses))
