"""Bounded counter: a quota that is spent without asking anyone, and never overspent.

Balegas et al., "Extending eventually consistent cloud databases for enforcing numeric
invariants" (SRDS 2015). Who increments gains the right to decrement by as much; rights
are spent, or handed to another peer, by their owner alone. So the count stays at or above
zero with no coordination at all, in a partition too. Another bound is an offset: count
what is above it; an upper bound counts what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self, TypeAlias, TypeVar

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_peer, take_tuple
from meshcrdt.crdt.canonical import ENTRIES_MAX, CanonicalValue, increasing
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import CapacityError, MalformedTree, UsageError

K = TypeVar("K")

_Pair: TypeAlias = tuple[PeerId, PeerId]

OWNERS_SHOWN_MAX = 8
"""Peers that an error names as owners of what is missing here."""


@registered("bounded_counter")
class BoundedCounter(CanonicalValue):
    """A counter that never goes below zero. `BoundedCounter()` is zero, and nobody may spend.

    An origin changes only its own rights, from a state that holds all its earlier changes;
    one that lost its memory must count under a new identity. A delta carries the rights
    that it rests on, so that no reader, whatever it has missed, counts below zero; the
    parts of `decompose` do so only together.
    """

    __slots__ = ("_granted", "_spent")

    _granted: dict[_Pair, int]
    """By (from, to): what was handed over; by (peer, peer): what the peer incremented."""
    _spent: dict[PeerId, int]

    def __init__(self) -> None:
        self._granted = {}
        self._spent = {}

    @classmethod
    def _make(cls, granted: dict[_Pair, int], spent: dict[PeerId, int]) -> Self:
        made = cls()
        made._granted = granted
        made._spent = spent
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return zero."""
        return cls()

    def increment(self, origin: PeerId, by: int = 1) -> Self:
        """Return the delta that adds `by` >= 0, which `origin` may spend.

        Raises UsageError for a negative step, CapacityError beyond the 64-bit integers.
        """
        return self._grant(PeerId(origin), PeerId(origin), by)

    def decrement(self, origin: PeerId, by: int = 1) -> Self:
        """Return the delta that takes `by` >= 0 of what `origin` may spend.

        Raises UsageError for a negative step; CapacityError when `origin` has less, which
        says how much it has and who has the rest.
        """
        me = PeerId(origin)
        if _step(by) == 0:
            return self.bottom()
        self._check_room(me, by)
        return self._make(self._backing(me), {me: _total(self._spent.get(me, 0) + by, me)})

    def transfer(self, origin: PeerId, to: PeerId, by: int) -> Self:
        """Return the delta that hands `by` >= 0 of what `origin` may spend to another peer.

        Raises like `decrement`, and UsageError for a transfer to itself.
        """
        giver, taker = PeerId(origin), PeerId(to)
        if giver == taker:
            raise UsageError(f"{giver!r} cannot hand rights to itself")
        _step(by)
        self._check_room(giver, by)
        return self._grant(giver, taker, by)

    def available(self, origin: PeerId) -> int:
        """Return how much `origin` may spend now, as far as is known here."""
        return max(0, self.quotas.get(PeerId(origin), 0))

    @property
    def quotas(self) -> Mapping[PeerId, int]:
        """How much each peer may spend, by peer; those with nothing are left out."""
        left: dict[PeerId, int] = {}
        for (giver, taker), total in self._granted.items():
            left[taker] = left.get(taker, 0) + total
            if giver != taker:
                left[giver] = left.get(giver, 0) - total
        for peer, total in self._spent.items():
            left[peer] = left.get(peer, 0) - total
        return {peer: left[peer] for peer in sorted(left) if left[peer] > 0}

    @property
    def value(self) -> int:
        """What was added minus what was taken: never below zero among honest peers."""
        added = sum(total for (giver, taker), total in self._granted.items() if giver == taker)
        return added - sum(self._spent.values())

    def _check_room(self, origin: PeerId, by: int) -> None:
        room = self.available(origin)
        if by <= room:
            return
        others = {peer: left for peer, left in self.quotas.items() if peer != origin}
        named = sorted(others, key=lambda peer: (-others[peer], peer))[:OWNERS_SHOWN_MAX]
        shown = ", ".join(f"{others[peer]} with {peer}" for peer in named) or "none elsewhere"
        raise CapacityError(
            f"{origin} may spend {room}, not {by}; available elsewhere: {sum(others.values())}"
            f" ({shown}): a transfer moves it"
        )

    def _grant(self, giver: PeerId, taker: PeerId, by: int) -> Self:
        if _step(by) == 0:
            return self.bottom()
        granted = self._backing(giver)
        pair = (giver, taker)
        granted[pair] = _total(self._granted.get(pair, 0) + by, giver)
        return self._make(granted, {})

    def _backing(self, origin: PeerId) -> dict[_Pair, int]:
        """Return the rights that those of `origin` rest on: its own, its givers', and theirs."""
        into: dict[PeerId, list[_Pair]] = {}
        for pair in self._granted:
            into.setdefault(pair[1], []).append(pair)
        found: dict[_Pair, int] = {}
        left, seen = [origin], {origin}
        while left:
            for pair in into.get(left.pop(), ()):
                found[pair] = self._granted[pair]
                if pair[0] not in seen:
                    seen.add(pair[0])
                    left.append(pair[0])
        return found

    def join(self, other: Self) -> Self:
        """Return the entry-wise maximum."""
        return self._make(
            _greatest(self._granted, other._granted), _greatest(self._spent, other._spent)
        )

    def leq(self, other: Self) -> bool:
        """Return True when no entry of `other` is behind."""
        granted, spent = other._granted, other._spent
        return all(total <= granted.get(pair, 0) for pair, total in self._granted.items()) and all(
            total <= spent.get(peer, 0) for peer, total in self._spent.items()
        )

    def decompose(self) -> Iterator[Self]:
        """Yield one part per entry."""
        for pair, total in self._granted.items():
            yield self._make({pair: total}, {})
        for peer, total in self._spent.items():
            yield self._make({}, {peer: total})

    def to_tree(self) -> Tree:
        """Return (((from, to, total), ...), ((peer, total), ...)), each in order, from 1."""
        return (
            tuple((bytes(p[0]), bytes(p[1]), self._granted[p]) for p in sorted(self._granted)),
            tuple((bytes(peer), self._spent[peer]) for peer in sorted(self._spent)),
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        granted_tree, spent_tree = take_tuple(tree, "bounded_counter", size=2)
        granted: dict[_Pair, int] = {}
        spent: dict[PeerId, int] = {}
        previous: object = None
        for item in _take_entries(granted_tree):
            giver, taker, total = take_tuple(item, "bounded_counter right", size=3)
            pair = (take_peer(giver, "giver"), take_peer(taker, "taker"))
            increasing(previous, pair, "bounded_counter rights")
            granted[pair] = take_int(total, "bounded_counter right", low=1)
            previous = pair
        previous = None
        for item in _take_entries(spent_tree):
            peer_tree, total = take_tuple(item, "bounded_counter spending", size=2)
            peer = take_peer(peer_tree, "bounded_counter peer")
            increasing(previous, peer, "bounded_counter peers")
            spent[peer] = take_int(total, "bounded_counter spending", low=1)
            previous = peer
        return cls._make(granted, spent)

    def _state(self) -> object:
        return (self._granted, self._spent)


def _take_entries(tree: Tree) -> tuple[Tree, ...]:
    items = take_tuple(tree, "bounded_counter entries")
    if len(items) > ENTRIES_MAX:
        raise MalformedTree(f"bounded_counter has {len(items)} entries: at most {ENTRIES_MAX}")
    return items


def _greatest(one: dict[K, int], two: dict[K, int]) -> dict[K, int]:
    merged = dict(one)
    for key, total in two.items():
        if total > merged.get(key, 0):
            merged[key] = total
    return merged


def _step(by: int) -> int:
    if type(by) is not int or by < 0:
        raise UsageError(f"{by!r} is not a step: a whole number from 0 is accepted")
    return by


def _total(total: int, peer: PeerId) -> int:
    if total > INT_MAX:
        raise CapacityError(f"the counter of {peer!r} is full: its limit is {INT_MAX}")
    return total
