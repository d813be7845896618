"""Which members are alive, as far as this node can tell, and whether it is in a minority.

The loss of a link is suspicion: a member is alive while it is linked, or reachable over
the two-sided adjacency graph, suspect as soon as it is not, and dead after
`dead_after_s`. `left` is said by its subject alone and is terminal for its epoch (F29).
Liveness hides data; it never deletes any. The place of SWIM and Lifeguard is this file:
what they add (indirect probes, accusers, refutations) ends in the same four states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.outputs import PeerState, StateChanged


@define
class _Subject:
    state: PeerState
    unreachable_since: float | None
    reason: str


@frozen
class LivenessStatistics:
    """Peers by state."""

    alive: int
    suspect: int
    dead: int
    left: int


class Liveness:
    """The states of all known peers but this one.

    Args:
        me: This node, which has no state of its own.
        limits: `suspect_after_s` and `dead_after_s` are used.
    """

    def __init__(self, *, me: PeerId, limits: Limits) -> None:
        self._me = me
        self._limits = limits
        self._subjects: dict[PeerId, _Subject] = {}
        self._left: dict[PeerId, Epoch] = {}
        self._why: dict[PeerId, str] = {}

    def left(self, peer: PeerId, epoch: Epoch) -> None:
        """Note that a peer said goodbye in this epoch; an older one changes nothing."""
        self._left[peer] = max(epoch, self._left.get(peer, epoch))

    def seen(self, peer: PeerId, epoch: Epoch) -> None:
        """Note a sign of life of an epoch: one above that of its goodbye ends the goodbye."""
        if peer in self._left and epoch > self._left[peer]:
            del self._left[peer]

    def link_lost(self, peer: PeerId, reason: str) -> None:
        """Remember why the last link of a peer ended, for the reason of what follows."""
        self._why[peer] = reason

    def update(
        self, now: float, *, members: Collection[PeerId], hops: Mapping[PeerId, PeerId]
    ) -> list[StateChanged]:
        """Judge everybody anew.

        Args:
            now: The time in seconds.
            members: Peers in the directory, in or left; others are kept while reachable.
            hops: Reachable peers, each with the first hop towards it.
        """
        outputs: list[StateChanged] = []
        for peer in sorted({*members, *hops, *self._subjects} - {self._me}):
            subject = self._subjects.get(peer)
            old = None if subject is None else subject.state
            if subject is None:
                if peer not in members and peer not in hops:
                    continue
                subject = self._subjects[peer] = _Subject(PeerState.SUSPECT, None, "not met yet")
            new, reason = self._judge(peer, subject, now, hops.get(peer))
            subject.state, subject.reason = new, reason
            if new is not old:
                outputs.append(StateChanged(peer, old, new, reason))
            if peer not in members and new in (PeerState.DEAD, PeerState.LEFT):
                del self._subjects[peer]
                self._why.pop(peer, None)
        for peer in set(self._left) - set(members) - set(self._subjects):
            del self._left[peer]
        return outputs

    def next_deadline(self) -> float | None:
        """Return when the next state may change by time alone, or None."""
        times: list[float] = []
        for subject in self._subjects.values():
            since = subject.unreachable_since
            if since is not None and subject.state is PeerState.ALIVE:
                times.append(since + self._limits.suspect_after_s)
            elif since is not None and subject.state is PeerState.SUSPECT:
                times.append(since + self._limits.dead_after_s)
        return min(times, default=None)

    def forgive(self, stall_s: float) -> None:
        """Do not count `stall_s`, in which this process did not run, against anybody."""
        for subject in self._subjects.values():
            if subject.unreachable_since is not None:
                subject.unreachable_since += stall_s

    def state(self, peer: PeerId) -> PeerState | None:
        """Return the state of a peer; None when it is unknown."""
        subject = self._subjects.get(peer)
        return None if subject is None else subject.state

    def reason(self, peer: PeerId) -> str:
        """Return one line that says why a peer is in its state; empty when it is unknown."""
        subject = self._subjects.get(peer)
        return "" if subject is None else subject.reason

    def in_state(self, state: PeerState) -> frozenset[PeerId]:
        """Return all peers in a state."""
        return frozenset(p for p, subject in self._subjects.items() if subject.state is state)

    def known(self) -> frozenset[PeerId]:
        """Return all peers that have a state."""
        return frozenset(self._subjects)

    def check(self) -> None:
        """Raise InternalError when a state and its reason in time disagree."""
        for peer, subject in self._subjects.items():
            unreachable = subject.unreachable_since is not None
            if subject.state in (PeerState.SUSPECT, PeerState.DEAD) and not unreachable:
                raise InternalError(f"{peer} is {subject.state.value} though it was reachable")
            if (subject.state is PeerState.LEFT) != (peer in self._left):
                raise InternalError(f"{peer} is {subject.state.value} against its own word")

    def statistics(self) -> LivenessStatistics:
        """Return the current counts."""
        return LivenessStatistics(
            alive=len(self.in_state(PeerState.ALIVE)),
            suspect=len(self.in_state(PeerState.SUSPECT)),
            dead=len(self.in_state(PeerState.DEAD)),
            left=len(self.in_state(PeerState.LEFT)),
        )

    def _judge(
        self, peer: PeerId, subject: _Subject, now: float, hop: PeerId | None
    ) -> tuple[PeerState, str]:
        if hop is not None:
            subject.unreachable_since = None
            if hop == peer:
                self._why.pop(peer, None)
        elif subject.unreachable_since is None:
            subject.unreachable_since = now
        since = subject.unreachable_since
        if peer in self._left:
            return PeerState.LEFT, "it said goodbye"
        if since is None:
            return PeerState.ALIVE, "linked" if hop == peer else f"reachable through {hop}"
        why = self._why.get(peer, "no path of links leads to it")
        if now >= since + self._limits.dead_after_s:
            return PeerState.DEAD, f"unreachable for {self._limits.dead_after_s:g} s: {why}"
        if now >= since + self._limits.suspect_after_s:
            return PeerState.SUSPECT, why
        return subject.state, subject.reason


class Majority:
    """Tells whether this node is in a minority (finding F26). Informs; gates nothing.

    The baseline is who was alive when this node was last in a majority, less those that
    left or were evicted since; it is in a minority while the alive, itself included, are
    at most half of that. A member leaves the baseline only when it is dead: otherwise the
    links of one cut, which end one after the other, would each shrink it by one and the
    smaller side would never notice.

    Args:
        me: This node.
        baseline: What `baseline()` said before a restart; None means that members known
            before the first contact are presumed to have been there.
    """

    def __init__(self, *, me: PeerId, baseline: Collection[PeerId] | None = None) -> None:
        self._me = me
        self._baseline = frozenset(baseline or ()) | {me}
        self._presuming = baseline is None
        self._alive_count = 1

    def contact(self) -> None:
        """Note a first link: from now on only members seen alive enter the baseline."""
        self._presuming = False

    def evicted(self, peer: PeerId) -> None:
        """Note that a peer is no member any more: nobody counts on it."""
        self._baseline -= {peer}

    def update(
        self,
        *,
        members: Collection[PeerId],
        alive: frozenset[PeerId],
        suspect: frozenset[PeerId],
        left: frozenset[PeerId],
    ) -> None:
        """Take in the states of all peers; `members` are those in the directory."""
        present = frozenset(members) - left
        alive = (alive & present) | {self._me}
        self._alive_count = len(alive)
        self._baseline = (self._baseline - left) | {self._me}
        if self._presuming:
            self._baseline |= present
        elif not self.minority:
            self._baseline = alive | (self._baseline & suspect)

    @property
    def minority(self) -> bool:
        """True while half or fewer of the baseline are alive; never for a lone node."""
        return len(self._baseline) > 1 and 2 * self._alive_count <= len(self._baseline)

    def baseline(self) -> frozenset[PeerId]:
        """Return the members counted against, this node included."""
        return self._baseline
