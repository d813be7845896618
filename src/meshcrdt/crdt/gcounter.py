"""Grow-only counter: one running total per origin, joined by maximum.

Shapiro et al., "A comprehensive study of convergent and commutative replicated data
types" (2011), specification 6; deltas after Almeida et al. (2018). It is also the base
of the PN-Counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_peer, take_tuple
from meshcrdt.crdt.canonical import ENTRIES_MAX, CanonicalValue, increasing
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import CapacityError, MalformedTree, UsageError


@registered("gcounter")
class GCounter(CanonicalValue):
    """A counter that only grows. `GCounter()` is zero.

    An origin increments only its own entry, from a state that holds all its earlier
    increments; one that lost its memory must count under a new identity.
    """

    __slots__ = ("_totals",)

    _totals: dict[PeerId, int]

    def __init__(self) -> None:
        self._totals = {}

    @classmethod
    def _make(cls, totals: dict[PeerId, int]) -> Self:
        made = cls()
        made._totals = totals
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return zero."""
        return cls()

    def increment(self, origin: PeerId, by: int = 1) -> Self:
        """Return the delta that adds `by` for `origin`.

        Raises UsageError for a negative step, CapacityError when the origin's total would
        leave the 64-bit integers. A step of zero is the empty delta.
        """
        if type(by) is not int or by < 0:
            raise UsageError(f"{by!r} is not a step: a whole number from 0 is accepted")
        if by == 0:
            return self._make({})
        total = self._totals.get(origin, 0) + by
        if total > INT_MAX:
            raise CapacityError(f"the counter of {origin!r} is full: its limit is {INT_MAX}")
        return self._make({PeerId(origin): total})

    @property
    def value(self) -> int:
        """The sum over all origins."""
        return sum(self._totals.values())

    @property
    def totals(self) -> Mapping[PeerId, int]:
        """The total of each origin; a copy."""
        return dict(self._totals)

    def join(self, other: Self) -> Self:
        """Return the entry-wise maximum."""
        large, small = self._totals, other._totals
        if len(large) < len(small):
            large, small = small, large
        merged = dict(large)
        for origin, total in small.items():
            if total > merged.get(origin, 0):
                merged[origin] = total
        return self._make(merged)

    def leq(self, other: Self) -> bool:
        """Return True when no entry of `other` is behind."""
        theirs = other._totals
        return all(total <= theirs.get(origin, 0) for origin, total in self._totals.items())

    def decompose(self) -> Iterator[Self]:
        """Yield one part per origin."""
        for origin, total in self._totals.items():
            yield self._make({origin: total})

    def to_tree(self) -> Tree:
        """Return ((origin, total), ...) by origin; totals start at 1."""
        return tuple((bytes(origin), total) for origin, total in sorted(self._totals.items()))

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        items = take_tuple(tree, "gcounter")
        if len(items) > ENTRIES_MAX:
            raise MalformedTree(f"gcounter has {len(items)} entries: at most {ENTRIES_MAX}")
        totals: dict[PeerId, int] = {}
        previous: PeerId | None = None
        for item in items:
            origin_tree, total_tree = take_tuple(item, "gcounter entry", size=2)
            origin = take_peer(origin_tree, "gcounter origin")
            increasing(previous, origin, "gcounter origins")
            totals[origin] = take_int(total_tree, "gcounter total", low=1)
            previous = origin
        return cls._make(totals)

    def _state(self) -> object:
        return self._totals
