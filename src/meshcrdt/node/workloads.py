"""Where workload addresses live: the replicated `endpoints` channel.

One record per address that a workload on this host holds on the wire, so that every other
host can enter exact forwarding and neighbour entries and flood nothing (docs/dataplane.md). It is
owner-writes-only by origin: a record says that the address is on its origin's host.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.macs import parse_mac
from meshcrdt.base.tree import take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ranges import format_address, parse_address
from meshcrdt.wire import decode, encode

WORKLOAD_CHARACTERS_MAX = 256


@frozen
class Endpoint:
    """One workload address: on which peer's host, with which MAC, for which workload id.

    `address` and `mac` are as kernels write them, so that they compare; `mac` may be empty.
    """

    address: str
    peer: PeerId
    mac: str
    workload: str


def endpoint_key(address: str) -> bytes:
    """Return the key of an endpoint; raises UsageError for what no reader takes for one."""
    key = address.encode()
    try:
        _read_key(key)
    except MalformedTree as error:
        raise UsageError(str(error)) from None
    return key


def endpoint_value(workload: str, mac: str) -> bytes:
    """Return the record value of an endpoint; raises UsageError for what no reader accepts."""
    value = encode((workload, mac))
    try:
        _read_value(value)
    except MalformedTree as error:
        raise UsageError(str(error)) from None
    return value


def endpoint_workload(value: bytes | None) -> str | None:
    """Return the workload of an endpoint's record value; None for what is no endpoint.

    The rest does not count here: what an owner once wrote he can withdraw, readable or not.
    """
    if value is None:
        return None
    try:
        workload, _ = take_tuple(decode(value), "endpoint", size=2)
        return take_str(workload, "workload")
    except MalformedTree:
        return None


def _read_key(key: bytes) -> str:
    """Return the address of a key: in the one form in which it is written."""
    try:
        address = key.decode()
        canonical = format_address(*parse_address(address))
    except ValueError as error:
        raise MalformedTree(f"endpoint {key!r} is not an address: {error}") from None
    if address != canonical:
        raise MalformedTree(f"endpoint {address!r} is not in its one form, {canonical}")
    return address


def _read_value(value: bytes) -> tuple[str, str]:
    """Return the (workload, mac) of a record value."""
    workload, mac = take_tuple(decode(value), "endpoint", size=2)
    shown = take_str(mac, "mac")
    try:
        link_layer = parse_mac(shown) if shown else ""
    except UsageError as error:
        raise MalformedTree(str(error)) from None
    return take_str(workload, "workload", size_max=WORKLOAD_CHARACTERS_MAX), link_layer


class Endpoints:
    """All endpoints that this node knows, by (origin, address)."""

    def __init__(self) -> None:
        self._by_origin: dict[PeerId, dict[bytes, Endpoint]] = {}
        self.malformed = 0

    def update(self, origin: PeerId, key: bytes, value: bytes | None) -> None:
        """Take one change of a record; a malformed one is left out and counted."""
        mine = self._by_origin.setdefault(origin, {})
        mine.pop(key, None)
        if value is None:
            return
        try:
            address = _read_key(key)
            workload, mac = _read_value(value)
        except MalformedTree:
            self.malformed += 1
        else:
            mine[key] = Endpoint(address, origin, mac, workload)

    def all(self) -> tuple[Endpoint, ...]:
        """Return every endpoint, sorted by address text then peer."""
        found = [e for mine in self._by_origin.values() for e in mine.values()]
        return tuple(sorted(found, key=lambda e: (e.address, e.peer)))
