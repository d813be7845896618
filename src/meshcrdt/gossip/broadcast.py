"""Where an eager delta goes next: the place of the Plumtree broadcast tree.

Now every node sends to all of its links but those that need nothing: back where it came
from, to the origin itself, and to peers that the origin pushes to directly. With few
nodes the full mesh makes that one hop. A tree of eager and lazy links replaces the inside
of `targets` and nothing else; "seen" is "held or outranked", so no id cache is kept (F27).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from meshcrdt.base.ids import PeerId

Adjacent: TypeAlias = Callable[[PeerId, PeerId], bool]
"""Whether two peers have a link of their own, as far as is known."""


def nobody_adjacent(_first: PeerId, _second: PeerId) -> bool:
    """Say that no two peers are known to be linked: every delta is relayed everywhere."""
    return False


class Broadcast:
    """Chooses the links of one delta."""

    def __init__(self, me: PeerId, adjacent: Adjacent) -> None:
        self._me = me
        self._adjacent = adjacent

    def targets(
        self, origin: PeerId, from_peer: PeerId | None, links: Mapping[int, PeerId]
    ) -> list[int]:
        """Return the links to send a delta of `origin` on; one link a peer."""
        chosen: dict[PeerId, int] = {}
        for link, peer in links.items():
            if peer in (origin, from_peer, self._me):
                continue
            if origin != self._me and self._adjacent(origin, peer):
                continue
            chosen[peer] = link
        return list(chosen.values())
