"""Who says it is linked with whom: the graph that liveness and routes are read from.

Each origin advertises its neighbours in one record (`adverts`). An edge counts only when
both ends advertise it, so a one-way link or a lying peer makes no path. This node's own
edges are its live links: it need not wait for its own words to come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.adverts import Advert, Word

NOTHING = Advert()
EVICTION_LOOKS = 8
"""Origins looked at to make room for another, so that a full table costs no scan."""


@frozen
class AdjacencyStatistics:
    """Counts of one graph: origins that advertise, and directed edges advertised."""

    origins: int
    advertised_edges: int


@frozen
class EdgeChanges:
    """Neighbours with which a node's two-sided edges appeared and vanished."""

    gained: frozenset[PeerId]
    lost: frozenset[PeerId]


NO_CHANGES = EdgeChanges(frozenset(), frozenset())


class AdjacencyGraph:
    """The adverts of all origins, and the two-sided graph that they make.

    Args:
        me: This node; its edges are set by `set_own`.
        members_max: Bound on origins.
    """

    def __init__(self, *, me: PeerId, members_max: int) -> None:
        self._me = me
        self._members_max = members_max
        self._own: frozenset[PeerId] = frozenset()
        self._adverts: dict[PeerId, tuple[Epoch, Advert]] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Grows with every change of an edge: what was derived before it is stale."""
        return self._version

    @property
    def origins(self) -> int:
        """How many origins advertise."""
        return len(self._adverts)

    def set_own(self, neighbours: frozenset[PeerId]) -> EdgeChanges:
        """Replace this node's own edges by its live links."""
        old, self._own = self._own, neighbours - {self._me}
        return self._changes(self._me, old, self._own)

    def advertise(self, origin: PeerId, epoch: Epoch, advert: Advert | None) -> EdgeChanges:
        """Replace what `origin` advertises; None forgets it. Remote input: nothing raises."""
        if origin == self._me:
            return NO_CHANGES
        old = self.advert(origin).neighbours
        if advert is None:
            self._adverts.pop(origin, None)
            return self._changes(origin, old, frozenset())
        if origin not in self._adverts and not self._make_room():
            return NO_CHANGES
        self._adverts[origin] = (epoch, advert)
        return self._changes(origin, old, advert.neighbours)

    def advert(self, origin: PeerId) -> Advert:
        """Return what an origin says; nothing when it says nothing."""
        held = self._adverts.get(origin)
        return NOTHING if held is None else held[1]

    def word(self, origin: PeerId) -> Word | None:
        """Return the epoch and incarnation that an origin's advert says, or None."""
        held = self._adverts.get(origin)
        return None if held is None else (held[0], held[1].incarnation)

    def adjacent(self, one: PeerId, other: PeerId) -> bool:
        """Return True when both ends advertise the edge."""
        return other in self._claims(one) and one in self._claims(other)

    def each_neighbour(self, peer: PeerId) -> Iterator[PeerId]:
        """Yield the other ends of the two-sided edges of `peer`, in no order.

        For this node: all live links, which need no second witness; an edge of another
        with this node counts when this node has the link.
        """
        claims = self._claims(peer)
        if peer == self._me:
            yield from claims
            return
        for other in claims:
            if other != peer and peer in self._claims(other):
                yield other
        if peer in self._own and self._me not in claims:
            yield self._me

    def neighbours(self, peer: PeerId) -> list[PeerId]:
        """Return the same, lowest id first."""
        return sorted(self.each_neighbour(peer))

    def has_edges(self, peer: PeerId) -> bool:
        """Return whether a two-sided edge leads to a peer."""
        return any(True for _ in self.each_neighbour(peer))

    def check(self) -> None:
        """Raise InternalError when the tables break their own bounds."""
        if self._me in self._own or self._me in self._adverts:
            raise InternalError("adjacency holds this node as its own neighbour or as foreign")
        if len(self._adverts) > self._members_max:
            raise InternalError(f"adjacency holds {len(self._adverts)} origins")

    def statistics(self) -> AdjacencyStatistics:
        """Return the current counts."""
        return AdjacencyStatistics(
            origins=len(self._adverts),
            advertised_edges=sum(len(held[1].neighbours) for held in self._adverts.values()),
        )

    def _claims(self, peer: PeerId) -> frozenset[PeerId]:
        if peer == self._me:
            return self._own
        held = self._adverts.get(peer)
        return NOTHING.neighbours if held is None else held[1].neighbours

    def _changes(
        self, origin: PeerId, old: frozenset[PeerId], new: frozenset[PeerId]
    ) -> EdgeChanges:
        """Return which edges of `origin` are there now and were not, and the reverse."""
        if old == new:
            return NO_CHANGES
        counts = self._is_edge(origin)
        gained = frozenset(other for other in new - old if counts(other))
        lost = frozenset(other for other in old - new if counts(other))
        if gained or lost:
            self._version += 1
        return EdgeChanges(gained, lost)

    def _is_edge(self, origin: PeerId) -> Callable[[PeerId], bool]:
        """Return what tells whether the word of `origin` alone decides of an edge."""
        if origin == self._me:
            return lambda other: True
        # With this node the link decides, whatever the other end has advertised so far.
        return lambda other: other not in (origin, self._me) and origin in self._claims(other)

    def _make_room(self) -> bool:
        """Return whether one more origin fits, forgetting one that no edge leads to if need be."""
        if len(self._adverts) < self._members_max:
            return True
        for _, origin in zip(range(EVICTION_LOOKS), list(self._adverts), strict=False):
            if not self.has_edges(origin):
                del self._adverts[origin]
                return True
            self._adverts[origin] = self._adverts.pop(origin)  # looked at last next time
        return False
