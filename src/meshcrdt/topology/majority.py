"""Whether this node is in a minority (finding F26). Informs; gates nothing.

The baseline is who was alive when this node was last in a majority, less those that left
or were evicted since; it is in a minority while the alive, itself included, are at most
half of that. A member leaves the baseline only when it is dead: otherwise the links of one
cut, which end one after the other, would each shrink it by one and the smaller side would
never notice. Every change of one member's state costs O(1).
"""

from __future__ import annotations

from collections.abc import Collection

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.outputs import PeerState


class Majority:
    """Counts the living against the baseline.

    Args:
        me: This node.
        baseline: What `baseline()` said before a restart; None means that members known
            before the first contact are presumed to have been there.
    """

    def __init__(self, *, me: PeerId, baseline: Collection[PeerId] | None = None) -> None:
        self._me = me
        self._baseline = {*(baseline or ()), me}
        self._presuming = baseline is None
        self._alive = 1
        self._arriving: set[PeerId] = set()
        """Alive, and in the baseline as soon as this node is in a majority."""
        self._departing = self._baseline - {me}
        """In the baseline, and neither alive nor suspect: out of it at the same moment."""

    def contact(self) -> None:
        """Note a first link: from now on only members seen alive enter the baseline."""
        self._presuming = False

    def changed(self, peer: PeerId, old: PeerState | None, new: PeerState | None) -> None:
        """Take in a member's change of state; None stands for no member, or one that left."""
        self._alive += (new is PeerState.ALIVE) - (old is PeerState.ALIVE)
        self._arriving.discard(peer)
        if new is None:
            self._departing.discard(peer)
            self._baseline.discard(peer)
            return
        if self._presuming:
            self._baseline.add(peer)
        if new is not PeerState.DEAD:
            self._departing.discard(peer)
        elif peer in self._baseline:
            self._departing.add(peer)
        if new is PeerState.ALIVE and peer not in self._baseline:
            self._arriving.add(peer)

    def settle(self) -> bool:
        """Take all changes as one event; returns whether the baseline moved."""
        if self._presuming or self.minority or not (self._arriving or self._departing):
            return False
        self._baseline |= self._arriving
        self._baseline -= self._departing
        self._arriving.clear()
        self._departing.clear()
        return True

    @property
    def minority(self) -> bool:
        """True while half or fewer of the baseline are alive; never for a lone node."""
        return len(self._baseline) > 1 and 2 * self._alive <= len(self._baseline)

    def baseline(self) -> frozenset[PeerId]:
        """Return the members counted against, this node included."""
        return frozenset(self._baseline)

    def check(self) -> None:
        """Raise InternalError when the sets contradict each other."""
        if self._me not in self._baseline or self._me in self._departing | self._arriving:
            raise InternalError("this node is not simply part of its own baseline")
        if self._arriving & self._baseline or self._departing - self._baseline:
            raise InternalError("a member enters the baseline twice, or leaves it from outside")
        if self._alive < 1:
            raise InternalError(f"{self._alive} members are alive, and this node is one")
