"""Flags that are switched both ways: one in which enabling wins, one in which disabling does.

Both keep live only the switches that nobody has seen since, so their size is bounded by
concurrent writers. Almeida et al. (2018), section 7; both start disabled.
"""

from __future__ import annotations

from typing import Self

from meshcrdt.base.ids import Dot
from meshcrdt.crdt.canonical import tag
from meshcrdt.crdt.dots import DotStore, Path
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import MalformedTree

_ON: Path = (tag(True),)
_OFF: Path = (tag(False),)


@registered("enable_wins_flag")
class EnableWinsFlag(DotStore):
    """A flag, disabled at first; concurrent enable and disable leave it enabled."""

    __slots__ = ()

    def enable(self, dot: Dot) -> Self:
        """Return the delta that enables; raises UsageError for a used dot."""
        return self._write((), dot, self._live)

    def disable(self) -> Self:
        """Return the delta that takes back every enabling seen here."""
        return self._erase(self._live)

    @property
    def value(self) -> bool:
        """True while an enabling is live."""
        return bool(self._live)

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if path:
            raise MalformedTree("enable_wins_flag path has steps: none is expected")


@registered("disable_wins_flag")
class DisableWinsFlag(DotStore):
    """A flag, disabled at first; concurrent enable and disable leave it disabled.

    Unlike the enable-wins flag it must keep a dot for the last disabling too.
    """

    __slots__ = ()

    def enable(self, dot: Dot) -> Self:
        """Return the delta that enables; raises UsageError for a used dot."""
        return self._write(_ON, dot, self._live)

    def disable(self, dot: Dot) -> Self:
        """Return the delta that disables; raises UsageError for a used dot."""
        return self._write(_OFF, dot, self._live)

    @property
    def value(self) -> bool:
        """True when an enabling is live and no disabling is."""
        return bool(self._dots_at(_ON)) and not self._dots_at(_OFF)

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if path not in (_ON, _OFF):
            raise MalformedTree("disable_wins_flag path is not a boolean")
