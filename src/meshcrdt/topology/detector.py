"""The failure detector of one node: who is there, how it can be reached, and what to tell.

Puts together the graph of adverts, this node's component in it, routes, the states of the
members, inquiries through others, the majority, and this node's own advert. The parts know
nothing of each other; what one must know of another is passed on here, in `conclude`, once
after every event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.times import earliest
from meshcrdt.base.tree import Tree
from meshcrdt.topology.accuser import Accuser
from meshcrdt.topology.adjacency import AdjacencyGraph
from meshcrdt.topology.advertiser import FULL_MESH_MAX, Advertiser
from meshcrdt.topology.adverts import Advert, Word, next_incarnation
from meshcrdt.topology.directory import MemberRecord
from meshcrdt.topology.links import Links
from meshcrdt.topology.liveness import Doubt, Liveness, Surroundings
from meshcrdt.topology.local_health import LocalHealth
from meshcrdt.topology.majority import Majority
from meshcrdt.topology.outputs import (
    Advertise,
    BaselineChanged,
    PeerState,
    ToLink,
    TopologyOutput,
)
from meshcrdt.topology.reach import Reach
from meshcrdt.topology.routes import Routes
from meshcrdt.topology.swim import HELPERS_MAX, Ended, Knock, Pass, Swim, SwimOutput, Verdict
from meshcrdt.topology.visibility import Visibility

SEARCH_WAIT_S = 0.1
SEARCH_WAIT_PER_ORIGIN_S = 2e-4
"""Edges that vanish are searched for together: at most a few per cent of the time."""
BASELINE_WAIT_S = 10.0
"""The baseline of `minority` is given out to be kept no more often than this."""
VERDICTS_MAX = 512


class Parting(Enum):
    """How a link ended."""

    LOST = "lost"
    """It broke, or fell silent: the peer is in doubt."""
    AGREED = "agreed"
    """Both ends know that it was to end: nothing is wrong."""


class Detector:
    """All that one node believes about the others.

    Args:
        me: This node.
        epoch: Its epoch, under which its incarnation counts.
        limits: Published bounds.
        dice: Helpers, nonces, jitter of adverts.
        links: The live links.
        members: The directory; the owner changes it and calls `member`.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        epoch: Epoch,
        limits: Limits,
        dice: Dice,
        links: Links,
        members: Mapping[PeerId, MemberRecord],
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._incarnation = 0
        self._limits = limits
        self._dice = dice
        self._links = links
        self._members = members
        self.health = LocalHealth()
        self.graph = AdjacencyGraph(me=me, members_max=limits.members_max)
        self.reach = Reach(me=me, graph=self.graph)
        self.routes = Routes(
            me=me, neighbours_of=self.reach.neighbours, version=lambda: self.reach.version
        )
        self.liveness = Liveness(
            me=me,
            limits=limits,
            around=Surroundings(
                members=members,
                advertised=self.graph.word,
                near=self.reach.near,
                condemn=self._condemn,
                acquit=self._acquit,
                patience=links.patience,
            ),
        )
        self.swim = Swim(
            me=me, limits=limits, dice=dice.fork("swim"), health=self.health,
            heard_at=links.heard_at,
        )  # fmt: skip
        self.majority = Majority(me=me)
        self.accuser = Accuser(me=me, liveness=self.liveness, graph=self.graph)
        self._advertiser = Advertiser(limits=limits, dice=dice.fork("adverts"))
        self._visibility = Visibility(me=me, graph=self.graph, seen=self.reach.neighbours)
        self._own: frozenset[PeerId] = frozenset()
        self._shown: frozenset[PeerId] = frozenset()
        self._verdicts: dict[PeerId, tuple[Verdict, float]] = {}
        self._search_at: float | None = None
        self._urgent = False
        self._restate = False
        self._baseline_at: float | None = None
        self._baseline_free_at = 0.0
        self._out: list[TopologyOutput] = []

    # --- links ---------------------------------------------------------------------------

    def linked(self, peer: PeerId, epoch: Epoch) -> None:
        """Take in a link that proves a peer alive in an epoch."""
        self.liveness.linked(peer, epoch)
        self._settled(peer)

    def unlinked(self, peer: PeerId, reason: str, now: float, parting: Parting) -> None:
        """Take in the end of a peer's last link."""
        self.liveness.unlinked(peer, reason)
        self._advertiser.link_lost(peer, now)
        if parting is Parting.AGREED:
            self.swim.drop(peer)
            return
        verdict, at = self._verdicts.pop(peer, (None, now))
        if verdict is not None and now - at > self._limits.link_silence_s:
            verdict = None
        if verdict is Verdict.LIVES:
            return  # others reach it: only the link is broken
        if verdict is Verdict.SILENT:
            self._fail(peer, now)
        else:
            self._inquire(peer, now)

    def doubted(self, peer: PeerId, now: float) -> None:
        """Ask others for a linked peer that does not answer, while its link still has time."""
        verdict, at = self._verdicts.get(peer, (None, now))
        if verdict is None or now - at > self._limits.link_silence_s:
            helpers = self._helpers(peer)
            if helpers:
                self._swim(self.swim.begin(peer, helpers, now), now)

    def heard(self, peer: PeerId, now: float) -> list[TopologyOutput]:
        """Note that a linked peer was heard: whoever asked this node for it is told. O(1)."""
        if self._verdicts:
            self._verdicts.pop(peer, None)
        self._swim(self.swim.heard(peer), now)
        return self._take()

    def neighbours_changed(
        self, neighbours: frozenset[PeerId], shown: frozenset[PeerId], now: float
    ) -> None:
        """Take in who has a live link now, and which of these links are to be advertised."""
        alone, gained = not self._own, neighbours - self._own
        for peer in sorted(self._own - neighbours):
            self.liveness.unlinked(peer, "")  # unless told so before: this node wanted it
        self._own, self._shown = neighbours, shown
        changes = self.graph.set_own(neighbours)
        self._apply(self._me, changes.gained, changes.lost)
        self.majority.contact()
        self._visibility.links_changed(shown, now)
        self._restate = True
        if gained:
            # What this node concluded while it could ask nobody says more about itself.
            for doubt in (Doubt.ALONE, Doubt.FAILED) if alone else (Doubt.ALONE,):
                for peer in self.liveness.doubted(doubt):
                    self.accuser.drop(peer)
                    self.swim.drop(peer)
                    self._inquire(peer, now)

    # --- what others say -----------------------------------------------------------------

    def member(self, peer: PeerId, old: MemberRecord | None, new: MemberRecord | None) -> None:
        """Take in a change of the directory, which `members` shows already."""
        if peer == self._me:
            return
        state = self.liveness.judged(peer, old)
        if old is None and state is not None:
            self.majority.changed(peer, None, _counted(state))  # a stranger joined
        if new is None:
            self.majority.changed(peer, _counted(state), None)
        self.liveness.member(peer, old, new)
        for accusation in self.graph.advert(peer).accusations:
            self.liveness.touch(accusation.subject)  # only members are heard as accusers

    def advertised(self, peer: PeerId, epoch: Epoch, advert: Advert | None, now: float) -> None:
        """Take in what a peer says of itself; None when it withdrew."""
        if peer == self._me:
            return
        before, old = self.liveness.witnesses.word(peer), self.graph.advert(peer)
        changes = self.graph.advertise(peer, epoch, advert)
        new = self.graph.advert(peer)
        self._apply(peer, changes.gained, changes.lost)
        self.liveness.accuser_changed(peer, old.accusations, new.accusations)
        self.liveness.touch(peer)
        if self.liveness.witnesses.word(peer) != before:
            self._settled(peer)
        for other in sorted({peer, *changes.gained}):
            if self.liveness.doubts(other) in (Doubt.ALONE, Doubt.FAILED):
                # It speaks, or others reach it: what this node tried in vain may be over.
                self._inquire(other, now)
        if peer in self._members and any(a.subject == self._me for a in new.accusations):
            said = {a.word for a in new.accusations if a.subject == self._me}
            self._refute(said)
        self._visibility.spoke(peer)

    def received(self, source: PeerId, message: tuple[Tree, ...], now: float) -> None:
        """Take a probe message; raises MalformedTree."""
        self._swim(self.swim.received(source, message, now), now)

    def remember(self, baseline: Collection[PeerId]) -> None:
        """Take the baseline that a run before kept."""
        self.majority = Majority(me=self._me, baseline=baseline)

    def reepoch(self, epoch: Epoch) -> None:
        """Go on under another epoch of this node."""
        self._epoch = epoch

    # --- time ----------------------------------------------------------------------------

    def forgive(self, stall_s: float) -> None:
        """This process stood still: it trusts itself less, and blames nobody for it."""
        self.health.worse()
        self.liveness.forgive(stall_s)
        self.swim.forgive(stall_s)

    def next_deadline(self) -> float | None:
        """Return when `conclude` has something to do, or None."""
        return earliest(
            self.liveness.next_deadline(),
            self.swim.next_deadline(),
            self.accuser.next_deadline(),
            self._visibility.next_deadline(),
            self._advertiser.next_deadline(),
            self._search_at,
            self._baseline_at,
        )

    def conclude(self, now: float) -> list[TopologyOutput]:
        """Do what is due, bring every part up to date with the others, and tell."""
        self._swim(self.swim.handle_timeout(now), now)
        if self._search_at is not None and now >= self._search_at:
            self._search_at = None
            for peer in self.reach.settle():
                self.liveness.touch(peer)
        for change in self.liveness.settle(now):
            if change.peer in self._members:
                self.majority.changed(change.peer, _counted(change.old), _counted(change.new))
            self._out.append(change)
        if self.reach.doubtful and self._search_at is None:
            origins = self.graph.origins
            self._search_at = now + SEARCH_WAIT_S + SEARCH_WAIT_PER_ORIGIN_S * origins
        self._speak(now)
        self._keep_baseline(now)
        return self._take()

    # --- queries -------------------------------------------------------------------------

    def reason(self, peer: PeerId) -> str:
        """Return one line that says why a peer is in its state."""
        reason = self.liveness.reason(peer)
        hop = self.routes.next_hop(peer) if reason == "reachable" else None
        return reason if hop is None else f"reachable through {hop}"

    def check(self) -> None:
        """Raise InternalError when an invariant of a part is broken."""
        for part in (
            self.health, self.graph, self.reach, self.liveness, self.swim, self.majority,
            self.accuser, self._advertiser,
        ):  # fmt: skip
            part.check()

    # --- inside --------------------------------------------------------------------------

    def _take(self) -> list[TopologyOutput]:
        out, self._out = self._out, []
        return out

    def _apply(self, one: PeerId, gained: Iterable[PeerId], lost: Iterable[PeerId]) -> None:
        for other in gained:
            for peer in self.reach.joined(one, other):
                self.liveness.touch(peer)
        for other in lost:
            self.reach.parted(one, other)
            self._visibility.faded(one)
            self._visibility.faded(other)

    def _condemn(self, peer: PeerId) -> None:
        if self.reach.bar(peer):
            for other in self.graph.each_neighbour(peer):
                self._visibility.faded(other)

    def _acquit(self, peer: PeerId) -> None:
        for came in self.reach.unbar(peer):
            self.liveness.touch(came)

    def _settled(self, peer: PeerId) -> None:
        """Forget every inquiry about a peer: it has just proved that it lives."""
        self.swim.drop(peer)
        self._verdicts.pop(peer, None)
        if self.accuser.drop(peer):
            self._restate = True

    def _helpers(self, subject: PeerId) -> list[PeerId]:
        """Return who may reach a peer: neighbours that it and this node share come first."""
        theirs = self.graph.advert(subject).neighbours - {self._me, subject}
        chosen = self._dice.sample(sorted(theirs & self._own), HELPERS_MAX)
        further = [p for p in theirs - self._own if self.liveness.state(p) is PeerState.ALIVE]
        chosen += self._dice.sample(sorted(further), HELPERS_MAX - len(chosen))
        return chosen or self._dice.sample(sorted(self._own - {subject}), HELPERS_MAX)

    def _inquire(self, peer: PeerId, now: float) -> None:
        helpers = self._helpers(peer)
        self.liveness.doubt(peer, Doubt.ASKING if helpers else Doubt.ALONE)
        self._swim(self.swim.begin(peer, helpers, now), now)

    def _fail(self, peer: PeerId, now: float) -> None:
        self.liveness.doubt(peer, Doubt.FAILED)
        if self._own:
            self.accuser.accuse(peer, now, hurry=len(self._members) <= FULL_MESH_MAX)

    def _swim(self, outputs: Iterable[SwimOutput], now: float) -> None:
        for output in outputs:
            match output:
                case Pass():
                    hop = self.routes.next_hop(output.towards)
                    link = None if hop is None else self._links.link_to(hop)
                    if link is not None:
                        self._out.append(ToLink(link, output.message))
                case Knock():
                    self._out.extend(self._links.ask(output.peer, now))
                case Ended(subject, verdict):
                    self._judged(subject, verdict, now)

    def _judged(self, subject: PeerId, verdict: Verdict, now: float) -> None:
        if subject in self._own:
            while len(self._verdicts) >= VERDICTS_MAX:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[subject] = (verdict, now)
        elif verdict is Verdict.LIVES:
            self.liveness.doubt(subject, Doubt.NONE)
        elif self.liveness.doubts(subject) is not Doubt.NONE:
            self._fail(subject, now)

    def _refute(self, said: Collection[Word]) -> None:
        """Answer an accusation of this node's last word by a newer one; older ones are moot."""
        if (self._epoch, self._incarnation) in said:
            self._incarnation = next_incarnation(self._incarnation)
            self.health.worse()
            self._urgent = self._restate = True

    def _speak(self, now: float) -> None:
        if self.accuser.handle_timeout(now):
            self._urgent = self._restate = True
        told = self._advertiser.told
        if self._visibility.matters(told.neighbours, now):
            self._urgent = self._restate = True
        if self._restate:
            self._restate = False
            advert = Advert(self._incarnation, self._shown, self.accuser.accusations())
            self._advertiser.want(advert, urgent=self._urgent, members=len(self._members), now=now)
            self._urgent = False
        said = self._advertiser.poll(now)
        if said is not None:
            self._out.append(Advertise(said))

    def _keep_baseline(self, now: float) -> None:
        if self.majority.settle() and self._baseline_at is None:
            self._baseline_at = max(now, self._baseline_free_at)
        if self._baseline_at is not None and now >= self._baseline_at:
            self._baseline_at = None
            self._baseline_free_at = now + BASELINE_WAIT_S
            self._out.append(BaselineChanged(self.majority.baseline()))


def _counted(state: PeerState | None) -> PeerState | None:
    """Return what the majority counts: who left is no member for it."""
    return None if state is PeerState.LEFT else state
