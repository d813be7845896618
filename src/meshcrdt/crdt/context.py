"""Causal context: exactly which dots a state has seen, live or not.

Of each actor it keeps runs of sequence numbers: one run while deltas arrive in order,
more while there are gaps, which fold together as they close. It never covers a dot that
was not received (invariant L5), which is what makes absence mean "removed".
Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7; runs
instead of a vector and a cloud, so that a delta of many writes names them all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self, TypeAlias, TypeVar

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import (
    INT_MAX,
    Tree,
    epoch_tree,
    take_epoch,
    take_int,
    take_peer,
    take_tuple,
)
from meshcrdt.crdt.canonical import ENTRIES_MAX, CanonicalValue, increasing
from meshcrdt.crdt.registry import registered
from meshcrdt.crdt.runs import (
    NO_RUNS,
    Runs,
    covers,
    is_within,
    numbers,
    pairs,
    runs_of,
    size,
    to_steps,
    union,
)
from meshcrdt.errors import CapacityError, MalformedTree

Actor: TypeAlias = tuple[PeerId, Epoch]
"""Who numbers dots: one run of one identity. Its dots count from 1."""


V = TypeVar("V")


@registered("context")
class Context(CanonicalValue):
    """A set of dots, compact when they are contiguous. `Context()` is empty."""

    __slots__ = ("_runs",)

    _runs: dict[Actor, Runs]

    def __init__(self) -> None:
        self._runs = {}

    @classmethod
    def _make(cls, runs: dict[Actor, Runs]) -> Self:
        made = cls()
        made._runs = runs
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty context."""
        return cls()

    @classmethod
    def of(cls, dots: Iterable[Dot]) -> Self:
        """Return the context of exactly these dots; each seq is at least 1."""
        grouped: dict[Actor, list[int]] = {}
        for origin, epoch, seq in dots:
            grouped.setdefault((origin, epoch), []).append(seq)
        return cls._make({actor: runs_of(seqs) for actor, seqs in grouped.items()})

    @property
    def value(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """By "origin@epoch": the runs (from, to) of sequence numbers, both ends included."""
        return {
            f"{origin.short}@{epoch}": tuple(pairs(self._runs[origin, epoch]))
            for origin, epoch in self.actors()
        }

    @property
    def runs(self) -> Mapping[Actor, Runs]:
        """By actor, the flat runs (low, high, low, high, ...); not to be changed."""
        return self._runs

    def actors(self) -> tuple[Actor, ...]:
        """Return every actor with a dot here, in canonical order."""
        return tuple(sorted(self._runs))

    def next_dot(self, origin: PeerId, epoch: Epoch) -> Dot:
        """Return the actor's first dot above all that are here; raises CapacityError at the end."""
        runs = self._runs.get((origin, epoch))
        last = runs[-1] if runs else 0
        if last >= INT_MAX:
            raise CapacityError(f"epoch {epoch} has no dot left: its limit is {INT_MAX}")
        return Dot(origin, epoch, last + 1)

    def __contains__(self, dot: Dot) -> bool:
        runs = self._runs.get((dot[0], dot[1]))
        return runs is not None and dot[2] <= runs[-1] and covers(runs, dot[2])

    @property
    def size(self) -> int:
        """The number of dots; at once, however many there are."""
        return sum(map(size, self._runs.values()))

    def dots(self) -> Iterator[Dot]:
        """Yield every dot, one by one: for a context from outside, ask `size` first."""
        for (origin, epoch), runs in self._runs.items():
            for seq in numbers(runs):
                yield Dot(origin, epoch, seq)

    def among(self, actor: Actor, rows: Mapping[int, V]) -> dict[int, V]:
        """Return those of an actor's rows, by sequence number, whose dots are here.

        Walks whichever side is smaller, so that a small delta costs its own size.
        """
        runs = self._runs.get(actor)
        if not runs:
            return {}
        if size(runs) < len(rows):
            return {seq: rows[seq] for seq in numbers(runs) if seq in rows}
        return {seq: row for seq, row in rows.items() if covers(runs, seq)}

    def join(self, other: Self) -> Self:
        """Return the union."""
        large, small = self, other
        if len(large._runs) < len(small._runs):
            large, small = small, large
        merged = dict(large._runs)
        for actor, runs in small._runs.items():
            merged[actor] = union(merged.get(actor, NO_RUNS), runs)
        return self._make(merged)

    def leq(self, other: Self) -> bool:
        """Return True when every dot here is in `other`."""
        theirs = other._runs
        return all(
            is_within(runs, theirs.get(actor, NO_RUNS)) for actor, runs in self._runs.items()
        )

    def decompose(self) -> Iterator[Self]:
        """Yield one part per dot, lazily."""
        for origin, epoch, seq in self.dots():
            yield self._make({(origin, epoch): (seq, seq)})

    def to_tree(self) -> Tree:
        """Return ((origin, epoch, (first, distance, distance, ...)), ...) by actor.

        The distances lead from each end of a run to the next end.
        """
        return tuple(
            [
                (bytes(actor[0]), epoch_tree(actor[1]), to_steps(self._runs[actor]))
                for actor in self.actors()
            ]
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        made: dict[Actor, Runs] = {}
        previous: Actor | None = None
        room = ENTRIES_MAX
        for item in take_tuple(tree, "context"):
            origin, epoch, steps_tree = take_tuple(item, "context entry", size=3)
            actor = (take_peer(origin, "context origin"), take_epoch(epoch, "context epoch"))
            increasing(previous, actor, "context actors")
            steps = take_tuple(steps_tree, "context dots")
            room -= len(steps)
            if room < 0:
                raise MalformedTree(f"context has more than {ENTRIES_MAX} entries")
            made[actor] = _take_runs(steps)
            previous = actor
        return cls._make(made)

    def _state(self) -> object:
        return self._runs


def _take_runs(steps: tuple[Tree, ...]) -> Runs:
    """Read the runs of one actor; raises MalformedTree."""
    if not steps:
        raise MalformedTree("context names an actor without dots")
    if len(steps) % 2:
        raise MalformedTree("context names a run of dots without its end")
    if len(steps) == 2:
        low = take_int(steps[0], "context dot", low=1)
        return (low, low + take_int(steps[1], "context dot, beyond the gap,", high=INT_MAX - low))
    bounds: list[int] = []
    at = 0
    for place, step in enumerate(steps):
        # Runs of a set are apart: from an end to the next begin there is a gap.
        least = place % 2 == 0 and (2 if place else 1)
        at += take_int(step, "context dot, beyond the gap,", low=int(least), high=INT_MAX - at)
        bounds.append(at)
    return tuple(bounds)
