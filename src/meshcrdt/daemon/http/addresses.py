"""`/v1/ipam`: allocate, claim, look up and release addresses of this node's workloads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshcrdt.daemon import values
from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.http.problems import unknown
from meshcrdt.daemon.http.requests import Fields, segment
from meshcrdt.daemon.outcomes import settled

DEFAULT_TIMEOUT_S = 5.0


class AddressRoutes:
    """The address routes of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ipam = daemon.mesh.ipam

    def routes(self) -> list[Route]:
        """Return the routes; the fixed paths come before the patterns that also match them."""
        return [
            Route("/v1/ipam", self.list, methods=["GET"]),
            Route("/v1/ipam/allocate", self.allocate, methods=["POST"]),
            Route("/v1/ipam/claim", self.claim, methods=["POST"]),
            Route("/v1/ipam/{id}", self.lookup, methods=["GET"]),
            Route("/v1/ipam/{id}", self.release, methods=["DELETE"]),
            Route("/v1/ipam/{id}/{address}", self.release, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """GET /v1/ipam."""
        entries = {key: list(held) for key, held in self._ipam.entries().items()}
        return JSONResponse({"entries": entries})

    async def allocate(self, request: Request) -> Response:
        """POST /v1/ipam/allocate."""
        fields = await Fields.of(request, "id", "subnet", "timeout_s")
        workload = fields.text("id", values.identifier)
        subnet = fields.text("subnet", values.cidr, None)
        timeout_s = fields.seconds("timeout_s", DEFAULT_TIMEOUT_S)
        if subnet is None:
            subnet = self._daemon.settings.ipalloc_default_subnet
        outcome = await self._ipam.allocate(workload, subnet=subnet, timeout=timeout_s)
        return JSONResponse(settled(outcome))

    async def claim(self, request: Request) -> Response:
        """POST /v1/ipam/claim."""
        fields = await Fields.of(request, "id", "address", "timeout_s")
        workload = fields.text("id", values.identifier)
        address = fields.text("address", values.address)
        timeout_s = fields.seconds("timeout_s", DEFAULT_TIMEOUT_S)
        outcome = await self._ipam.claim(workload, address, timeout=timeout_s)
        return JSONResponse(settled(outcome))

    async def lookup(self, request: Request) -> Response:
        """GET /v1/ipam/{id}."""
        workload = segment(request, "id", values.identifier)
        held = self._ipam.lookup(workload)
        if not held:
            raise unknown(f"id {workload!r} holds no address on this node")
        return JSONResponse({"id": workload, "addresses": list(held)})

    async def release(self, request: Request) -> Response:
        """DELETE /v1/ipam/{id} and /v1/ipam/{id}/{address}; done also when nothing was held."""
        workload = segment(request, "id", values.identifier)
        address = None
        if "address" in request.path_params:
            address = segment(request, "address", values.address)
        await self._ipam.release(workload, address)
        return Response(status_code=204)
