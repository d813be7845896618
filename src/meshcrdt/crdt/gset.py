"""Grow-only set: elements are added, never removed; join is union.

Shapiro et al. (2011), specification 11. It is the cheapest set, with no context at all,
for facts that stay true: seen ids, evidence, declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from meshcrdt.base.tree import Tree, take_tuple
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
from meshcrdt.errors import MalformedTree


@registered("gset")
class GSet(CanonicalValue):
    """A set that only grows. `GSet()` is empty."""

    __slots__ = ("_elements",)

    _elements: frozenset[Tagged]

    def __init__(self) -> None:
        self._elements = frozenset()

    @classmethod
    def _make(cls, elements: frozenset[Tagged]) -> Self:
        made = cls()
        made._elements = elements
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty set."""
        return cls()

    def add(self, *elements: Tree) -> Self:
        """Return the delta that adds elements; what is there already is left out of it."""
        return self._make(frozenset(tag_all(elements)) - self._elements)

    @property
    def value(self) -> tuple[Tree, ...]:
        """The elements in canonical order (a tuple: `{1, True}` would lose one)."""
        return tuple(self)

    def __contains__(self, element: Tree) -> bool:
        return tag(element) in self._elements

    def __iter__(self) -> Iterator[Tree]:
        return map(untag, in_order(self._elements))

    def __len__(self) -> int:
        return len(self._elements)

    def join(self, other: Self) -> Self:
        """Return the union."""
        return self._make(self._elements | other._elements)

    def leq(self, other: Self) -> bool:
        """Return True for a subset."""
        return self._elements <= other._elements

    def decompose(self) -> Iterator[Self]:
        """Yield one singleton per element."""
        for element in self._elements:
            yield self._make(frozenset((element,)))

    def to_tree(self) -> Tree:
        """Return the elements in canonical order."""
        return tuple(self)

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        items = take_tuple(tree, "gset")
        if len(items) > ENTRIES_MAX:
            raise MalformedTree(f"gset has {len(items)} elements: at most {ENTRIES_MAX}")
        elements = tag_all(items, fault=MalformedTree)
        previous = None
        for element in map(order, elements):
            increasing(previous, element, "gset elements")
            previous = element
        return cls._make(frozenset(elements))

    def _state(self) -> object:
        return self._elements
