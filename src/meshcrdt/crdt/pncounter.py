"""Counter that goes both ways: two grow-only counters, what was added and what was taken.

Shapiro et al. (2011), specification 7. It has no lower bound; a quota needs the bounded
counter, which is another type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_tuple
from meshcrdt.crdt.canonical import CanonicalValue
from meshcrdt.crdt.gcounter import GCounter
from meshcrdt.crdt.registry import registered


@registered("pncounter")
class PNCounter(CanonicalValue):
    """A counter that can be incremented and decremented. `PNCounter()` is zero."""

    __slots__ = ("_added", "_taken")

    _added: GCounter
    _taken: GCounter

    def __init__(self) -> None:
        self._added = GCounter()
        self._taken = GCounter()

    @classmethod
    def _make(cls, added: GCounter, taken: GCounter) -> Self:
        made = cls()
        made._added = added
        made._taken = taken
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return zero."""
        return cls()

    def increment(self, origin: PeerId, by: int = 1) -> Self:
        """Return the delta that adds `by` >= 0 for `origin`; raises as GCounter.increment."""
        return self._make(self._added.increment(origin, by), GCounter())

    def decrement(self, origin: PeerId, by: int = 1) -> Self:
        """Return the delta that takes `by` >= 0 for `origin`; raises as GCounter.increment."""
        return self._make(GCounter(), self._taken.increment(origin, by))

    @property
    def value(self) -> int:
        """What was added minus what was taken."""
        return self._added.value - self._taken.value

    def join(self, other: Self) -> Self:
        """Return the join of both halves."""
        return self._make(self._added.join(other._added), self._taken.join(other._taken))

    def leq(self, other: Self) -> bool:
        """Return True when both halves are."""
        return self._added.leq(other._added) and self._taken.leq(other._taken)

    def decompose(self) -> Iterator[Self]:
        """Yield one part per origin and direction."""
        for part in self._added.decompose():
            yield self._make(part, GCounter())
        for part in self._taken.decompose():
            yield self._make(GCounter(), part)

    def to_tree(self) -> Tree:
        """Return (added, taken), each the tree of a GCounter."""
        return (self._added.to_tree(), self._taken.to_tree())

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        added, taken = take_tuple(tree, "pncounter", size=2)
        return cls._make(GCounter.from_tree(added), GCounter.from_tree(taken))

    def _state(self) -> object:
        return (self._added, self._taken)
