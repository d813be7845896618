"""Last-writer-wins register: one value, and the greatest stamp keeps it.

Johnson and Thomas, RFC 677 (1975); Shapiro et al. (2011), specification 8. The stamp's
time is a claim of the writer: a liar can win for ever (finding F12), so channels default
to observed-dot supersession and this type is for callers who trust their writers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_peer, take_tuple
from meshcrdt.crdt.canonical import CanonicalValue, Tagged, order, tag, untag
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import CapacityError, MalformedTree, UsageError


@registered("lww")
class LWWRegister(CanonicalValue):
    """A register in which the latest claimed time wins, then the greater origin, then value.

    `LWWRegister()` was never written. `time` is a whole number in any unit that all
    writers share; a write never goes below what its writer has seen, so that causally
    later writes win whatever the clocks say.
    """

    __slots__ = ("_written",)

    _written: tuple[int, PeerId, Tagged] | None

    def __init__(self) -> None:
        self._written = None

    @classmethod
    def _make(cls, written: tuple[int, PeerId, Tagged] | None) -> Self:
        made = cls()
        made._written = written
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the register that was never written."""
        return cls()

    def write(self, value: Tree, *, time: int, origin: PeerId) -> Self:
        """Return the delta that writes `value` at the later of `time` and just after this state.

        Raises UsageError for a bad value or time, CapacityError when time has run out.
        """
        if type(time) is not int or not 0 <= time <= INT_MAX:
            raise UsageError(f"{time!r} is not a time: a whole number from 0 is accepted")
        if self._written is not None:
            time = max(time, self._written[0] + 1)
        if time > INT_MAX:
            raise CapacityError(f"the register's time is at its limit {INT_MAX}")
        return self._make((time, PeerId(origin), tag(value)))

    @property
    def value(self) -> Tree:
        """The winning value; None when it was never written (see `stamp`)."""
        return None if self._written is None else untag(self._written[2])

    @property
    def stamp(self) -> tuple[int, PeerId] | None:
        """(time, origin) of the winning write, or None when there is none."""
        return None if self._written is None else self._written[:2]

    def join(self, other: Self) -> Self:
        """Return the later write."""
        return self if other.leq(self) else other

    def leq(self, other: Self) -> bool:
        """Return True when `other` is written as late or later."""
        if self._written is None:
            return True
        mine, theirs = self._written, other._written
        if theirs is None or mine[:2] != theirs[:2]:
            return theirs is not None and mine[:2] < theirs[:2]
        return order(mine[2]) <= order(theirs[2])

    def decompose(self) -> Iterator[Self]:
        """Yield the write, if there is one: states are totally ordered."""
        if self._written is not None:
            yield self

    def to_tree(self) -> Tree:
        """Return () or (time, origin, value)."""
        if self._written is None:
            return ()
        time, origin, value = self._written
        return (time, bytes(origin), untag(value))

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        if take_tuple(tree, "lww") == ():
            return cls()
        time, origin, value = take_tuple(tree, "lww", size=3)
        return cls._make(
            (
                take_int(time, "lww time"),
                take_peer(origin, "lww origin"),
                tag(value, fault=MalformedTree),
            )
        )

    def _state(self) -> object:
        return self._written
