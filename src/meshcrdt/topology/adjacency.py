"""Who says it is linked with whom: the graph that liveness and routes are read from.

Each origin advertises its neighbours in the volatile channel "~adjacency" (key = the
neighbour's id, value empty). An edge counts only when both ends advertise it, so a
one-way link or a lying peer makes no path. This node's own edges are its
live links: it need not wait for its own words to come back.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError


@frozen
class AdjacencyStatistics:
    """Counts of one graph: origins that advertise, and directed edges advertised."""

    origins: int
    advertised_edges: int


class AdjacencyGraph:
    """The advertised edges, and the two-sided graph that they make.

    Args:
        me: This node; its edges are set by `set_own`.
        members_max: Bound on origins, and on neighbours taken from one origin.
    """

    def __init__(self, *, me: PeerId, members_max: int) -> None:
        self._me = me
        self._members_max = members_max
        self._own: frozenset[PeerId] = frozenset()
        self._advertised: dict[PeerId, frozenset[PeerId]] = {}

    def set_own(self, neighbours: frozenset[PeerId]) -> None:
        """Replace this node's own edges by its live links."""
        self._own = neighbours

    def advertise(self, origin: PeerId, neighbours: frozenset[PeerId]) -> None:
        """Replace what `origin` advertises; an empty set forgets it.

        Remote input: what exceeds the bound is left out, lowest ids first.
        """
        if origin == self._me:
            return
        neighbours = neighbours - {origin}
        if not neighbours:
            self._advertised.pop(origin, None)
            return
        if origin not in self._advertised and len(self._advertised) >= self._members_max:
            return
        if len(neighbours) > self._members_max:
            neighbours = frozenset(sorted(neighbours)[: self._members_max])
        self._advertised[origin] = neighbours

    def adjacent(self, one: PeerId, other: PeerId) -> bool:
        """Return True when both ends advertise the edge."""
        return other in self._claims(one) and one in self._claims(other)

    def neighbours(self, peer: PeerId) -> list[PeerId]:
        """Return the other ends of the two-sided edges of `peer`, lowest id first.

        For this node: all live links, which need no second witness.
        """
        if peer == self._me:
            return sorted(self._own)
        return sorted(other for other in self._claims(peer) if peer in self._claims(other))

    def check(self) -> None:
        """Raise InternalError when the tables break their own bounds."""
        if self._me in self._own or self._me in self._advertised:
            raise InternalError("adjacency holds this node as its own neighbour or as foreign")
        if len(self._advertised) > self._members_max:
            raise InternalError(f"adjacency holds {len(self._advertised)} origins")
        for origin, neighbours in self._advertised.items():
            if not neighbours or origin in neighbours:
                raise InternalError(f"edges of {origin} are empty or lead to itself")

    def statistics(self) -> AdjacencyStatistics:
        """Return the current counts."""
        return AdjacencyStatistics(
            origins=len(self._advertised),
            advertised_edges=sum(len(edges) for edges in self._advertised.values()),
        )

    def _claims(self, peer: PeerId) -> frozenset[PeerId]:
        if peer == self._me:
            return self._own
        return self._advertised.get(peer, frozenset())
