"""Origin map: one value per origin, written by that origin alone.

The shape of directories, adjacency and capacities: no conflict is possible between
honest writers, so the entry with the greater (epoch, seq) wins and nothing else is kept.
A restarted origin writes under a greater epoch and so outranks its past (finding F14).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self, TypeAlias

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import Tree, epoch_tree, take_epoch, take_int, take_peer, take_tuple
from meshcrdt.crdt.canonical import (
    ENTRIES_MAX,
    CanonicalValue,
    Tagged,
    increasing,
    order,
    tag,
    untag,
)
from meshcrdt.crdt.registry import registered
from meshcrdt.errors import MalformedTree, UsageError

_Entry: TypeAlias = tuple[Epoch, int, Tagged]


@registered("origin_map")
class OriginMap(CanonicalValue):
    """A map from origin to its latest value. `OriginMap()` is empty.

    Two different values under one (epoch, seq) are equivocation, which others report;
    here the greater value wins, so that every replica shows the same one.
    """

    __slots__ = ("_entries",)

    _entries: dict[PeerId, _Entry]

    def __init__(self) -> None:
        self._entries = {}

    @classmethod
    def _make(cls, entries: dict[PeerId, _Entry]) -> Self:
        made = cls()
        made._entries = entries
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty map."""
        return cls()

    def put(self, value: Tree, dot: Dot) -> Self:
        """Return the delta that sets `dot.origin`'s value.

        Raises UsageError when the dot is not later than the origin's present entry.
        """
        held = self._entries.get(dot.origin)
        if dot.seq < 1 or (held is not None and (dot.epoch, dot.seq) <= held[:2]):
            raise UsageError(f"{dot} is not later than what its origin wrote before")
        return self._make({dot.origin: (dot.epoch, dot.seq, tag(value))})

    def next_dot(self, origin: PeerId, epoch: Epoch) -> Dot:
        """Return the dot for the origin's next write; raises UsageError for an older epoch."""
        held = self._entries.get(origin)
        if held is None or held[0] < epoch:
            return Dot(origin, epoch, 1)
        if held[0] > epoch:
            raise UsageError(f"epoch {epoch} is older than {held[0]}, which is in use")
        return Dot(origin, epoch, held[1] + 1)

    @property
    def value(self) -> dict[PeerId, Tree]:
        """The value of each origin, by origin; a copy."""
        return {origin: untag(entry[2]) for origin, entry in sorted(self._entries.items())}

    def get(self, origin: PeerId) -> Tree:
        """Return the origin's value, or None when it wrote none (see `in`)."""
        entry = self._entries.get(origin)
        return None if entry is None else untag(entry[2])

    def dot(self, origin: PeerId) -> Dot | None:
        """Return the dot of the origin's entry, or None."""
        entry = self._entries.get(origin)
        return None if entry is None else Dot(origin, entry[0], entry[1])

    def __contains__(self, origin: PeerId) -> bool:
        return origin in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def join(self, other: Self) -> Self:
        """Return, for each origin, the entry with the greater (epoch, seq)."""
        large, small = self._entries, other._entries
        if len(large) < len(small):
            large, small = small, large
        merged = dict(large)
        for origin, entry in small.items():
            held = merged.get(origin)
            if held is None or not _at_most(entry, held):
                merged[origin] = entry
        return self._make(merged)

    def leq(self, other: Self) -> bool:
        """Return True when `other` has the same or a later entry for each origin."""
        theirs = other._entries
        return all(
            origin in theirs and _at_most(entry, theirs[origin])
            for origin, entry in self._entries.items()
        )

    def decompose(self) -> Iterator[Self]:
        """Yield one part per origin."""
        for origin, entry in self._entries.items():
            yield self._make({origin: entry})

    def to_tree(self) -> Tree:
        """Return ((origin, epoch, seq, value), ...) by origin."""
        return tuple(
            (bytes(origin), epoch_tree(epoch), seq, untag(value))
            for origin, (epoch, seq, value) in sorted(self._entries.items())
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        items = take_tuple(tree, "origin_map")
        if len(items) > ENTRIES_MAX:
            raise MalformedTree(f"origin_map has {len(items)} entries: at most {ENTRIES_MAX}")
        entries: dict[PeerId, _Entry] = {}
        previous: PeerId | None = None
        for item in items:
            origin_tree, epoch, seq, value = take_tuple(item, "origin_map entry", size=4)
            origin = take_peer(origin_tree, "origin_map origin")
            increasing(previous, origin, "origin_map origins")
            entries[origin] = (
                take_epoch(epoch, "origin_map epoch"),
                take_int(seq, "origin_map seq", low=1),
                tag(value, fault=MalformedTree),
            )
            previous = origin
        return cls._make(entries)

    def _state(self) -> object:
        return self._entries


def _at_most(one: _Entry, two: _Entry) -> bool:
    """Return True when `two` is the same entry or outranks it."""
    if one is two:
        return True
    if one[0] != two[0] or one[1] != two[1]:
        return one[:2] < two[:2]
    return order(one[2]) <= order(two[2])
