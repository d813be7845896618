"""Whether everybody has an edge in the graph that others can see.

Unhurried adverts may be N seconds old. So that nobody is missing from the graph meanwhile,
two edges of every node are told at once: a node hurries while fewer than EDGES_MIN of its
links are told, and so do the first EDGES_MIN of a newcomer's neighbours, by hash rank; the
others only if these do not. A join then costs three adverts, whatever the view's size.

What others see of a node may vanish later, when the neighbours that told of it have other links
or are gone: those that it has left then look again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable

from meshcrdt.base.ids import PeerId
from meshcrdt.topology.adjacency import AdjacencyGraph

EDGES_MIN = 2
OTHERS_WAIT_S = 2.0
"""How long those of higher rank leave it to the first."""


def ranked(subject: PeerId, peers: Iterable[PeerId]) -> list[PeerId]:
    """Return peers in the order in which they act for a subject: the same everywhere."""

    def rank(peer: PeerId) -> bytes:
        return hashlib.blake2b(subject + peer, digest_size=8).digest()

    return sorted(peers, key=rank)


class Visibility:
    """What a node knows of which of its edges others can see.

    Args:
        me: This node.
        graph: The adverts of all.
        seen: The two-sided edges of a peer, without those of members taken for gone.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        graph: AdjacencyGraph,
        seen: Callable[[PeerId], Collection[PeerId]],
    ) -> None:
        self._me = me
        self._graph = graph
        self._seen = seen
        self._faded: set[PeerId] = set()
        """Peers that lost an edge which others could see."""
        self._own: frozenset[PeerId] = frozenset()
        self._waiting: dict[PeerId, float] = {}
        """Neighbours that others may not see: until when it is left to others to tell."""
        self._unseen: set[PeerId] = set()
        """Those of them about which something is new."""

    def links_changed(self, neighbours: frozenset[PeerId], now: float) -> None:
        """Take in who has a live link: new ones are looked at."""
        for peer in neighbours - self._own:
            self._waiting[peer] = now + OTHERS_WAIT_S
            self._unseen.add(peer)
        for peer in self._own - neighbours:
            self._waiting.pop(peer, None)
        self._own = neighbours

    def faded(self, peer: PeerId) -> None:
        """Note that others see one edge less of a peer: a neighbour of it looks again.

        What was told of it when the link was new may be gone since, in a cluster where hosts
        come and go; and whoever left it to others then is needed now.
        """
        if peer in self._own:
            self._faded.add(peer)

    def spoke(self, peer: PeerId) -> None:
        """Note that a neighbour advertised: who it is linked with is known now."""
        if peer in self._waiting:
            self._unseen.add(peer)

    def matters(self, told: Collection[PeerId], now: float) -> bool:
        """Return whether this node's links are to be told at once; `told` are those that are."""
        thin = len(self._own.intersection(told)) < min(EDGES_MIN, len(self._own))
        for peer in self._faded & self._own:
            self._waiting.setdefault(peer, now + OTHERS_WAIT_S)
            self._unseen.add(peer)
        self._faded.clear()
        if not self._waiting:
            self._unseen.clear()
            return thin
        looks = self._unseen.union(p for p, until in self._waiting.items() if now >= until)
        self._unseen.clear()
        for peer in looks & self._waiting.keys():
            thin |= self._needs_me(peer, told, now)
        return thin

    def next_deadline(self) -> float | None:
        """Return when to look again, or None."""
        return min(self._waiting.values()) if self._waiting else None

    def _needs_me(self, peer: PeerId, told: Collection[PeerId], now: float) -> bool:
        """Return whether a neighbour is hardly seen by others unless this node speaks now."""
        named = self._graph.advert(peer).neighbours
        seen = sum(other != self._me for other in self._seen(peer))
        if peer in told or seen >= EDGES_MIN:
            del self._waiting[peer]
            return False
        first = self._me in named and self._me in ranked(peer, named)[:EDGES_MIN]
        if first or now >= self._waiting[peer]:
            del self._waiting[peer]
            return True
        return False
