"""`/v1/names`: this node's addresses for a name, and what all nodes say together."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshcrdt.base.dnsname import qualify_name
from meshcrdt.daemon import values
from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.http.problems import unknown
from meshcrdt.daemon.http.requests import Fields, checked, segment


class NameRoutes:
    """The name routes of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._names = daemon.mesh.names
        self._domain = daemon.settings.dns_domain

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/names", self.list, methods=["GET"]),
            Route("/v1/names/{name}", self.lookup, methods=["GET"]),
            Route("/v1/names/{name}", self.set, methods=["PUT"]),
            Route("/v1/names/{name}", self.remove, methods=["DELETE"]),
        ]

    def _name(self, request: Request) -> str:
        name = segment(request, "name", values.dns_name)
        return checked("name", name, lambda text: qualify_name(text, self._domain))

    async def list(self, request: Request) -> Response:
        """GET /v1/names."""
        entries = {name: list(addresses) for name, addresses in self._names.entries().items()}
        return JSONResponse({"entries": entries})

    async def lookup(self, request: Request) -> Response:
        """GET /v1/names/{name}."""
        name = self._name(request)
        addresses = self._names.lookup(name)
        if not addresses:
            raise unknown(f"name {name!r} has no address")
        return JSONResponse({"name": name, "addresses": list(addresses)})

    async def set(self, request: Request) -> Response:
        """PUT /v1/names/{name}: exactly these addresses, of this node."""
        name = self._name(request)
        fields = await Fields.of(request, "addresses")
        addresses = fields.texts("addresses", values.address, at_least=1)
        await self._names.set(name, addresses)
        return JSONResponse({"name": name, "addresses": list(addresses)})

    async def remove(self, request: Request) -> Response:
        """DELETE /v1/names/{name}: all of this node's addresses, or those of `?address=`."""
        name = self._name(request)
        given = request.query_params.getlist("address")
        going = {checked("address", text, values.address) for text in given}
        await self._names.remove(name, going)
        return Response(status_code=204)
