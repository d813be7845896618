"""What a node says about itself in the volatile channel "~adjacency": one record, all in it.

A node's neighbours, its incarnation and its accusations leave in one flush, so that one
signature and one broadcast say everything that changed (finding F29: incarnations are
volatile and ordered under the epoch; the epoch is that of the stream, and is not repeated
here). One record per node also means O(N) records for a cluster, and not one an edge.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from meshcrdt.base.ids import INSTANCE_BYTES, PEER_ID_BYTES, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_bytes, take_int, take_tuple
from meshcrdt.errors import MalformedTree

ADVERT_KEY = b"\0"
"""The key of the one record in a node's stream of "~adjacency"."""

ADVERT_VERSION = 1
NEIGHBOURS_MAX = 512
"""Neighbours that one advert names; what goes beyond is left out, highest ids first."""
ACCUSATIONS_MAX = 32
"""Accusations that one advert carries: all that a liar can say at a time."""

Word = tuple[Epoch, int]
"""What a node last said of itself: its epoch, and its incarnation within it."""


@frozen
class Accusation:
    """One node's claim that it cannot reach another, valid until the subject says a newer word."""

    subject: PeerId
    epoch: Epoch
    incarnation: int

    @property
    def word(self) -> Word:
        """The word of the subject that is doubted."""
        return self.epoch, self.incarnation


@frozen
class Advert:
    """All that one node says of itself and its neighbourhood at one moment."""

    incarnation: int = 0
    neighbours: frozenset[PeerId] = frozenset()
    accusations: tuple[Accusation, ...] = ()

    def to_tree(self) -> Tree:
        """Return the canonical tree; ids are written one after the other, sorted."""
        named = sorted(self.neighbours)[:NEIGHBOURS_MAX]
        return (
            ADVERT_VERSION,
            self.incarnation,
            b"".join(named),
            tuple(
                (bytes(a.subject), a.epoch.counter, a.epoch.instance, a.incarnation)
                for a in self.accusations
            ),
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Advert:
        """Read an advert from outside; raises MalformedTree naming the field."""
        version, incarnation, neighbours, accusations = take_tuple(tree, "advert", size=4)
        take_int(version, "advert.version", low=ADVERT_VERSION, high=ADVERT_VERSION)
        items = take_tuple(accusations, "advert.accusations")
        if len(items) > ACCUSATIONS_MAX:
            raise MalformedTree(
                f"advert.accusations has {len(items)} items: at most {ACCUSATIONS_MAX} are accepted"
            )
        return cls(
            take_int(incarnation, "advert.incarnation"),
            frozenset(_take_peers(neighbours)),
            tuple(_take_accusation(item) for item in items),
        )


def next_incarnation(incarnation: int) -> int:
    """Return the incarnation after one; the last there is stays, and names no successor."""
    return min(incarnation + 1, INT_MAX)


def _take_peers(tree: Tree) -> Iterable[PeerId]:
    raw = take_bytes(tree, "advert.neighbours", size_max=NEIGHBOURS_MAX * PEER_ID_BYTES)
    if len(raw) % PEER_ID_BYTES:
        raise MalformedTree(f"advert.neighbours has {len(raw)} bytes: whole ids are expected")
    return [PeerId(raw[at : at + PEER_ID_BYTES]) for at in range(0, len(raw), PEER_ID_BYTES)]


def _take_accusation(tree: Tree) -> Accusation:
    subject, counter, instance, incarnation = take_tuple(tree, "accusation", size=4)
    return Accusation(
        PeerId(take_bytes(subject, "accusation.subject", size=PEER_ID_BYTES)),
        Epoch(
            take_int(counter, "accusation.counter"),
            take_bytes(instance, "accusation.instance", size=INSTANCE_BYTES),
        ),
        take_int(incarnation, "accusation.incarnation"),
    )
