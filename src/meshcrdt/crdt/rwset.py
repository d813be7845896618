"""Remove-wins set: an element is in when it was added and nobody removed it meanwhile.

Shapiro et al. (2011) name it as the dual of the add-wins set; here each add and remove is
a dot that replaces what its writer saw of the element, and one live remove keeps it out.
A remove must be remembered until no concurrent add can come any more (finding F21), so it
costs one entry for each element ever removed; `compact` forgets those that all have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Self

from meshcrdt.base.ids import Dot
from meshcrdt.base.tree import Tree
from meshcrdt.crdt.canonical import FALSE, TRUE, Tagged, in_order, tag, untag
from meshcrdt.crdt.context import Context
from meshcrdt.crdt.dots import DotStore
from meshcrdt.crdt.registry import registered
from meshcrdt.crdt.stable import are_stable
from meshcrdt.crdt.table import Path, spots_of
from meshcrdt.errors import MalformedTree


@registered("rwset")
class RemoveWinsSet(DotStore):
    """A set whose elements come and go; concurrent add and remove leave the element out.

    For what has to go when anyone says so: revoked rights, blocked addresses.
    """

    __slots__ = ()

    def add(self, element: Tree, dot: Dot) -> Self:
        """Return the delta that adds `element`, over what is seen here of it."""
        step = tag(element)
        return self._write((step, TRUE), dot, self._spots_at(step))

    def remove(self, element: Tree, dot: Dot) -> Self:
        """Return the delta that removes `element`, also where it was never seen.

        Unlike the add-wins set it takes a dot: a concurrent add has to meet it.
        """
        step = tag(element)
        return self._write((step, FALSE), dot, self._spots_at(step))

    def compact(self, stable: Context) -> Self:
        """Return the delta that forgets removed elements whose dots are causally stable.

        `stable` holds dots that every replica has seen, and this state holds all that any
        replica wrote before it saw them: then no concurrent add can come any more. With
        less an element that was removed may come back.
        """
        gone = [
            spots
            for step, spots in self._index.items()
            if not self._is_in(step) and are_stable(spots, stable)
        ]
        return self._erase(tuple(chain.from_iterable(gone)))

    @property
    def value(self) -> tuple[Tree, ...]:
        """The elements in canonical order (a tuple: `{1, True}` would lose one)."""
        return tuple(self)

    @property
    def removed(self) -> tuple[Tree, ...]:
        """The elements that cost an entry although they are out, in canonical order."""
        return tuple(untag(step) for step in self._heads() if not self._is_in(step))

    def __contains__(self, element: Tree) -> bool:
        return self._is_in(tag(element))

    def __iter__(self) -> Iterator[Tree]:
        return map(untag, in_order(filter(self._is_in, self._index)))

    def __len__(self) -> int:
        return sum(map(self._is_in, self._index))

    def _is_in(self, step: Tagged) -> bool:
        rows = self._rows
        spots = self._spots_at(step)
        return bool(spots) and all(rows[actor][seq][1] is TRUE for actor, seq in spots_of(spots))

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if len(path) != 2 or path[1] not in (TRUE, FALSE):
            raise MalformedTree("rwset path is not (element, boolean)")
