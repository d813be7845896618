"""Connections that have not proved anything yet: few, and never at a genuine peer's cost.

When there is no room the oldest of the most crowded source gives way. A newcomer is never
refused for lack of room, so whoever floods us from one place evicts mostly itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import trio

from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError


class HalfOpen:
    """The handshakes in progress, by where they come from."""

    def __init__(self, limits: Limits) -> None:
        self._total_max = limits.half_open_max
        self._per_source_max = limits.half_open_per_source_max
        self._by_source: dict[str, dict[object, trio.CancelScope]] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_source.values()))

    @contextmanager
    def slot(self, remote: str) -> Iterator[trio.CancelScope]:
        """Hold a slot for a connection from `remote`; its scope is cancelled to evict it."""
        source = source_of(remote)
        mine = self._by_source.setdefault(source, {})
        if len(mine) >= self._per_source_max:
            self._evict(source)
        elif len(self) >= self._total_max:
            self._evict(max(self._by_source, key=lambda each: len(self._by_source[each])))
        key = object()
        with trio.CancelScope() as scope:
            # An eviction may have emptied and dropped the source's table.
            self._by_source.setdefault(source, {})[key] = scope
            try:
                yield scope
            finally:
                self._drop(source, key)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold or an empty source is kept."""
        sizes = [len(slots) for slots in self._by_source.values()]
        if sum(sizes) > self._total_max or any(
            not 0 < size <= self._per_source_max for size in sizes
        ):
            raise InternalError(f"half-open connections by source: {sizes}")

    def _evict(self, source: str) -> None:
        key, scope = next(iter(self._by_source[source].items()))  # the oldest: dicts keep order
        self._drop(source, key)
        scope.cancel()
        self.evicted += 1

    def _drop(self, source: str, key: object) -> None:
        slots = self._by_source.get(source)
        if slots is not None:
            slots.pop(key, None)
            if not slots:
                del self._by_source[source]


def source_of(remote: str) -> str:
    """Return what counts as one source: the host, for IPv6 its /64, without the port.

    A single IPv6 customer has a whole /64, so single addresses would be no bound.
    """
    scheme, _, rest = remote.partition("://")
    if scheme != "tcp":
        return scheme
    if not rest.startswith("["):
        return rest.rpartition(":")[0]
    text = rest[1:].partition("]")[0].partition("%")[0]
    try:
        address = IPv6Address(text)
    except ValueError:
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))
