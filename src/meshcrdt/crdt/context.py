"""Causal context: exactly which dots a state has seen, live or not.

A version vector holds what is contiguous from 1, a dot cloud what came with gaps (deltas
arrive in any order); the cloud folds into the vector as gaps close. It never covers a
dot that was not received (invariant L5), which is what makes absence mean "removed".
Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Self, TypeAlias

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
from meshcrdt.errors import CapacityError, MalformedTree

Actor: TypeAlias = tuple[PeerId, Epoch]
"""Who numbers dots: one run of one identity. Its dots count from 1."""

_NO_EXTRAS: frozenset[int] = frozenset()


@registered("context")
class Context(CanonicalValue):
    """A set of dots, compact when they are contiguous. `Context()` is empty."""

    __slots__ = ("_extras", "_tops")

    _tops: dict[Actor, int]
    _extras: dict[Actor, frozenset[int]]

    def __init__(self) -> None:
        self._tops = {}
        self._extras = {}

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty context."""
        return cls()

    @classmethod
    def of(cls, dots: Iterable[Dot]) -> Self:
        """Return the context of exactly these dots; each seq is at least 1."""
        made = cls()
        grouped: dict[Actor, set[int]] = {}
        for origin, epoch, seq in dots:
            grouped.setdefault((origin, epoch), set()).add(seq)
        for actor, extras in grouped.items():
            made._fold(actor, 0, extras)
        return made

    def _fold(self, actor: Actor, top: int, extras: Iterable[int]) -> None:
        """Set an actor's dots during construction: 1 to `top`, and `extras`, in normal form."""
        above = {seq for seq in extras if seq > top}
        while top + 1 in above:
            top += 1
            above.remove(top)
        if top:
            self._tops[actor] = top
        if above:
            self._extras[actor] = frozenset(above)
        else:
            self._extras.pop(actor, None)

    @property
    def value(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """By "origin@epoch": (contiguous up to, dots beyond the first gap)."""
        return {
            f"{origin.short}@{epoch}": (
                self._tops.get((origin, epoch), 0),
                tuple(sorted(self._extras.get((origin, epoch), _NO_EXTRAS))),
            )
            for origin, epoch in self.actors()
        }

    def actors(self) -> tuple[Actor, ...]:
        """Return every actor with a dot here, in canonical order."""
        return tuple(sorted(self._tops.keys() | self._extras.keys()))

    def next_dot(self, origin: PeerId, epoch: Epoch) -> Dot:
        """Return the actor's first dot above all that are here; raises CapacityError at the end."""
        actor = (origin, epoch)
        last = max(self._tops.get(actor, 0), max(self._extras.get(actor, _NO_EXTRAS), default=0))
        if last >= INT_MAX:
            raise CapacityError(f"epoch {epoch} has no dot left: its limit is {INT_MAX}")
        return Dot(origin, epoch, last + 1)

    def __contains__(self, dot: Dot) -> bool:
        actor = dot[:2]
        seq = dot[2]
        return 1 <= seq <= self._tops.get(actor, 0) or seq in self._extras.get(actor, _NO_EXTRAS)

    @property
    def size(self) -> int:
        """The number of dots; at once, however many there are."""
        return sum(self._tops.values()) + sum(map(len, self._extras.values()))

    def dots(self) -> Iterator[Dot]:
        """Yield every dot, one by one: for a context from outside, ask `size` first."""
        for (origin, epoch), top in self._tops.items():
            for seq in range(1, top + 1):
                yield Dot(origin, epoch, seq)
        for (origin, epoch), extras in self._extras.items():
            for seq in extras:
                yield Dot(origin, epoch, seq)

    def covered(self, dots: Iterable[Dot] | dict[Dot, object]) -> list[Dot]:
        """Return those of `dots` that are here; `dots` may be any dict or iterable of dots.

        Walks whichever side is smaller, so that a small delta costs its own size.
        """
        if isinstance(dots, dict) and self.size < len(dots):
            held: Container[Dot] = dots
            return [dot for dot in self.dots() if dot in held]
        return [dot for dot in dots if dot in self]

    def join(self, other: Self) -> Self:
        """Return the union."""
        large, small = self, other
        if len(large._tops) + len(large._extras) < len(small._tops) + len(small._extras):
            large, small = small, large
        made = type(self)()
        made._tops = dict(large._tops)
        made._extras = dict(large._extras)
        for actor in small._tops.keys() | small._extras.keys():
            extras = large._extras.get(actor, _NO_EXTRAS) | small._extras.get(actor, _NO_EXTRAS)
            top = max(large._tops.get(actor, 0), small._tops.get(actor, 0))
            made._fold(actor, top, extras)
        return made

    def leq(self, other: Self) -> bool:
        """Return True when every dot here is in `other`."""
        for actor, top in self._tops.items():
            # A contiguous run inside `other` lies below its top: normal form has no run beyond.
            if top > other._tops.get(actor, 0):
                return False
        for actor, extras in self._extras.items():
            top = other._tops.get(actor, 0)
            theirs = other._extras.get(actor, _NO_EXTRAS)
            if any(seq > top and seq not in theirs for seq in extras):
                return False
        return True

    def decompose(self) -> Iterator[Self]:
        """Yield one part per dot, lazily."""
        for dot in self.dots():
            yield self.of((dot,))

    def to_tree(self) -> Tree:
        """Return ((origin, epoch, top, (seq, ...)), ...) by actor; each seq lies beyond a gap."""
        return tuple(
            (
                bytes(actor[0]),
                epoch_tree(actor[1]),
                self._tops.get(actor, 0),
                tuple(sorted(self._extras.get(actor, _NO_EXTRAS))),
            )
            for actor in self.actors()
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        made = cls()
        items = take_tuple(tree, "context")
        previous: Actor | None = None
        room = ENTRIES_MAX
        for item in items:
            origin, epoch, top_tree, extras_tree = take_tuple(item, "context entry", size=4)
            actor = (take_peer(origin, "context origin"), take_epoch(epoch, "context epoch"))
            increasing(previous, actor, "context actors")
            top = take_int(top_tree, "context top")
            extras = take_tuple(extras_tree, "context dots")
            room -= 1 + len(extras)
            if room < 0:
                raise MalformedTree(f"context has more than {ENTRIES_MAX} entries")
            if not top and not extras:
                raise MalformedTree("context names an actor without dots")
            made._take_actor(actor, top, extras)
            previous = actor
        return made

    def _take_actor(self, actor: Actor, top: int, extras: tuple[Tree, ...]) -> None:
        """Read one actor during construction; raises MalformedTree."""
        if top:
            self._tops[actor] = top
        last = top + 1
        for extra in extras:
            seq = take_int(extra, "context dot")
            increasing(last, seq, "context dots, beyond the gap,")
            last = seq
        if extras:
            self._extras[actor] = frozenset(seq for seq in extras if isinstance(seq, int))

    def _state(self) -> object:
        return (self._tops, self._extras)
