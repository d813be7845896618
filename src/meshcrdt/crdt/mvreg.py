"""Multi-value register: a write replaces what its writer saw; concurrent writes all stay.

Shapiro et al. (2011), specification 10, over dots. It is the honest register: nothing is
lost to clocks, and the reader sees a conflict as several values.
"""

from __future__ import annotations

from typing import Self

from meshcrdt.base.ids import Dot
from meshcrdt.base.tree import Tree
from meshcrdt.crdt.canonical import tag, untag
from meshcrdt.crdt.dots import DotStore
from meshcrdt.crdt.registry import registered
from meshcrdt.crdt.table import Path
from meshcrdt.errors import MalformedTree


@registered("mvreg")
class MVRegister(DotStore):
    """A register that shows every value which no later write replaced."""

    __slots__ = ()

    def write(self, value: Tree, dot: Dot) -> Self:
        """Return the delta that replaces every value seen here; UsageError for a used dot."""
        return self._write((tag(value),), dot, self._all_spots())

    def clear(self) -> Self:
        """Return the delta that removes every value seen here."""
        return self._erase(self._all_spots())

    @property
    def value(self) -> tuple[Tree, ...]:
        """The values in canonical order: none, one, or several after concurrent writes."""
        return tuple(map(untag, self._heads()))

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if len(path) != 1:
            raise MalformedTree(f"mvreg path has {len(path)} steps: one value is expected")
