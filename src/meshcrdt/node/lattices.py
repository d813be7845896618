"""Values of lattice channels: the one place where a node runs the code of a user's type.

A user's type meets what peers wrote, and peers may run another version of it, or lie. So
every call into it is guarded: what raises costs the caller an answer, or one origin its part
in one value, and never the turn (finding F33). Which parts were left out, and why, is kept
for status and `explain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import take_tuple
from meshcrdt.crdt.dots import DotStore
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.gossip.replica import Replica
from meshcrdt.node.views import LATTICE_KEY
from meshcrdt.wire import decode, encode

T = TypeVar("T")

REASON_CHARS_MAX = 200
"""Of what an exception says: its text may quote what a peer wrote."""


class _TypeRaised(Exception):
    """A user's type raised, or returned what it may not; `step` is which of its methods."""

    def __init__(self, step: str, said: str) -> None:
        super().__init__(f"{step} {said}")


@frozen
class Unreadable:
    """An origin's part that is not in the value: `reason` is one line for a person."""

    channel: str
    origin: PeerId
    raw: bytes
    """The part as it is stored: `explain` finds the record by it."""
    reason: str

    def __str__(self) -> str:
        return f"the part of {self.origin} in {self.channel!r} is left out: {self.reason}"


@frozen
class Reading:
    """The join of every part that the type could read."""

    value: Any
    unreadable: tuple[Unreadable, ...]


class Lattices:
    """What a node's lattice channels hold, and which parts their types could not read."""

    def __init__(self) -> None:
        self._unreadable: dict[str, tuple[Unreadable, ...]] = {}
        self._told: dict[str, frozenset[Unreadable]] = {}

    def read(self, replica: Replica, channel: str, lattice: type[Lattice]) -> Reading:
        """Return the join of all contributions, this node's staged ones included.

        A part that does not parse, or whose join raises, is left out: it can spoil only its
        origin's part. Raises UsageError when the type has no bottom to begin with.
        """
        value = bottom_of(lattice)
        own = replica.own_value(channel, LATTICE_KEY)
        parts = [] if own is None else [(replica.me, own)]
        parts += [(seen.origin, seen.value) for seen in replica.visible(channel, LATTICE_KEY)]
        left_out: dict[tuple[PeerId, bytes], Unreadable] = {}
        for origin, raw in parts:
            try:
                value = _joined(lattice, value, _part(raw, lattice))
            except _TypeRaised as error:
                left_out[origin, raw] = Unreadable(channel, origin, raw, str(error))
        self._remember(channel, tuple(left_out.values()))
        return Reading(value, tuple(left_out.values()))

    def _remember(self, channel: str, unreadable: tuple[Unreadable, ...]) -> None:
        if unreadable:
            self._unreadable[channel] = unreadable
        else:
            self._unreadable.pop(channel, None)

    def news(self, channel: str, reading: Reading) -> tuple[Unreadable, ...]:
        """Return what an operator was not told yet of what a reading left out.

        Only what turns read is asked here: a trace replays without a user's own readings.
        """
        known = self._told.get(channel, frozenset())
        if reading.unreadable:
            self._told[channel] = frozenset(reading.unreadable)
        else:
            self._told.pop(channel, None)
        return tuple(each for each in reading.unreadable if each not in known)

    def unreadable(self) -> tuple[Unreadable, ...]:
        """Return what was left out when each channel was last read, by channel."""
        return tuple(each for _, left in sorted(self._unreadable.items()) for each in left)

    def why_left_out(self, channel: str, origin: PeerId, raw: bytes | None) -> str | None:
        """Return why a record was not in the value when it was last read, or None."""
        for each in self._unreadable.get(channel, ()):
            if (each.origin, each.raw) == (origin, raw):
                return each.reason
        return None


def bottom_of(lattice: type[Lattice]) -> Any:
    """Return the least value of a type; raises UsageError when it has none."""
    try:
        return _guarded("bottom", lattice.bottom)
    except _TypeRaised as error:
        raise UsageError(f"{lattice.__name__} cannot be read: {error}") from error


def contribution(
    replica: Replica, channel: str, lattice: type[Lattice], current: Lattice, delta: Lattice
) -> bytes:
    """Return the record value of this node's contribution joined with a delta.

    `current` is the whole value: what it shows to be gone is not carried on. Raises
    UsageError for what the type cannot do, and where this node's own part cannot be read:
    a write would replace it, and lose what only this node holds.
    """
    own = replica.own_value(channel, LATTICE_KEY)
    try:
        joined = delta if own is None else _joined(lattice, _part(own, lattice), delta)

        def packed() -> bytes:
            last: Lattice = joined
            if isinstance(last, DotStore) and isinstance(current, DotStore):
                last = last.without_gone(current)
            return encode((lattice.__name__, last.to_tree()))

        return _guarded("to_tree", packed)
    except _TypeRaised as error:
        raise UsageError(
            f"nothing is written to {channel!r}: {lattice.__name__} {error}"
        ) from error


def _part(raw: bytes, lattice: type[Lattice]) -> Lattice:
    """Read a contribution; raises _TypeRaised for what is none of the type."""
    try:
        name, tree = take_tuple(decode(raw), "contribution", size=2)
    except MalformedTree as error:
        raise _TypeRaised("contribution", _said(error)) from None
    if name != lattice.__name__:
        raise _TypeRaised("contribution", f"is not of the type {lattice.__name__}")
    return _guarded("from_tree", lambda: lattice.from_tree(tree))


def _joined(lattice: type[Lattice], value: Lattice, part: Lattice) -> Lattice:
    joined = _guarded("join", lambda: value.join(part))
    if not isinstance(joined, lattice):
        raise _TypeRaised("join", f"returned a {type(joined).__name__}")
    return joined


def _guarded(step: str, call: Callable[[], T]) -> T:
    """Call into a user's type; whatever it raises becomes _TypeRaised."""
    try:
        return call()
    except Exception as error:
        raise _TypeRaised(step, f"raised {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return what an exception says, which is code of a user too: it may raise."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {text[:REASON_CHARS_MAX]}" if text else name
