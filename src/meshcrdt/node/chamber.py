"""Where the registers meet the rest of the node: disk, unicast, gossip, and who asked.

`council` says what should be proposed and what is worth publishing; here is only the
carrying. A promise or a vote leaves once it is on disk, like every answer of this node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import Tree, take_int, take_tuple
from meshcrdt.consensus import outputs as consensus
from meshcrdt.consensus.attempts import Change
from meshcrdt.consensus.log import Decided
from meshcrdt.errors import CapacityError, MalformedTree
from meshcrdt.gossip import governance
from meshcrdt.gossip.channels import OWNED_CHANNELS
from meshcrdt.gossip.governance import Governance
from meshcrdt.gossip.header import StreamKey
from meshcrdt.node import council, events
from meshcrdt.node.attendance import Attendance, Members
from meshcrdt.node.link_queue import Lane
from meshcrdt.node.messages import GOVERNED
from meshcrdt.node.outcomes import Done, Failed, FailureKind
from meshcrdt.node.views import GOVERNANCE
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.outputs import PeerState

if TYPE_CHECKING:
    from meshcrdt.node.core import Core
    from meshcrdt.node.node import Node
    from meshcrdt.node.wiring import Wiring

TABLE = "consensus"
INTERNAL = 1 << 62
"""Requests of the node itself are numbered from here; those of callers from one."""
LAST_INSTANCE = b"\xff" * 8
"""Above every instance of an epoch counter."""


class Chamber:
    """The governing side of one node."""

    def __init__(self, node: Node, wiring: Wiring) -> None:
        self._node = node
        self._wiring = wiring
        self._care_at: float | None = None
        self._last_internal = INTERNAL
        self.attendance = Attendance(node)
        self._pruned_since: dict[PeerId, float] = {}
        self._needless_since: dict[PeerId, float] = {}
        self._proposing = False
        self._must_reopen = False
        self._asked: tuple[int, int] | None = None
        """(request, stamp): who knows of this decision is being asked."""

    def homes(self) -> Iterator[tuple[type, Callable[[Any, float], None]]]:
        """Yield which output of the registers goes where."""
        yield consensus.Store, self._store
        yield consensus.ToPeer, self._to_peer
        yield consensus.Learned, self._learned
        yield consensus.Forked, self._forked
        yield consensus.Proposed, self._proposed
        yield consensus.Declined, self._declined
        yield consensus.Unreachable, self._unreachable

    # --- carrying --------------------------------------------------------------------------

    def _store(self, output: consensus.Store, _now: float) -> None:
        rows = ((TABLE, key, value) for key, value in output.rows)
        self._node.outbox.rows.extend(rows)

    def _to_peer(self, output: consensus.ToPeer, _now: float) -> None:
        def send(later: float) -> None:
            try:
                _, sent = self._node.unicast.send(
                    output.peer, output.payload, later, deadline=output.deadline
                )
            except CapacityError:
                return  # lost like any message: the attempt ends by its own deadline
            self._wiring.run(sent, later)

        self._node.barrier.when_all_durable(send)

    def _learned(self, output: consensus.Learned, now: float) -> None:
        """Publish a decision that nobody has published yet, and act by it."""
        core = self._node.core
        if core is None or output.register != governance.REGISTER:
            return
        key = council.record_key(output.decided.entry.stamp)
        values: dict[bytes, bytes | None] = dict.fromkeys(
            council.obsolete(core.log, core.replica.own_keys(GOVERNANCE))
        )
        if not core.replica.visible(GOVERNANCE, key):
            values[key] = council.record_value(output.decided)
        if values:
            self._wiring.write_own(GOVERNANCE, values)
        self._govern(core, now)

    def _forked(self, output: consensus.Forked, _now: float) -> None:
        self._node.alarm(
            "error",
            f"two decisions {output.stamp} of register {output.register!r} are proved: guardians "
            "lost their stores, or lie; nothing more is decided until an operator looks",
        )

    def _proposed(self, output: consensus.Proposed, _now: float) -> None:
        self._answer(output.request, Done())

    def _declined(self, output: consensus.Declined, _now: float) -> None:
        self._answer(output.request, Failed(FailureKind.REFUSED, output.reason))

    def _unreachable(self, output: consensus.Unreachable, _now: float) -> None:
        self._answer(output.request, Failed(FailureKind.UNREACHABLE, output.reason))

    def _answer(self, request: int, outcome: object) -> None:
        if request > INTERNAL:
            self._proposing = False
        else:
            self._node.outbox.reply(request, outcome)

    def governed(self, link: int, message: tuple[Tree, ...]) -> None:
        """Take what a peer says that it knows; a malformed message closes the link."""
        try:
            _, stamp = take_tuple(message, "governed", size=2)
            known = take_int(stamp, "governed.stamp")
        except MalformedTree as error:
            self._node.outbox.close(link, str(error))
            return
        if self._node.core is not None:
            self._node.core.replica.link_governed(link, known)

    # --- what others decided ---------------------------------------------------------------

    def published(self, core: Core, now: float) -> None:
        """Read the channel: each decision beyond what is known here, in order."""
        found: list[tuple[int, Decided]] = []
        for _, visible in core.replica.entries(GOVERNANCE):
            for seen in visible:
                decided = council.read_record(seen.value)
                if decided is not None and decided.entry.stamp > core.log.stamp:
                    found.append((decided.entry.stamp, decided))
        for _, decided in sorted(found, key=lambda pair: pair[0]):
            outputs = core.registers.learned(governance.REGISTER, decided, now)
            self._wiring.run(outputs, now)

    def _govern(self, core: Core, now: float) -> None:
        """Let the value in force take effect."""
        was = core.replica.governed_at
        core.governance = Governance.decode(core.log.body)
        outputs = core.replica.govern(core.governance, core.log.stamp, now)
        self._wiring.run(outputs, now)
        for link in self._node.links:
            if was < core.governance.pruned:
                # What was said of others before may still be under way on it, out of a past
                # that they have forgotten: the next link begins with what is known now.
                self._node.outbox.close(link, "it caught up with what was decided: dial again")
            else:
                self._node.outbox.message(link, Lane.LIVENESS, (GOVERNED, core.log.stamp))
        eviction = core.governance.eviction(self._node.me)
        if eviction is not None and self._node.epoch.counter < eviction.floor:
            self.came_back(Epoch(eviction.floor, LAST_INSTANCE))

    def came_back(self, above: Epoch) -> None:
        """Go on as a member again: this node was evicted, and runs."""
        self._node.alarm(
            "warning", "this node was evicted as gone, and is back: it is a member again"
        )
        self._must_reopen = True
        self._node.epochs.rise(above)

    def epoch_opened(self, core: Core) -> None:
        """Say again what only this node may say, after it came back: nobody holds it any more."""
        if not self._must_reopen:
            return
        self._must_reopen = False
        for channel in sorted(OWNED_CHANNELS):
            own = core.replica.own_keys(channel)
            values = {key: core.replica.own_value(channel, key) for key in own}
            if values:
                self._wiring.write_own(channel, values)

    def load(self, core: Core, rows: Mapping[bytes, bytes]) -> None:
        """Take what the store holds, before any stream is read."""
        core.registers.load(rows)
        core.governance = Governance.decode(core.log.body)
        core.replica.set_governance(core.governance, core.log.stamp)

    def begin(self, core: Core, now: float) -> None:
        """Act by what the store holds, once, and look after things from now on."""
        if core.log.head is not None:
            self._govern(core, now)
        self._care_at = now + council.CARE_EVERY_S

    # --- what users ask --------------------------------------------------------------------

    def evict(self, core: Core, command: events.Evict, now: float) -> Failed | None:
        """Propose that a member goes; answered by the registers, at the deadline at last."""
        node = self._node
        (peer, *others) = node.topology.resolve(command.peer)
        if others:
            listed = ", ".join(map(str, (peer, *others)))
            return Failed(FailureKind.USAGE, f"{command.peer!r} is ambiguous: it means {listed}")
        if peer == node.me:
            return Failed(FailureKind.USAGE, "this is the node itself: let it leave instead")
        state = node.topology.state(peer)
        running = state in (PeerState.ALIVE, PeerState.SUSPECT)
        if running and command.force is events.Force.NO:
            why = (
                f"{peer} is {state.value}: without force only a dead member goes, or one that left"
            )
            return Failed(FailureKind.REFUSED, why)
        self._propose(command.request, self._eviction(core, peer), command.deadline, now)
        return None

    def _eviction(self, core: Core, peer: PeerId) -> Change:
        counter = self._epoch_counter(core, peer)
        me = self._node.me

        def change(value: Governance, stamp: int) -> Governance | str:
            return governance.evict(
                value, stamp=stamp, peer=peer, epoch_counter=counter, adopter=me
            )

        return council.changing(core.log, change)

    def _epoch_counter(self, core: Core, peer: PeerId) -> int:
        """Return the highest epoch counter that is known of a peer."""
        record = self._node.topology.members().get(peer)
        known = [0 if record is None else record.epoch.counter]
        for channel in core.replica.channels_of(peer):
            header = core.replica.head(channel, peer)
            if header is not None:
                known.append(header.epoch.counter)
        return max(known)

    def _propose(self, request: int, change: Change, deadline: float, now: float) -> None:
        core = self._node.core
        if core is not None:
            outputs = core.registers.propose(
                governance.REGISTER, request, change, now, deadline=deadline
            )
            self._wiring.run(outputs, now)

    # --- care ------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Return when the speaker looks again."""
        return self._care_at

    def handle_timeout(self, core: Core, now: float) -> None:
        """Let the speaker do the one thing that is due first."""
        if self._care_at is None or now < self._care_at:
            return
        self._care_at = now + council.CARE_EVERY_S
        members = self._node.topology.members()
        self.attendance.watch(members, now)
        self._sign(core, members, now)
        change = self._ending(core, members, now)
        if self._proposing:
            return
        guardians = core.log.guardians
        alive = self.attendance.alive_of(guardians.peers)
        if council.speaker(guardians, alive) == self._node.me:
            change = self._due(core, members, now) or change
        self._propose_own(change, now)

    def _propose_own(self, change: Change | None, now: float) -> None:
        """Propose what nobody asked for; with no room for it, the next look finds it again."""
        if change is None:
            return
        self._last_internal += 1
        self._proposing = True
        try:
            self._propose(self._last_internal, change, now + council.PROPOSAL_S, now)
        except CapacityError:
            self._proposing = False

    def _sign(self, core: Core, members: Members, now: float) -> None:
        """Let this node sign for the departed whom it adopts, once that can outrank nothing.

        Not before every member has the decision on disk, is here, and had the time to compare
        roots: else some may hold writes of the departed that this node has not heard of.
        """
        settled = {
            each.origin: self._pruned_since.get(each.origin, now)
            for each in core.governance.adoptions
            if each.adopter == self._node.me
            and core.governance.eviction(each.origin) is None
            and each.origin not in members
            and self.attendance.all_are_here(members)
        }
        self._pruned_since = settled
        for origin, since in settled.items():
            if now - since >= council.SETTLE_S:
                core.replica.sign_for(origin)

    def _ending(self, core: Core, members: Members, now: float) -> Change | None:
        """Return the end of an adoption of this node's that is needless for a while."""
        needless = core.replica.needless_adoptions(members)
        self._needless_since = {peer: self._needless_since.get(peer, now) for peer in needless}
        ages = ((peer, now - since) for peer, since in self._needless_since.items())
        due = (peer for peer, age_s in ages if age_s >= council.EMPTY_S)
        origin = min(due, default=None)
        if origin is None:
            return None
        end = governance.end_adoption
        return council.changing(core.log, lambda value, _stamp: end(value, origin=origin))

    def _due(self, core: Core, members: Members, now: float) -> Change | None:
        """Return what is to be proposed, or None."""
        attendance, guardians = self.attendance, core.log.guardians
        wanted = council.wanted_guardians(
            guardians,
            attendance.candidates(members, now),
            attendance.lost(guardians.peers, members, now),
        )
        if wanted is not None:
            return council.regrouping(wanted)
        if attendance.all_are_here(members):
            for peer, record in members.items():
                gone_s = attendance.gone_s(peer, now)
                if record.standing is Standing.LEFT and gone_s >= council.LEFT_KEEP_S:
                    return self._eviction(core, peer)
        if core.governance.evicted:
            self._ask_who_knows(core, now)
        return None

    # --- pruning ---------------------------------------------------------------------------

    def _ask_who_knows(self, core: Core, now: float) -> None:
        """Ask every member whether the newest decision is on its disk (finding F25)."""
        stream = StreamKey(GOVERNANCE, self._node.me)
        head = core.replica.head(stream.channel, stream.origin)
        mine = core.replica.own_value(GOVERNANCE, council.record_key(core.log.stamp))
        if mine is None:
            # A receipt is of an own write: say the decision again, so that it can be asked of.
            if core.log.head is not None:
                key = council.record_key(core.log.stamp)
                value = council.record_value(core.log.head)
                self._wiring.write_own(GOVERNANCE, {key: value})
            return
        if head is None or self._asked is not None:
            return
        self._last_internal += 1
        self._asked = (self._last_internal, core.log.stamp)
        members = self._node.topology.members().items()
        targets = {peer for peer, record in members if record.standing is Standing.IN}
        try:
            outputs = core.receipts.ask(
                self._last_internal,
                stream.channel,
                head.epoch,
                head.seq,
                targets=targets - {self._node.me},
                level="durable",
                now=now,
                deadline=now + 2 * council.CARE_EVERY_S,
            )
        except CapacityError:
            self._asked = None  # users' receipts fill the table: the next look asks again
            return
        self._wiring.run(outputs, now)

    def receipt_ended(self, request: int, reached: bool, now: float) -> bool:
        """Take the end of a receipt that the speaker asked for; False when it was not."""
        if self._asked is None or self._asked[0] != request:
            return False
        stamp, self._asked = self._asked[1], None
        core = self._node.core
        if reached and core is not None and not self._proposing:
            change = council.changing(
                core.log, lambda value, _stamp: governance.prune(value, upto=stamp)
            )
            self._propose_own(change, now)
        return True
