"""Handshakes in progress: few, and never at a genuine peer's cost.

When there is no room the oldest of the most crowded source gives way. A newcomer is never
refused for lack of room, so whoever floods us from one place evicts mostly itself. A caller
whose first message proves that it holds a key moves to a table of its own, where strangers
cannot push it out, however many they are and however far away it is (finding T6).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import trio
from attrs import define, field

from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError


@define(eq=False)
class _Table:
    """The handshakes of one standing, by where they come from."""

    total_max: int
    per_source_max: int
    by_source: dict[str, dict[Slot, trio.CancelScope]] = field(factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.by_source.values()))

    def add(self, slot: Slot, scope: trio.CancelScope) -> bool:
        """Add a slot; returns whether another one had to give way to it."""
        evicted = self._make_room(slot.source)
        # After the eviction, which may have emptied and dropped the source's slots.
        self.by_source.setdefault(slot.source, {})[slot] = scope
        return evicted

    def drop(self, slot: Slot) -> trio.CancelScope | None:
        """Remove a slot, if it is here."""
        slots = self.by_source.get(slot.source, {})
        scope = slots.pop(slot, None)
        if not slots:
            self.by_source.pop(slot.source, None)
        return scope

    def check(self) -> None:
        """Raise InternalError when a bound does not hold or an empty source is kept."""
        sizes = [len(slots) for slots in self.by_source.values()]
        if sum(sizes) > self.total_max or any(
            not 0 < size <= self.per_source_max for size in sizes
        ):
            raise InternalError(f"half-open connections by source: {sizes}")

    def _make_room(self, source: str) -> bool:
        if len(self.by_source.get(source, ())) >= self.per_source_max:
            crowded = source
        elif len(self) >= self.total_max:
            crowded = max(self.by_source, key=lambda each: len(self.by_source[each]))
        else:
            return False
        oldest = next(iter(self.by_source[crowded]))  # dicts keep order
        scope = self.drop(oldest)
        if scope is not None:
            scope.cancel()
        return True


@define(eq=False)
class Slot:
    """The place of one handshake."""

    source: str
    _all: HalfOpen

    def proved(self) -> None:
        """Note that the caller proved to hold a key: strangers push it out no more.

        A recorded first message can be sent again by anyone, so this standing has its
        bounds too.
        """
        self._all.promote(self)


class HalfOpen:
    """The handshakes in progress: of strangers, and of callers who proved to hold a key."""

    def __init__(self, limits: Limits) -> None:
        bounds = (limits.half_open_max, limits.half_open_per_source_max)
        self._strangers = _Table(*bounds)
        self._proved = _Table(*bounds)
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._proved)

    @property
    def proved(self) -> int:
        """How many of the callers proved to hold a key."""
        return len(self._proved)

    @contextmanager
    def slot(self, remote: str) -> Iterator[Slot]:
        """Hold a slot for a connection from `remote`; the block is cancelled to evict it."""
        slot = Slot(source_of(remote), self)
        with trio.CancelScope() as scope:
            self.evicted += self._strangers.add(slot, scope)
            try:
                yield slot
            finally:
                self._strangers.drop(slot)
                self._proved.drop(slot)

    def promote(self, slot: Slot) -> None:
        """Move a slot out of the strangers' reach."""
        scope = self._strangers.drop(slot)
        if scope is not None:
            self.evicted += self._proved.add(slot, scope)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold or an empty source is kept."""
        self._strangers.check()
        self._proved.check()


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
