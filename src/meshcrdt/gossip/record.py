"""One record of a stream, and how it becomes bytes and a hash.

A record is what its origin says about one key: a value, or, with value None, nothing but
the exact dots of other origins' records that it supersedes (finding F6: absence never
removes what another wrote). A record keeps its dot for life, also over epochs (F5), so
its hash covers the absolute dot and never the header that happens to carry it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

from attrs import frozen

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_peer,
    take_tuple,
)
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import content_hash

RECORD_OVERHEAD_BYTES = 40
"""What one record, and each dot that it names, counts beside key and value."""


@frozen
class Record:
    """What one origin holds under one key; immutable."""

    key: bytes
    dot: Dot
    value: bytes | None
    supersedes: tuple[Dot, ...] = ()

    @property
    def cost_bytes(self) -> int:
        """What the record counts against its stream's quota."""
        value_bytes = 0 if self.value is None else len(self.value)
        return len(self.key) + value_bytes + RECORD_OVERHEAD_BYTES * (1 + len(self.supersedes))

    @cached_property
    def hash(self) -> bytes:
        """32 bytes over the absolute content: what the Merkle leaf binds."""
        return content_hash(self.to_tree(self.dot.origin, None))

    def to_tree(self, origin: PeerId, epoch: Epoch | None) -> Tree:
        """Return the tree; origin and epoch of the dot are left out where they equal these."""
        dot = self.dot
        return (
            self.key,
            self.value,
            None if dot.origin == origin else bytes(dot.origin),
            None if dot.epoch == epoch else epoch_tree(dot.epoch),
            dot.seq,
            tuple((bytes(d.origin), epoch_tree(d.epoch), d.seq) for d in self.supersedes),
        )

    @classmethod
    def from_tree(cls, tree: Tree, origin: PeerId, epoch: Epoch | None) -> Record:
        """Read a tree from outside; raises MalformedTree."""
        key, value, dot_origin, dot_epoch, seq, dots = take_tuple(tree, "record", size=6)
        key, value = take_value(key, value)
        if dot_origin is not None:
            origin = take_peer(dot_origin, "record.origin")
        if dot_epoch is not None:
            epoch = take_epoch(dot_epoch, "record.epoch")
        if epoch is None:
            raise MalformedTree("record.epoch is missing")
        supersedes = take_supersedes(dots)
        if value is None and not supersedes:
            raise MalformedTree("a record has neither a value nor anything that it supersedes")
        return cls(key, Dot(origin, epoch, take_int(seq, "record.seq", low=1)), value, supersedes)


def records_root(puts: Iterable[Record], drops: Iterable[bytes]) -> bytes:
    """Return the hash over what one flush changed, sorted by key."""
    items = [(record.key, record.hash) for record in puts]
    return content_hash((tuple(sorted(items)), tuple(sorted(drops))))


def take_value(key: Tree, value: Tree) -> tuple[bytes, bytes | None]:
    """Read key and value of a record from outside; raises MalformedTree."""
    taken = take_bytes(key, "record.key", size_max=DEFAULT_LIMITS.key_bytes_max)
    if value is None:
        return taken, None
    return taken, take_bytes(value, "record.value", size_max=DEFAULT_LIMITS.value_bytes_max)


def take_supersedes(tree: Tree) -> tuple[Dot, ...]:
    """Read the dots that a record supersedes from outside; raises MalformedTree."""
    named = take_tuple(tree, "record.supersedes")
    if len(named) > DEFAULT_LIMITS.supersedes_max:
        raise MalformedTree(f"record.supersedes has {len(named)} dots: too many")
    supersedes = tuple(_take_dot(dot) for dot in named)
    if any(a >= b for a, b in pairwise(supersedes)):
        raise MalformedTree("record.supersedes is not sorted")
    return supersedes


def _take_dot(tree: Tree) -> Dot:
    origin, epoch, seq = take_tuple(tree, "dot", size=3)
    return Dot(
        take_peer(origin, "dot.origin"),
        take_epoch(epoch, "dot.epoch"),
        take_int(seq, "dot.seq", low=1),
    )
