"""Removal of a subtree of a map, as a prefix and a vector (finding F32).

A subtree of a million dots would make a delta of a million dots, unless they were written
in one go. What its remover saw of an origin without gaps is one number, though: so a
removal names the place, and of each origin the last dot that it saw alive there. Whoever
has seen as much turns it into the same delta (`ORMap.removed`); who has not, waits.
"""

from __future__ import annotations

from typing import Self

from attrs import frozen

from meshcrdt.base.tree import Tree, epoch_tree, take_epoch, take_int, take_peer, take_tuple
from meshcrdt.crdt.canonical import ENTRIES_MAX, increasing, tag, untag
from meshcrdt.crdt.context import Actor
from meshcrdt.crdt.table import Path
from meshcrdt.errors import MalformedTree

KEYS_MAX = 16


@frozen
class Removal:
    """What goes: all below `prefix` that is of an actor in `vector`, up to its dot there."""

    prefix: Path
    vector: tuple[tuple[Actor, int], ...]

    def to_tree(self) -> Tree:
        """Return ((step, ...), ((origin, epoch, seq), ...))."""
        return (
            tuple([untag(step) for step in self.prefix]),
            tuple([(bytes(who[0]), epoch_tree(who[1]), last) for who, last in self.vector]),
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        prefix_tree, vector_tree = take_tuple(tree, "removal", size=2)
        steps = take_tuple(prefix_tree, "removal prefix")
        if len(steps) % 2 == 0 or len(steps) > 2 * KEYS_MAX - 1:
            raise MalformedTree(f"removal prefix has {len(steps)} steps")
        entries = take_tuple(vector_tree, "removal vector")
        if len(entries) > ENTRIES_MAX:
            raise MalformedTree(f"removal names {len(entries)} actors: at most {ENTRIES_MAX}")
        vector: list[tuple[Actor, int]] = []
        previous: Actor | None = None
        for entry in entries:
            origin, epoch, last = take_tuple(entry, "removal entry", size=3)
            actor = (take_peer(origin, "removal origin"), take_epoch(epoch, "removal epoch"))
            increasing(previous, actor, "removal actors")
            vector.append((actor, take_int(last, "removal dot", low=1)))
            previous = actor
        return cls(tuple([tag(step, fault=MalformedTree) for step in steps]), tuple(vector))
