"""Which members are alive, as far as this node can tell: SWIM (DSN 2002) over links.

The loss of a link is suspicion of the former neighbour, which is then asked for through
others (`swim`); if nobody reaches it, this node accuses it, by name, epoch and incarnation.
The subject alone refutes, by a newer word about itself (finding F29). What counts against
a peer without a link is

* this node's own failed probes,
* accusations of members that doubt the peer's last word,
* that no path of links leads to it (`reach`).

Any of these makes it suspect. It is dead when for `dead_after_s` either this node's own
probes failed, or two members of different failure domains accused it, or no path led to
it: one liar kills nobody, and two do not either while the peer can answer. `left` is said
by the subject alone and is terminal for its epoch. A state is a function of what is held,
so it is the same whatever came first. Liveness hides data; it never deletes any.

Nothing is kept of a member that is simply alive, and an event costs O(1) beside the number
of accusers of one peer; timers O(log of those that are not simply alive).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from attrs import define, frozen

from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.adverts import Accusation, Word
from meshcrdt.topology.directory import MemberRecord, Standing
from meshcrdt.topology.outputs import PeerState, StateChanged
from meshcrdt.topology.witnesses import Witnesses

REFUTE_SHARE = 0.4
"""What kills must have stood for this share of `dead_after_s`: a refutation takes its time."""
ACCUSED_GRACE_S = 0.25
"""What others say alone makes nobody suspect sooner: the subject may be about to answer."""


class Doubt(Enum):
    """How far this node's own inquiry about a former neighbour is."""

    NONE = "none"
    ASKING = "asking"
    """Others are asked whether they reach it."""
    ALONE = "alone"
    """Nobody can be asked."""
    FAILED = "failed"
    """It was asked for in time, and nobody reached it."""


@define
class _Subject:
    """What is kept of a peer that is linked, in doubt, accused, far away or not alive."""

    state: PeerState | None = None
    reason: str = "not met yet"
    linked: bool = False
    doubt: Doubt = Doubt.NONE
    doubted: Word = (BOTTOM_EPOCH, 0)
    """The word that the doubt is about: a newer one ends it."""
    why: str = ""
    against_since: float | None = None
    deadly_since: float | None = None
    wakes_at: float | None = None


@frozen
class LivenessStatistics:
    """Peers by state."""

    alive: int
    suspect: int
    dead: int
    left: int


def _good_links() -> float:
    return 1.0


@frozen
class Surroundings:
    """What liveness must know of the rest.

    `members`: the directory. `advertised`: the last word in a peer's advert, or None.
    `near`: whether a path of links leads to a peer. `condemn`: takes a peer that must be
    taken for gone out of the graph; `acquit`: puts it back. `patience`: how many times longer
    than on good links an answer may take.
    """

    members: Mapping[PeerId, MemberRecord]
    advertised: Callable[[PeerId], Word | None]
    near: Callable[[PeerId], bool]
    condemn: Callable[[PeerId], object]
    acquit: Callable[[PeerId], None]
    patience: Callable[[], float] = _good_links


