"""Causal-length set: one number an element; odd is in, even is out.

Yu and Rostad, "A low-cost set CRDT based on causal lengths" (PaPoC 2020). An add makes an
even length odd, a remove an odd one even, and the join takes the greater length: a longer
chain of changes wins over a shorter one. No dots and no context, and undo is one step;
but a length is never forgotten, so it costs one entry for each element ever added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_tuple
from meshcrdt.crdt.canonical import (
    ENTRIES_MAX,
    CanonicalValue,
    Tagged,
    in_order,
    increasing,
    order,
    tag,
    tag_all,
    untag,
)
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import CapacityError, MalformedTree


@registered("clset")
class CausalLengthSet(CanonicalValue):
    """A set whose elements come and go. `CausalLengthSet()` is empty.

    Of concurrent changes that saw the same state the equal ones are one: two removes are
    one remove. A remove that saw an element wins over all adds up to the one that it saw,
    and a later add over it. There is no `compact`: a length that one replica forgot would
    lose against the same element's older lengths elsewhere.
    """

    __slots__ = ("_lengths",)

    _lengths: dict[Tagged, int]

    def __init__(self) -> None:
        self._lengths = {}

    @classmethod
    def _make(cls, lengths: dict[Tagged, int]) -> Self:
        made = cls()
        made._lengths = lengths
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty set."""
        return cls()

    def add(self, element: Tree) -> Self:
        """Return the delta that adds `element`; empty when it is in."""
        return self._turn(element, towards=1)

    def remove(self, element: Tree) -> Self:
        """Return the delta that removes `element`; empty when it is not in."""
        return self._turn(element, towards=0)

    def _turn(self, element: Tree, *, towards: int) -> Self:
        step = tag(element)
        length = self._lengths.get(step, 0)
        if length % 2 == towards:
            return self.bottom()
        if length >= INT_MAX:
            raise CapacityError(f"{element!r} was changed too often: its limit is {INT_MAX}")
        return self._make({step: length + 1})

    def length(self, element: Tree) -> int:
        """Return how often the element came and went; 0 when it was never in."""
        return self._lengths.get(tag(element), 0)

    @property
    def value(self) -> tuple[Tree, ...]:
        """The elements in canonical order (a tuple: `{1, True}` would lose one)."""
        return tuple(self)

    def __contains__(self, element: Tree) -> bool:
        return self._lengths.get(tag(element), 0) % 2 == 1

    def __iter__(self) -> Iterator[Tree]:
        return map(untag, in_order(step for step, n in self._lengths.items() if n % 2))

    def __len__(self) -> int:
        return sum(length % 2 for length in self._lengths.values())

    def join(self, other: Self) -> Self:
        """Return the greater length of each element."""
        large, small = self._lengths, other._lengths
        if len(large) < len(small):
            large, small = small, large
        merged = dict(large)
        for step, length in small.items():
            if length > merged.get(step, 0):
                merged[step] = length
        return self._make(merged)

    def leq(self, other: Self) -> bool:
        """Return True when no length of `other` is behind."""
        theirs = other._lengths
        return all(length <= theirs.get(step, 0) for step, length in self._lengths.items())

    def decompose(self) -> Iterator[Self]:
        """Yield one part per element."""
        for step, length in self._lengths.items():
            yield self._make({step: length})

    def to_tree(self) -> Tree:
        """Return ((element, length), ...) in canonical order; lengths start at 1."""
        return tuple((untag(step), self._lengths[step]) for step in in_order(self._lengths))

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        items = take_tuple(tree, "clset")
        if len(items) > ENTRIES_MAX:
            raise MalformedTree(f"clset has {len(items)} elements: at most {ENTRIES_MAX}")
        pairs = [take_tuple(item, "clset entry", size=2) for item in items]
        steps = tag_all([pair[0] for pair in pairs], fault=MalformedTree)
        previous = None
        for step in map(order, steps):
            increasing(previous, step, "clset elements")
            previous = step
        lengths = [take_int(pair[1], "clset length", low=1) for pair in pairs]
        return cls._make(dict(zip(steps, lengths, strict=True)))

    def _state(self) -> object:
        return self._lengths
