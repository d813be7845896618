"""Flags that are switched both ways: one in which enabling wins, one in which disabling does.

Both keep live only the switches that nobody has seen since, so their size is bounded by
concurrent writers. Almeida et al. (2018), section 7; both start disabled. The second must
remember a disabling until no concurrent enabling can come any more (finding F21).
"""

from __future__ import annotations

from typing import Self

from meshcrdt.base.ids import Dot
from meshcrdt.crdt.canonical import FALSE, TRUE
from meshcrdt.crdt.context import Context
from meshcrdt.crdt.dots import NO_SPOTS, DotStore
from meshcrdt.crdt.registry import registered
from meshcrdt.crdt.stable import are_stable
from meshcrdt.crdt.table import Path
from meshcrdt.errors import MalformedTree

_ON: Path = (TRUE,)
_OFF: Path = (FALSE,)


@registered("enable_wins_flag")
class EnableWinsFlag(DotStore):
    """A flag, disabled at first; concurrent enable and disable leave it enabled."""

    __slots__ = ()

    def enable(self, dot: Dot) -> Self:
        """Return the delta that enables; raises UsageError for a used dot."""
        return self._write(_ON, dot, self._all_spots())

    def disable(self) -> Self:
        """Return the delta that takes back every enabling seen here."""
        return self._erase(self._all_spots())

    @property
    def value(self) -> bool:
        """True while an enabling is live."""
        return not self._is_empty()

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if path != _ON:
            raise MalformedTree("enable_wins_flag path is not true")


@registered("disable_wins_flag")
class DisableWinsFlag(DotStore):
    """A flag, disabled at first; concurrent enable and disable leave it disabled.

    Unlike the enable-wins flag it must keep a dot for the last disabling too, until that is
    causally stable: one entry a flag that was ever disabled, and `compact` forgets it.
    """

    __slots__ = ()

    def enable(self, dot: Dot) -> Self:
        """Return the delta that enables; raises UsageError for a used dot."""
        return self._write(_ON, dot, self._all_spots())

    def disable(self, dot: Dot) -> Self:
        """Return the delta that disables; raises UsageError for a used dot."""
        return self._write(_OFF, dot, self._all_spots())

    def compact(self, stable: Context) -> Self:
        """Return the delta that forgets a disabling which is causally stable.

        `stable` holds dots that every replica has seen, and this state holds all that any
        replica wrote before it saw them; with less the flag may come on again.
        """
        spots = self._all_spots()
        return self._erase(spots if not self.value and are_stable(spots, stable) else NO_SPOTS)

    @property
    def value(self) -> bool:
        """True when an enabling is live and no disabling is."""
        return TRUE in self._index and FALSE not in self._index

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if path not in (_ON, _OFF):
            raise MalformedTree("disable_wins_flag path is not a boolean")