class Liveness:
    """The states of all known peers but this one.

    Args:
        me: This node, which has no state of its own.
        limits: `suspect_after_s` and `dead_after_s` are used.
        around: What it asks of the other parts.
    """

    def __init__(self, *, me: PeerId, limits: Limits, around: Surroundings) -> None:
        self._me = me
        self._limits = limits
        self._around = around
        self._subjects: dict[PeerId, _Subject] = {}
        self._left: dict[PeerId, Epoch] = {}
        self.witnesses = Witnesses(members=around.members, advertised=around.advertised)
        self._touched: set[PeerId] = set()
        self._alarms: list[tuple[float, PeerId]] = []

    # --- facts ---------------------------------------------------------------------------

    def member(self, peer: PeerId, old: MemberRecord | None, new: MemberRecord | None) -> None:
        """Take in a change of the directory, which `members` shows already."""
        self._touched.update(self.witnesses.member(old, new))
        if new is not None and new.standing is Standing.LEFT:
            self._left[peer] = max(new.epoch, self._left.get(peer, new.epoch))
        elif new is None:
            self._left.pop(peer, None)
        if old is None and new is not None and peer != self._me:
            self._subjects.setdefault(peer, _Subject())
        self.touch(peer)

    def accuser_changed(
        self, accuser: PeerId, old: Iterable[Accusation], new: Iterable[Accusation]
    ) -> None:
        """Take in what a peer's advert accuses others of now, instead of `old`."""
        for subject in self.witnesses.accuser_changed(accuser, old, new):
            self.touch(subject)

    def linked(self, peer: PeerId, epoch: Epoch) -> None:
        """Note that a link proves a peer alive, in this epoch."""
        subject = self._subject(peer)
        subject.linked = True
        self.witnesses.met(peer, epoch)
        subject.doubt = Doubt.NONE
        subject.why = ""
        self.touch(peer)

    def unlinked(self, peer: PeerId, reason: str) -> None:
        """Note that the last link of a peer ended, which says nothing by itself."""
        subject = self._subject(peer)
        if subject.linked:
            subject.linked = False
            subject.why = reason
            self.touch(peer)

    def doubt(self, peer: PeerId, doubt: Doubt) -> None:
        """Note how far this node's own inquiry is; a linked peer is not in doubt."""
        subject = self._subject(peer)
        if not subject.linked:
            subject.doubt, subject.doubted = doubt, self.witnesses.word(peer)
            self.touch(peer)

    def touch(self, peer: PeerId) -> None:
        """Note that something about a peer changed: it is judged in `settle`."""
        if peer != self._me:
            self._touched.add(peer)

    def forgive(self, stall_s: float) -> None:
        """Do not count `stall_s`, in which this process did not run, against anybody."""
        for peer, subject in self._subjects.items():
            if subject.against_since is not None:
                subject.against_since += stall_s
            if subject.deadly_since is not None:
                subject.deadly_since += stall_s
            if subject.wakes_at is not None:
                self.touch(peer)

    # --- judging -------------------------------------------------------------------------

    def settle(self, now: float) -> list[StateChanged]:
        """Judge everybody about whom something changed, or whose time has come."""
        while self._alarms and self._alarms[0][0] <= now:
            wakes_at, peer = heapq.heappop(self._alarms)
            subject = self._subjects.get(peer)
            if subject is not None and subject.wakes_at == wakes_at:
                self._touched.add(peer)
        outputs: list[StateChanged] = []
        while self._touched:
            batch, self._touched = sorted(self._touched), set()
            for peer in batch:
                outputs.extend(self._judge(peer, now))
        return outputs

    def next_deadline(self) -> float | None:
        """Return when the next state may change by time alone, or None."""
        while self._alarms:
            wakes_at, peer = self._alarms[0]
            subject = self._subjects.get(peer)
            if subject is not None and subject.wakes_at == wakes_at:
                return wakes_at
            heapq.heappop(self._alarms)
        return None

    # --- queries -------------------------------------------------------------------------

    def doubts(self, peer: PeerId) -> Doubt:
        """Return this node's own doubt about a peer, as far as its last word leaves any."""
        subject = self._subjects.get(peer)
        if subject is None or subject.linked or subject.doubted != self.witnesses.word(peer):
            return Doubt.NONE
        return subject.doubt

    def doubted(self, doubt: Doubt) -> list[PeerId]:
        """Return the peers in a doubt, sorted."""
        return sorted(p for p in self._subjects if self.doubts(p) is doubt)

    def state(self, peer: PeerId) -> PeerState | None:
        """Return the state of a peer; None when it is unknown. O(1)."""
        subject = self._subjects.get(peer)
        if subject is not None and subject.state is not None:
            return subject.state
        known = peer in self._around.members or self._around.near(peer)
        return PeerState.ALIVE if known and peer != self._me else None

    def judged(self, peer: PeerId, record: MemberRecord | None) -> PeerState | None:
        """Return the state that was told last, given the record held then; None for none."""
        subject = self._subjects.get(peer)
        if subject is not None:
            return subject.state
        return None if record is None else PeerState.ALIVE

    def reason(self, peer: PeerId) -> str:
        """Return one line that says why a peer is in its state; empty when it is unknown."""
        subject = self._subjects.get(peer)
        if subject is not None and subject.state is not None:
            return subject.reason
        return "" if self.state(peer) is None else "reachable"

    def linked_peers(self) -> frozenset[PeerId]:
        """Return the peers that are taken for linked: O(N), for checks."""
        return frozenset(peer for peer, subject in self._subjects.items() if subject.linked)

    def known(self) -> frozenset[PeerId]:
        """Return all peers that have a state of their own: members, and linked strangers."""
        return frozenset({*self._subjects, *self._around.members} - {self._me})

    def check(self) -> None:
        """Raise InternalError when a state and what it rests on disagree."""
        for peer, subject in self._subjects.items():
            against = subject.against_since is not None
            if subject.state in (PeerState.SUSPECT, PeerState.DEAD) and not against:
                raise InternalError(f"{peer} is {subject.state.value} for no reason")
            if subject.linked and subject.state not in (PeerState.ALIVE, PeerState.LEFT):
                raise InternalError(f"{peer} is linked and {subject.state}")
        self.witnesses.check()

    def statistics(self) -> LivenessStatistics:
        """Return the current counts."""
        counts = Counter(self.state(peer) for peer in self.known())
        return LivenessStatistics(
            alive=counts[PeerState.ALIVE],
            suspect=counts[PeerState.SUSPECT],
            dead=counts[PeerState.DEAD],
            left=counts[PeerState.LEFT],
        )

    # --- inside --------------------------------------------------------------------------

    def _subject(self, peer: PeerId) -> _Subject:
        subject = self._subjects.get(peer)
        if subject is None:
            subject = self._subjects[peer] = _Subject()
            if peer in self._around.members:
                subject.state = PeerState.ALIVE
        return subject

    def _judge(self, peer: PeerId, now: float) -> list[StateChanged]:
        """Bring one peer's state up to date with what is held about it."""
        record = self._around.members.get(peer)
        if peer not in self._subjects:
            if record is None:
                return []  # a stranger that others speak of
            if self._stays_plain(peer):
                self._around.acquit(peer)
                self.witnesses.forget(peer)
                return []
        subject = self._subject(peer)
        old = subject.state
        wakes_at: float | None = None
        if (
            self._left.get(peer, BOTTOM_EPOCH) >= self.witnesses.word(peer)[0]
            and peer in self._left
        ):
            self._acquit(peer, subject)
            subject.state, subject.reason = PeerState.LEFT, "it said goodbye"
        elif subject.linked:
            self._acquit(peer, subject)
            subject.state, subject.reason = PeerState.ALIVE, "linked"
        else:
            wakes_at = self._weigh(peer, subject, now)
        subject.wakes_at = wakes_at
        new = subject.state
        gone = record is None and new in (PeerState.DEAD, PeerState.LEFT)
        if gone or self._is_plain(peer, subject):
            del self._subjects[peer]
            self.witnesses.forget(peer)
            if gone:
                self._left.pop(peer, None)
        elif wakes_at is not None:
            heapq.heappush(self._alarms, (wakes_at, peer))
        if new is old or new is None:
            return []
        return [StateChanged(peer, old, new, subject.reason)]

    def _acquit(self, peer: PeerId, subject: _Subject) -> None:
        subject.against_since = subject.deadly_since = None
        self._around.acquit(peer)

    def _weigh(self, peer: PeerId, subject: _Subject, now: float) -> float | None:
        """Judge a peer without a link by what speaks against it; returns when to look again."""
        doubt = self.doubts(peer)
        accusers = self.witnesses.accusers(peer)
        condemned = doubt is Doubt.FAILED or self.witnesses.enough(accusers)
        if condemned:
            self._around.condemn(peer)
        else:
            self._around.acquit(peer)
        far = not self._around.near(peer)
        if doubt is Doubt.NONE and not accusers and not far:
            subject.against_since = subject.deadly_since = None
            subject.state, subject.reason, subject.why = PeerState.ALIVE, "reachable", ""
            return None
        if subject.against_since is None:
            subject.against_since = now
        if not (condemned or far):
            subject.deadly_since = None
        elif subject.deadly_since is None:
            subject.deadly_since = now
        why = "no path of links leads to it"
        if subject.why and (far or doubt is not Doubt.NONE):
            why = subject.why
        elif accusers:
            why = f"{', '.join(accuser.short for accuser in accusers)} cannot reach it"
        hearsay = doubt in (Doubt.NONE, Doubt.ASKING) and not far
        return self._sentence(subject, now, why=why, grace_s=ACCUSED_GRACE_S if hearsay else 0.0)

    def _sentence(self, subject: _Subject, now: float, *, why: str, grace_s: float) -> float | None:
        """Make a peer suspect or dead by how long something speaks against it."""
        limits = self._limits
        since, deadly = subject.against_since, subject.deadly_since
        if since is None:
            raise InternalError("nothing speaks against a peer that is judged for it")
        dead_after_s = limits.dead_after_s * self._around.patience()
        dead_at = math.inf
        if deadly is not None:
            refuted_by = deadly + REFUTE_SHARE * dead_after_s
            dead_at = max(since + dead_after_s, refuted_by)
        if now >= dead_at:
            subject.state = PeerState.DEAD
            subject.reason = f"unreachable for {dead_after_s:.3g} s: {why}"
            return None
        suspect_at = since + max(grace_s, limits.suspect_after_s)
        if now >= suspect_at or subject.state in (PeerState.SUSPECT, PeerState.DEAD):
            subject.state, subject.reason = PeerState.SUSPECT, why
            return None if deadly is None else dead_at
        subject.state = subject.state or PeerState.ALIVE
        return min(suspect_at, dead_at)

    def _stays_plain(self, peer: PeerId) -> bool:
        """Return whether there is still nothing to keep of a member that is plainly alive."""
        return (
            peer not in self._left
            and not self.witnesses.accusers(peer)
            and not self.witnesses.knows_more(peer)
            and self._around.near(peer)
        )

    def _is_plain(self, peer: PeerId, subject: _Subject) -> bool:
        """Return whether nothing is to be kept of a peer: it is alive, and that is all."""
        return (
            subject.state is PeerState.ALIVE
            and not subject.linked
            and subject.against_since is None
            and not self.witnesses.knows_more(peer)
        )
