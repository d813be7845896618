"""Add-wins observed-remove set, optimised: no tombstones, one dot per element and writer.

Bieniusa et al., "An optimized conflict-free replicated set" (2012). A remove takes away
the adds that its writer has seen; an add that it has not seen wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from meshcrdt.base.ids import Dot
from meshcrdt.base.tree import Tree
from meshcrdt.crdt.canonical import tag, untag
from meshcrdt.crdt.dots import DotStore
from meshcrdt.crdt.registry import registered
from meshcrdt.crdt.table import Path
from meshcrdt.errors import MalformedTree


@registered("orset")
class ORSet(DotStore):
    """A set whose elements come and go; concurrent add and remove leave the element in."""

    __slots__ = ()

    def add(self, element: Tree, dot: Dot) -> Self:
        """Return the delta that adds `element`; raises UsageError for a used dot."""
        step = tag(element)
        return self._write((step,), dot, self._spots_at(step))

    def remove(self, element: Tree) -> Self:
        """Return the delta that removes `element` as seen here; empty when it is not in."""
        return self._erase(self._spots_at(tag(element)))

    def clear(self) -> Self:
        """Return the delta that removes every element seen here."""
        return self._erase(self._all_spots())

    @property
    def value(self) -> tuple[Tree, ...]:
        """The elements in canonical order (a tuple: `{1, True}` would lose one)."""
        return tuple(self)

    def __contains__(self, element: Tree) -> bool:
        return tag(element) in self._index

    def __iter__(self) -> Iterator[Tree]:
        return map(untag, self._heads())

    def __len__(self) -> int:
        return len(self._index)

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if len(path) != 1:
            raise MalformedTree(f"orset path has {len(path)} steps: one element is expected")
