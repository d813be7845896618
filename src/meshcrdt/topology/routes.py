"""Next hops by breadth-first search: pure, and the same on every run.

A shortest path on the sparse two-sided graph costs O(N * k) and is computed only when
the graph changes. Neighbours are visited in the order given (lowest id first), so equal
paths are chosen alike and a seed of the simulator keeps its meaning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from meshcrdt.base.ids import PeerId


def first_hops(
    start: PeerId, neighbours_of: Callable[[PeerId], Iterable[PeerId]]
) -> dict[PeerId, PeerId]:
    """Return, for each peer reachable from `start`, the neighbour that a shortest path begins with.

    `start` itself is not in the result; a neighbour's first hop is the neighbour.
    """
    hops: dict[PeerId, PeerId] = {}
    waiting: deque[PeerId] = deque()
    for neighbour in neighbours_of(start):
        if neighbour != start and neighbour not in hops:
            hops[neighbour] = neighbour
            waiting.append(neighbour)
    while waiting:
        peer = waiting.popleft()
        for neighbour in neighbours_of(peer):
            if neighbour != start and neighbour not in hops:
                hops[neighbour] = hops[peer]
                waiting.append(neighbour)
    return hops
