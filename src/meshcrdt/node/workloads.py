"""Where workload addresses live: the replicated `endpoints` channel.

One record per address that a workload on this host holds on the wire, so that every other
host can enter exact forwarding and neighbour entries and flood nothing (docs/dataplane.md). It is
owner-writes-only by origin: a record says that the address is on its origin's host.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import take_str, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import decode, encode


@frozen
class Endpoint:
    """One workload address: on which peer's host, with which MAC, for which workload id."""

    address: str
    peer: PeerId
    mac: str
    workload: str


def endpoint_value(workload: str, mac: str) -> bytes:
    """Return the record value of an endpoint."""
    return encode((workload, mac))


def endpoint_workload(value: bytes | None) -> str | None:
    """Return the workload of an endpoint's record value; None for what is no endpoint."""
    if value is None:
        return None
    try:
        workload, _ = take_tuple(decode(value), "endpoint", size=2)
        return take_str(workload, "workload", size_max=256)
    except MalformedTree:
        return None


class Endpoints:
    """All endpoints that this node knows, by (origin, address)."""

    def __init__(self) -> None:
        self._by_origin: dict[PeerId, dict[str, Endpoint]] = {}
        self.malformed = 0

    def update(self, origin: PeerId, key: bytes, value: bytes | None) -> None:
        """Take one change of a record; a malformed one is left out and counted."""
        mine = self._by_origin.setdefault(origin, {})
        try:
            address = key.decode()
        except UnicodeDecodeError:
            self.malformed += 1
            return
        mine.pop(address, None)
        if value is None:
            return
        try:
            workload, mac = take_tuple(decode(value), "endpoint", size=2)
            mine[address] = Endpoint(
                address,
                origin,
                take_str(mac, "mac", size_max=17),
                take_str(workload, "workload", size_max=256),
            )
        except MalformedTree:
            self.malformed += 1

    def all(self) -> tuple[Endpoint, ...]:
        """Return every endpoint, sorted by address text then peer."""
        found = [e for mine in self._by_origin.values() for e in mine.values()]
        return tuple(sorted(found, key=lambda e: (e.address, e.peer)))

    def of(self, origin: PeerId) -> dict[str, Endpoint]:
        """Return one origin's endpoints by address."""
        return dict(self._by_origin.get(origin, {}))
