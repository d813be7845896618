"""Getting addresses as attach and expose ask for them, with the prefix length of their range."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from meshcrdt.daemon.outcomes import settled
from meshcrdt.daemon.workloads.desired import bare
from meshcrdt.ipam.outcomes import Outcome

if TYPE_CHECKING:
    from meshcrdt.mesh.mesh import Mesh

ADDRESS_TIMEOUT_S = 5.0


class Addresses:
    """Takes addresses from the mesh; `default_subnet` is where `net:default` takes them."""

    def __init__(self, mesh: Mesh, default_subnet: str | None) -> None:
        self._mesh = mesh
        self._default_subnet = default_subnet

    def one_of_each_family(self, held: Iterable[str] = ()) -> list[str]:
        """Return what to ask for when nobody said: an address of each family that lacks one."""
        universes = self._mesh.universes
        families = {ipaddress.ip_interface(address).version for address in held}
        asks: list[str] = []
        for universe in universes:
            version = ipaddress.ip_network(universe).version
            if version not in families:
                asks.append("net:default" if universe == universes[0] else f"net:{universe}")
                families.add(version)
        return asks

    async def take(self, workload: str, ask: str) -> str:
        """Get one address, as `attach` is asked for it; returns it with its prefix length.

        Raises Unsettled when there is none.
        """
        outcome: Outcome
        if ask.startswith("net:"):
            subnet = self._default_subnet if ask == "net:default" else ask.removeprefix("net:")
            outcome = await self._mesh.ipam.allocate(
                workload, subnet=subnet, timeout=ADDRESS_TIMEOUT_S
            )
        else:
            outcome = await self._mesh.ipam.claim(workload, bare(ask), timeout=ADDRESS_TIMEOUT_S)
        return self._with_prefix(settled(outcome)["address"])

    def _with_prefix(self, address: str) -> str:
        if "/" in address:
            return address
        parsed = ipaddress.ip_address(address)
        for universe in self._mesh.universes:
            network = ipaddress.ip_network(universe)
            if parsed in network:
                return f"{address}/{network.prefixlen}"
        return f"{address}/{parsed.max_prefixlen}"
