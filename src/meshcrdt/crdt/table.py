"""The memory of dot stores: one mutable table that many immutable values share.

A value of dots is changed a little at a time, and copying all of it for each change would
cost as much as all of it. So the newest value owns the table, and the value that it came
from keeps only what was different: joining a small delta costs the delta. Whoever still
holds the older value and reads it turns that around, at the cost of the difference
(Baker, "Shallow binding makes functional arrays fast", 1991). A table that has changed as
much as it held when it was made is copied, so that an old value never keeps more alive
than its own size, and no reader waits longer than for a copy.

Nothing here is seen outside: the values stay values. But they belong to one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeAlias

from meshcrdt.crdt.canonical import Tagged
from meshcrdt.crdt.context import Actor, Context
from meshcrdt.crdt.runs import Runs, covers, numbers, runs_of, size

Path: TypeAlias = tuple[Tagged, ...]
"""What a live dot stands for, one step at least; the store is indexed by its first step."""

Rows: TypeAlias = dict[Actor, dict[int, Path]]
"""Live dots: by actor and sequence number, the path."""

Spots: TypeAlias = tuple[Any, ...]
"""Dots, flat: (actor, seq, actor, seq, ...). A tuple of its own for each costs twice that."""

NO_DOTS: dict[int, Path] = {}

CHANGES_MIN = 32
"""A small table is copied no sooner than after so many changes."""


class Table:
    """Rows, and the index over the first steps of their paths once anyone has asked for it."""

    __slots__ = ("_changes_left", "_index", "rows", "size")

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = sum(map(len, rows.values())) if rows else 0
        self._changes_left = max(self.size, CHANGES_MIN)
        self._index: dict[Tagged, Spots] | None = None

    def copy(self) -> Table:
        """Return a table of its own, with the index if there is one."""
        made = Table({actor: dict(dots) for actor, dots in self.rows.items()})
        if self._index is not None:
            made._index = dict(self._index)
        return made

    def may_change(self, changes: int) -> bool:
        """Count changes; False when it is time to copy instead."""
        self._changes_left -= changes + 1
        return self._changes_left >= 0

    def index(self) -> dict[Tagged, Spots]:
        """Return the dots by the first step of their paths."""
        if self._index is None:
            self._index = {}
            _enter(self._index, self.rows)
        return self._index

    def change(self, gone: Rows, fresh: Rows) -> None:
        """Take away rows that are here, and add rows that are not."""
        rows = self.rows
        for actor, dots in gone.items():
            held = rows[actor]
            self.size -= len(dots)
            if len(dots) == len(held):
                del rows[actor]
                continue
            for seq in dots:
                del held[seq]
        for actor, dots in fresh.items():
            if actor in rows:
                rows[actor].update(dots)
            else:
                rows[actor] = dict(dots)
            self.size += len(dots)
        if self._index is not None:
            if gone:
                _leave(self._index, gone)
            if fresh:
                _enter(self._index, fresh)


def _enter(index: dict[Tagged, Spots], rows: Rows) -> None:
    shared: dict[Tagged, list[Any]] = {}
    for actor, dots in rows.items():
        for seq, path in dots.items():
            head = path[0]
            if head in index:
                shared.setdefault(head, []).extend((actor, seq))
            else:
                index[head] = (actor, seq)
    for head, spots in shared.items():
        index[head] += tuple(spots)


def _leave(index: dict[Tagged, Spots], rows: Rows) -> None:
    shared: dict[Tagged, set[tuple[Actor, int]]] = {}
    for actor, dots in rows.items():
        for seq, path in dots.items():
            head = path[0]
            if len(index[head]) == 2:
                del index[head]
            else:
                shared.setdefault(head, set()).add((actor, seq))
    for head, gone in shared.items():
        left = [spot for spot in spots_of(index[head]) if spot not in gone]
        if left:
            index[head] = tuple(chain.from_iterable(left))
        else:
            del index[head]


def spots_of(spots: Spots) -> Iterator[tuple[Actor, int]]:
    """Yield (actor, seq) of each dot."""
    return zip(spots[::2], spots[1::2], strict=True)


def context_of(spots: Spots) -> Context:
    """Return the context of exactly these dots."""
    if len(spots) == 2:
        return Context._make({spots[0]: (spots[1], spots[1])})
    grouped: dict[Actor, list[int]] = {}
    for actor, seq in spots_of(spots):
        grouped.setdefault(actor, []).append(seq)
    return Context._make({actor: runs_of(seqs) for actor, seqs in grouped.items()})


def lost_of(held: dict[int, Path], runs: Runs, theirs: dict[int, Path]) -> dict[int, Path]:
    """Return what is live here and covered there, but not live there at the same path.

    Walks whichever side is smaller, so that a small delta costs its own size.
    """
    if size(runs) < len(held):
        return {
            seq: held[seq] for seq in numbers(runs) if seq in held and theirs.get(seq) != held[seq]
        }
    if len(runs) == 2:
        low, high = runs
        return {
            seq: path
            for seq, path in held.items()
            if low <= seq <= high and theirs.get(seq) != path
        }
    return {
        seq: path for seq, path in held.items() if covers(runs, seq) and theirs.get(seq) != path
    }


def unseen_of(dots: dict[int, Path], seen: Runs | None) -> dict[int, Path]:
    """Return the dots that are not in `seen`, in a dict of their own."""
    if not seen:
        return dict(dots)
    if len(seen) == 2:
        low, high = seen
        return {seq: path for seq, path in dots.items() if not low <= seq <= high}
    return {seq: path for seq, path in dots.items() if not covers(seen, seq)}
