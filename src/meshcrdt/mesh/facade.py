"""Addresses, names and workloads, as users of the mesh call them.

Each function hands one command to the node and returns its outcome, a record: for
addresses those of `meshcrdt.ipam.outcomes`. Misuse raises; expected ends do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from meshcrdt.base.dnsname import normalise_name
from meshcrdt.ipam.outcomes import Outcome, Released
from meshcrdt.mesh import arguments
from meshcrdt.mesh.arguments import deadline, held_addresses, text, texts
from meshcrdt.mesh.requests import Requests
from meshcrdt.node.events import Allocate, Claim, Release, SetName, SetWorkload

if TYPE_CHECKING:
    from meshcrdt.node.node import Node
    from meshcrdt.node.workloads import Endpoint


class IpamFacade:
    """Addresses of this node's workloads."""

    def __init__(self, node: Node, requests: Requests) -> None:
        self._node = node
        self._requests = requests

    async def allocate(
        self, workload: str, *, subnet: str | None = None, timeout: float | None = None
    ) -> Outcome:
        """Give a workload one address, from the first universe or from `subnet`.

        The same workload gets the same address again. `timeout` is in seconds; the default
        is limits.allocate_timeout_s. Raises UsageError for a subnet outside the universes.
        """
        wanted = None if subnet is None else text(subnet, "subnet")
        by = self._deadline(timeout)
        outcome: Outcome = await self._requests.ask(
            lambda request: Allocate(request, workload, wanted, by)
        )
        return outcome

    async def claim(self, workload: str, address: str, *, timeout: float | None = None) -> Outcome:
        """Take one given address for a workload; Refused names the holder."""
        by = self._deadline(timeout)
        outcome: Outcome = await self._requests.ask(
            lambda request: Claim(request, workload, address, by)
        )
        return outcome

    async def release(self, workload: str, address: str | None = None) -> Released:
        """Give back one address of a workload, or all of them; nothing held is no error."""
        outcome: Released = await self._requests.ask(
            lambda request: Release(request, workload, address)
        )
        return outcome

    def lookup(self, workload: str) -> tuple[str, ...]:
        """Return the addresses that a workload of this node holds, with prefix lengths."""
        return self._node.addresses(workload)

    def entries(self) -> dict[str, tuple[str, ...]]:
        """Return every workload of this node with its addresses."""
        return self._node.ipam_entries()

    def _deadline(self, timeout: float | None) -> float:
        return deadline(self._node.limits.allocate_timeout_s if timeout is None else timeout)


class NamesFacade:
    """The service directory: this node's names, and lookups over all nodes'."""

    def __init__(self, node: Node, requests: Requests) -> None:
        self._node = node
        self._requests = requests
        # Adding an address, and removing one of several, reads and then writes.
        self._writing = trio.Lock()

    async def set(self, name: str, addresses: Iterable[str]) -> None:
        """Set this node's addresses for a name; other nodes' stay. None removes the name."""
        wanted = texts(addresses, "address")
        async with self._writing:
            await self._requests.ask(lambda request: SetName(request, name, wanted))

    async def add(self, name: str, addresses: Iterable[str]) -> None:
        """Add to this node's addresses for a name; the ones that it has there stay."""
        wanted = frozenset(texts(addresses, "address"))
        async with self._writing:
            both = tuple(sorted(self._own(name) | wanted))
            await self._requests.ask(lambda request: SetName(request, name, both))

    async def remove(self, name: str, addresses: Iterable[str] = ()) -> None:
        """Remove this node's record of a name, or only the given addresses of it."""
        unwanted = frozenset(texts(addresses, "address"))
        async with self._writing:
            left = self._own(name) - unwanted if unwanted else frozenset()
            await self._requests.ask(lambda request: SetName(request, name, tuple(sorted(left))))

    def lookup(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name, from all nodes that are not dead for long."""
        return self._node.lookup_name(name, trio.current_time())

    def reverse(self, address: str) -> tuple[str, ...]:
        """Return the names that have an address."""
        return self._node.reverse(address, trio.current_time())

    def entries(self) -> dict[str, tuple[str, ...]]:
        """Return every name with its addresses."""
        return self._node.names()

    def has_below(self, name: str) -> bool:
        """Return whether there are names below a name, such as a.b below b; quick."""
        core = self._node.core
        return core is not None and core.names.has_below(name)

    def _own(self, name: str) -> frozenset[str]:
        domain = self._node.config.domain
        wanted = normalise_name(name, domain)
        return frozenset(
            address
            for shown, addresses in self._node.own_names().items()
            if normalise_name(shown, domain) == wanted
            for address in addresses
        )


class WorkloadsFacade:
    """Where workloads are attached: on this host."""

    def __init__(self, node: Node, requests: Requests) -> None:
        self._node = node
        self._requests = requests

    async def set(self, workload: str, addresses: Iterable[str], *, mac: str = "") -> None:
        """Publish that a workload's addresses live on this host; prefix lengths do not count.

        Other hosts put them into their kernels: raises UsageError for what is no address, or
        a `mac` that is no MAC.
        """
        target, wanted, link_layer = (
            text(workload, "workload"),
            held_addresses(addresses, "address"),
            arguments.mac(mac, "mac"),
        )
        await self._requests.ask(lambda request: SetWorkload(request, target, wanted, link_layer))

    async def remove(self, workload: str) -> None:
        """Withdraw a workload."""
        target = text(workload, "workload")
        await self._requests.ask(lambda request: SetWorkload(request, target, ()))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where every attached workload address of the cluster lives."""
        return self._node.endpoints()
