"""Next hops on shortest paths: found when they are asked for, kept until the graph changes.

Unicast messages are rare and changes of the graph are not, so nothing is computed ahead. A
route is found by breadth-first search from both ends, a whole level at a time: on a random
graph of degree k that looks at about sqrt(N) peers, at all N in the worst case. Peers are
visited lowest id first, so equal paths are chosen alike and a seed of the simulator keeps
its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshcrdt.base.ids import PeerId

NeighboursOf = Callable[[PeerId], Iterable[PeerId]]
ROUTES_MAX = 4_096
"""Destinations remembered at a time; more of them only cost another search."""


def first_hop(start: PeerId, dest: PeerId, neighbours_of: NeighboursOf) -> PeerId | None:
    """Return the neighbour of `start` that a shortest path to `dest` begins with, or None."""
    if start == dest:
        return None
    hops: dict[PeerId, PeerId] = {}
    for neighbour in neighbours_of(start):
        hops.setdefault(neighbour, neighbour)
    ahead, behind = list(hops), [dest]
    back = {dest}
    while ahead and behind:
        met = [peer for peer in ahead if peer in back]
        if met:
            return hops[min(met)]
        if len(ahead) <= len(behind):
            level = []
            for peer in ahead:
                for neighbour in neighbours_of(peer):
                    if neighbour != start and neighbour not in hops:
                        hops[neighbour] = hops[peer]
                        level.append(neighbour)
            ahead = level
        else:
            level = []
            for peer in behind:
                for neighbour in neighbours_of(peer):
                    if neighbour not in back:
                        back.add(neighbour)
                        level.append(neighbour)
            behind = level
    return None


class Routes:
    """The next hops of one node, each found on demand.

    Args:
        me: This node.
        neighbours_of: The two-sided neighbours of a peer, lowest id first.
        version: Grows whenever that graph changes.
    """

    def __init__(
        self, *, me: PeerId, neighbours_of: NeighboursOf, version: Callable[[], int]
    ) -> None:
        self._me = me
        self._neighbours_of = neighbours_of
        self._version = version
        self._found: dict[PeerId, PeerId | None] = {}
        self._found_at = -1

    def next_hop(self, dest: PeerId) -> PeerId | None:
        """Return the linked peer on a shortest way to `dest`, or None: no way is known."""
        version = self._version()
        if version != self._found_at or len(self._found) >= ROUTES_MAX:
            self._found.clear()
            self._found_at = version
        if dest not in self._found:
            self._found[dest] = first_hop(self._me, dest, self._neighbours_of)
        return self._found[dest]
