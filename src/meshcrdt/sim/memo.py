"""What one world remembers for all of its hosts; see `meshcrdt.base.memo` and ADR 0029.

Each world has a memo of its own, so runs do not depend on each other. It is bounded by two
generations: when the young one is full it becomes the old one, and what is asked for out of
the old one is young again. What nobody asks for is so forgotten after at most two
generations, and forgetting costs time, never a difference in what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from attrs import frozen

from meshcrdt.errors import InternalError

T = TypeVar("T")

GENERATION_ENTRIES_MAX = 32_768


class _Nothing:
    """Stands for what is not known, where None may be."""


_NOTHING = _Nothing()


@frozen
class MemoStatistics:
    """How much is remembered, and how often it helped."""

    entries: int
    calls: int
    misses: int


class WorldMemo:
    """A `Memo` that remembers.

    Keys of `of_same` are the addresses of its arguments, which every entry keeps alive: an
    address means one object for as long as the entry is there.
    """

    def __init__(self, generation_entries_max: int = GENERATION_ENTRIES_MAX) -> None:
        self._max = generation_entries_max
        self._young: dict[Any, Any] = {}
        self._old: dict[Any, Any] = {}
        self._misses = 0
        self._calls = 0

    @property
    def remembers(self) -> bool:
        """True."""
        return True

    def of_equal(self, function: Callable[..., T], *arguments: Hashable) -> T:
        """Return what the function gives for arguments that are equal to these."""
        self._calls += 1
        key = (function, arguments)
        found = self._young.get(key, _NOTHING)
        if found is _NOTHING:
            found = self._older(key)
            if found is _NOTHING:
                found = function(*arguments)
                self._misses += 1
            self._keep(key, found)
        return found  # type: ignore[no-any-return]

    def of_same(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what the function gives for these very objects."""
        self._calls += 1
        key = (function, *map(id, arguments))
        found = self._young.get(key)
        if found is None:
            found = self._older(key)
            if found is _NOTHING:
                found = (function(*arguments), arguments)
                self._misses += 1
            self._keep(key, found)
        return found[0]

    def one(self, key: Hashable, made: T) -> T:
        """Return the first of the equal objects that were made for a key."""
        found = self.known(key)
        if found is None:
            self._misses += 1
            self._keep(key, made)
            return made
        return found  # type: ignore[return-value]

    def known(self, key: Hashable) -> object | None:
        """Return what `one` was given for a key, or None."""
        self._calls += 1
        found = self._young.get(key)
        if found is None:
            found = self._older(key)
            if found is _NOTHING:
                return None
            self._keep(key, found)
        return found  # type: ignore[no-any-return]

    def _older(self, key: Any) -> Any:
        return self._old.pop(key, _NOTHING)

    def _keep(self, key: Any, found: Any) -> None:
        self._young[key] = found
        if len(self._young) >= self._max:
            self._old, self._young = self._young, {}

    def check(self) -> None:
        """Raise InternalError when more is remembered than the bound says."""
        if len(self._young) >= self._max or len(self._old) > self._max:
            raise InternalError("a memo has outgrown its bound")

    def statistics(self) -> MemoStatistics:
        """Return the counts so far."""
        return MemoStatistics(
            entries=len(self._young) + len(self._old), calls=self._calls, misses=self._misses
        )
