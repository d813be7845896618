"""Which peers are in this node's component of the graph, kept up with little work an event.

An edge that appears joins two components at once: the other one is flooded, O(what is
joined). An edge that vanishes is only a doubt, and doubts wait for one search together:
from this node and from each doubtful peer in step, until the two searches meet or one of
them has seen its whole component (Even and Shiloach, JACM 1981: the cost is that of the
smaller side). On a random graph of degree k two searches meet after about sqrt(N) peers;
in the worst case one search sees every edge once, O(N * k), however many doubts there are,
because searches that met go on as one.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.adjacency import AdjacencyGraph


@define
class _Search:
    """One breadth-first search, a peer at a time."""

    seen: set[PeerId]
    waiting: deque[PeerId] = field(factory=deque)

    @classmethod
    def begin(cls, start: PeerId) -> _Search:
        return cls({start}, deque([start]))

    def absorb(self, other: _Search) -> None:
        self.seen |= other.seen
        self.waiting.extend(other.waiting)


class Reach:
    """The component of one node; peers that are barred relay nothing and are in none.

    Args:
        me: This node.
        graph: The two-sided edges; `joined` and `parted` tell of their changes.
    """

    def __init__(self, *, me: PeerId, graph: AdjacencyGraph) -> None:
        self._me = me
        self._graph = graph
        self._near: set[PeerId] = {me}
        self._barred: set[PeerId] = set()
        self._doubtful: set[PeerId] = set()
        self._bars = 0

    @property
    def version(self) -> int:
        """Grows with every change of the graph without the barred."""
        return self._graph.version + self._bars

    def neighbours(self, peer: PeerId) -> list[PeerId]:
        """Return who a peer can pass something on to, lowest id first."""
        if peer in self._barred:
            return []
        found = self._graph.each_neighbour(peer)
        return sorted(other for other in found if other not in self._barred)

    def near(self, peer: PeerId) -> bool:
        """Return whether a path is known to lead to a peer, edges in doubt included."""
        return peer in self._near

    @property
    def doubtful(self) -> bool:
        """Whether an edge vanished since the last search."""
        return bool(self._doubtful)

    def joined(self, one: PeerId, other: PeerId) -> set[PeerId]:
        """Take in an edge that appeared; returns the peers that came near."""
        for start, end in ((one, other), (other, one)):
            if start in self._near and end not in self._near:
                return self._flood(end)
        return set()

    def parted(self, one: PeerId, other: PeerId) -> None:
        """Take in an edge that vanished: both ends are in doubt until `settle`."""
        self._doubtful.update(peer for peer in (one, other) if peer in self._near)
        self._doubtful.discard(self._me)

    def bar(self, peer: PeerId) -> bool:
        """Take a peer out of the graph; returns False when it was out already."""
        if peer in self._barred:
            return False
        self._bars += 1
        self._barred.add(peer)
        for other in self._graph.each_neighbour(peer):
            self.parted(peer, other)
        self._doubtful.discard(peer)
        self._near.discard(peer)
        return True

    def unbar(self, peer: PeerId) -> set[PeerId]:
        """Put a peer back; returns the peers that came near by it."""
        if peer not in self._barred:
            return set()
        self._bars += 1
        self._barred.discard(peer)
        if any(other in self._near for other in self._graph.each_neighbour(peer)):
            return self._flood(peer)
        return set()

    def settle(self) -> set[PeerId]:
        """Search for all doubtful peers at once; returns those to which no path leads now."""
        doubts, self._doubtful = self._doubtful & self._near, set()
        lost: set[PeerId] = set()
        mine = _Search.begin(self._me)
        for start in doubts:
            if start in mine.seen or start in lost:
                continue
            theirs = _Search.begin(start)
            if self._meet(mine, theirs):
                mine.absorb(theirs)
            elif theirs.waiting:
                lost |= self._near - mine.seen  # all that this node reaches is seen
                self._near = mine.seen
                break
            else:
                lost |= theirs.seen
                self._near -= theirs.seen
        return lost

    def check(self) -> None:
        """Raise InternalError when what is near is not the component, as far as it is searched."""
        if self._me not in self._near or self._near & self._barred:
            raise InternalError("this node is not near itself, or a barred peer is near")
        whole = _Search.begin(self._me)
        while whole.waiting:
            self._step(whole)
        if not self._doubtful and whole.seen != self._near:
            raise InternalError(f"{len(self._near)} peers count as near, {len(whole.seen)} are")
        if whole.seen - self._near:
            raise InternalError("a path leads to a peer that does not count as near")

    def _meet(self, mine: _Search, theirs: _Search) -> bool:
        """Search in step until the two meet, or either has nothing left to see."""
        while mine.waiting and theirs.waiting:
            if not theirs.seen.isdisjoint(self._step(mine)):
                return True
            if not mine.seen.isdisjoint(self._step(theirs)):
                return True
        return False

    def _step(self, search: _Search) -> list[PeerId]:
        """Look at the neighbours of one peer; returns those that are new to this search."""
        peer = search.waiting.popleft()
        new = [
            other
            for other in self._graph.each_neighbour(peer)
            if other not in search.seen and other not in self._barred
        ]
        search.seen.update(new)
        search.waiting.extend(new)
        return new

    def _flood(self, start: PeerId) -> set[PeerId]:
        if start in self._barred:
            return set()
        came: set[PeerId] = {start}
        waiting = deque([start])
        while waiting:
            for other in self._graph.each_neighbour(waiting.popleft()):
                if other not in came and other not in self._near and other not in self._barred:
                    came.add(other)
                    waiting.append(other)
        self._near |= came
        return came
