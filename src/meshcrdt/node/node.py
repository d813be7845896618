"""The one door: `effects = node.handle(event, now)`.

Bytes come in as FrameReceived, become messages, messages become outputs of the machines
on floor 3, outputs become effects. The node decides nothing that a machine could decide;
it knows which machine each message, record and outcome belongs to. What it sends waits in
a queue of each link, from which the shell pulls frames by `next_frame`.

Turn order, always the same: the event, then every output it caused (breadth first), then
one flush of staged writes, until nothing is left. What needs the disk waits for
`Persisted(watermark)`; nothing that needs the disk is sent, answered or served before.
"""

from __future__ import annotations

from collections import deque

from attrs import evolve

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.times import earliest
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node import commands, durable, messages
from meshcrdt.node.barrier import Barrier
from meshcrdt.node.chamber import TABLE, Chamber
from meshcrdt.node.config import NodeConfig, seals_of
from meshcrdt.node.core import Core
from meshcrdt.node.effects import Effect
from meshcrdt.node.entry import Entry
from meshcrdt.node.epochs import Epochs
from meshcrdt.node.events import (
    Command,
    DialFailed,
    Event,
    FrameReceived,
    LinkClosed,
    LinkOpened,
    Persisted,
    Resumed,
    StoreFailed,
)
from meshcrdt.node.joiners import Joiners
from meshcrdt.node.lattices import Lattices
from meshcrdt.node.link_queue import Lane
from meshcrdt.node.link_queues import NOTHING, LinkQueues
from meshcrdt.node.outbox import Message, Outbox
from meshcrdt.node.own_hello import OwnHello, judge
from meshcrdt.node.patience import Patience
from meshcrdt.node.presence import Presence
from meshcrdt.node.queries import Queries
from meshcrdt.node.wiring import Wiring
from meshcrdt.topology.links import Direction
from meshcrdt.topology.outputs import StateChanged
from meshcrdt.topology.topology import PeerState, Topology
from meshcrdt.topology.unicast import Unicast
from meshcrdt.trust.hello import Hello


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now


class Node(Queries):
    """One member of the mesh, without a clock, a socket or a disk of its own."""

    def __init__(self, config: NodeConfig, dice: Dice) -> None:
        if not config.store_nonce:
            fresh = dice.fork("store").raw(STORE_NONCE_BYTES)
            nonce, _ = durable.store_nonce({}, fresh, config.genesis)
            config = evolve(config, store_nonce=nonce)
        self.config = config
        self.me = config.identity.peer
        self.epoch = config.epoch
        self.limits = config.limits
        self._dice = dice
        self.core: Core | None = None
        self.topology = Topology(
            me=self.me,
            epoch=config.epoch,
            limits=config.limits,
            dice=dice.fork("topology"),
            discovery=config.discovery,
            own_addresses=config.advertise,
            failure_domain=config.failure_domain,
            detection=config.detection,
            root_prefix=lambda: self.core.replica.root_prefix() if self.core else b"",
        )
        self.unicast = Unicast(
            me=self.me,
            epoch=config.epoch,
            limits=config.limits,
            dice=dice.fork("unicast"),
            next_hop=self.topology.next_hop,
            seals=seals_of(config, dice),
        )
        self.links: dict[int, LinkOpened] = {}
        self._joiners = Joiners(config.limits)
        self.given: set[str] = set(config.peers)
        self.draining = False
        self.rollbacks_seen = 0
        self.store_failure: str | None = None
        self.alarms: deque[str] = deque(maxlen=64)
        self.dead_since: dict[PeerId, float] = {}
        self.lattices = Lattices()
        self.patience = Patience()
        self.barrier = Barrier()
        self._wiring = Wiring(self)
        self.chamber = Chamber(self, self._wiring)
        self._wiring.add_homes(self.chamber.homes())
        self.presence = Presence(config, self._wiring)
        self.epochs = Epochs(self, self._wiring, dice)
        self.entry = Entry(self)
        self._own_hello = OwnHello(config)
        self.queues = LinkQueues(config.limits)
        self.outbox = Outbox(self.queues)
        if config.genesis is not None:
            self.enter(config.genesis)

    # --- the door ------------------------------------------------------------------------

    def load(self, tables: durable.Tables, now: float) -> list[Effect]:
        """Take what the store holds, once, before any event; returns the first effects."""
        self.given.update(durable.read_peers(tables))
        if (baseline := durable.read_baseline(tables)) is not None:
            self.topology.remember(baseline)
        self._wiring.run(self.topology.add_targets(sorted(self.given), now), now)
        if self.core is not None:
            self.chamber.load(self.core, tables.get(TABLE, {}))
            self._wiring.run(self.core.ipam.load(tables.get("ipam", {}), now), now)
            self._wiring.run(self.core.replica.load(tables, now), now)
            self._wiring.run(self.core.replay(self.topology, now), now)
            self.present(now)
        self.outbox.rows.append(durable.peers_row(self.given))
        return self._finish(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; returns what the shell must do about it, in order."""
        match event:
            case FrameReceived():
                self._frame(event, now)
            case Persisted():
                self.barrier.stored(event.watermark, now)
            case LinkOpened():
                self._link_opened(event, now)
            case LinkClosed():
                self._link_closed(event, now)
            case DialFailed():
                outputs = self.topology.dial_failed(
                    event.address, event.reason, now, refused=event.refused
                )
                self._wiring.run(outputs, now)
            case Resumed():
                self.epochs.resumed(event, now)
            case StoreFailed():
                self.store_failure = event.reason
                self.barrier.fail()
                self.alarm("error", f"the store failed, nothing more is accepted: {event.reason}")
            case _:
                self._command(event, now)
        return self._finish(now)

    def handle_timeout(self, now: float) -> list[Effect]:
        """Let every machine whose deadline has passed act, and no other: a tick comes often."""
        for request, outcome in self.patience.expired(now):
            self.outbox.reply(request, outcome)
        self._joiners.handle_timeout(self.outbox, now)
        if _is_due(self.topology.next_deadline(), now):
            self._wiring.run(self.topology.handle_timeout(now), now)
        if _is_due(self.unicast.next_deadline(), now):
            self._wiring.run(self.unicast.handle_timeout(now), now)
        core = self.core
        if core is not None:
            if _is_due(core.replica.next_deadline(), now):
                self._wiring.run(core.replica.handle_timeout(now), now)
            if _is_due(core.questions_due(), now):
                self._wiring.run(core.ask_again(now), now)
            if core.ipam.wants_turn(now):
                self._wiring.run(core.ipam.handle_timeout(now), now)
            if _is_due(core.registers.next_deadline(), now):
                self._wiring.run(core.registers.handle_timeout(now), now)
            self.chamber.handle_timeout(core, now)
        return self._finish(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` wants to be called, or None."""
        core = self.core
        return earliest(
            self.topology.next_deadline(),
            self.unicast.next_deadline(),
            self.patience.next_deadline(),
            self._joiners.next_deadline(),
            None if core is None else core.replica.next_deadline(),
            None if core is None else core.questions_due(),
            None if core is None else core.ipam.next_deadline(),
            None if core is None else core.registers.next_deadline(),
            None if core is None else self.chamber.next_deadline(),
        )

    def next_frame(self, link: int) -> bytes | None:
        """Return the next frame of a link, or None when there is nothing to send.

        Call it when the link has room, after a Writable and until it returns None. Nothing
        but the queue of the link changes by it.
        """
        source = NOTHING if self.core is None else self.core.replica
        return self.queues.next_frame(link, source)

    # --- handshakes ----------------------------------------------------------------------

    def hello(self) -> Hello:
        """Return what this node says in a handshake now."""
        genesis = self.core.genesis.hash if self.core else None
        return self._own_hello.now(genesis=genesis, epoch=self.epoch)

    def admits(self, hello: Hello) -> str | None:
        """Return one line that says why a link with this peer is refused, or None."""
        return judge(self, hello)

    # --- world ---------------------------------------------------------------------------

    def _link_opened(self, event: LinkOpened, now: float) -> None:
        self.links[event.link] = event
        self.queues.opened(event.link)
        hello = event.hello
        if self.core is None:
            if hello.genesis is not None:
                self.outbox.message(event.link, Lane.LIVENESS, (messages.GENESIS_ASK,))
        elif hello.genesis != self.core.genesis.hash:
            # It may fetch the genesis here, nothing else; then it dials again as a member.
            self._joiners.opened(event.link, now)
            reason = f"{hello.peer} has not joined the cluster yet"
            if hello.genesis is not None:
                # This handshake began before we joined, and could not know where we would.
                reason = f"{hello.peer} is of another cluster: {hello.cluster}"
                self.outbox.close(event.link, reason)
            if event.direction is Direction.DIALLED:
                self._wiring.run(self.topology.dial_failed(event.address, reason, now), now)
            return
        outputs = self.topology.link_opened(
            event.link,
            hello.peer,
            direction=event.direction,
            address=event.address,
            transport=event.transport,
            encrypted=event.encrypted,
            now=now,
            epoch=hello.epoch,
            advertised=hello.advertise,
        )
        self._wiring.run(outputs, now)
        if self.core is not None and event.link not in self.outbox.closing:
            self.outbox.message(event.link, Lane.LIVENESS, (messages.GOVERNED, self.core.log.stamp))
            self._wiring.run(self.core.replica.link_opened(event.link, hello.peer, now), now)

    def _link_closed(self, event: LinkClosed, now: float) -> None:
        opened = self.links.pop(event.link, None)
        if opened is None:
            return
        self.queues.closed(event.link)
        self._joiners.closed(event.link)
        if self.core is not None:
            agreed = opened.hello.peer not in self.topology.active()
            outputs = self.core.replica.link_closed(event.link, now, agreed=agreed)
            self._wiring.run(outputs, now)
        self._wiring.run(self.topology.link_closed(event.link, event.reason, now), now)

    def _frame(self, event: FrameReceived, now: float) -> None:
        opened = self.links.get(event.link)
        if opened is None:
            return  # it was closed by us in this very turn of the world
        try:
            batch = messages.read_frame(event.frame, self.config.memo)
        except MalformedTree as error:
            self.outbox.close(event.link, f"malformed frame: {error}")
            return
        self._wiring.run(self.topology.saw_traffic(event.link, now), now)
        for message in batch:
            if event.link in self.outbox.closing:
                return
            self._message(opened, message, now)

    def _message(self, opened: LinkOpened, message: Message, now: float) -> None:
        link, peer = opened.link, opened.hello.peer
        code = message[0]
        if type(code) is not int:
            self.outbox.close(link, f"message code {code!r} is not an integer")
        elif code in messages.LINK_CODES:
            if code in self.entry.codes:
                self.entry.received(opened, message)
            elif code == messages.GOVERNED:
                self.chamber.governed(link, message)
            else:
                self._wiring.run(self.topology.received(link, message, now), now)
        elif self.core is None:
            return  # nothing but the genesis is exchanged before both ends have it
        elif opened.hello.genesis != self.core.genesis.hash:
            # It has joined since its handshake began, and takes this for a link of members.
            self.outbox.close(link, "the handshake named no genesis, or another: dial again")
        elif code in messages.GOSSIP_CODES:
            self._wiring.run(self.core.replica.received(link, message, now), now)
        elif code in messages.UNICAST_CODES:
            self._wiring.run(self.unicast.received(peer, message, now), now)
        # Unknown codes are of a later minor version: they are ignored, the link stays up.

    def enter(self, genesis: Genesis) -> None:
        """Become a member of the cluster of a genesis; it is on disk."""
        self.core = Core.make(self.config, genesis, self.epoch, self._dice, self.topology)

    def present(self, now: float) -> None:
        """Say who this node is, when that is news; then let ipam begin."""
        core = self.core
        if core is None:
            raise InternalError("a node presents itself only once it has its genesis")
        self.presence.write_member(self.epoch)
        self.presence.write_advert()
        self._wiring.run(core.ipam.ready(now), now)
        self.chamber.begin(core, now)

    def member_state_changed(self, change: StateChanged, now: float) -> None:
        """Remember since when a peer is dead, for names; tell the operator."""
        self.chamber.attendance.moved(change.peer)
        if change.new is PeerState.DEAD:
            self.dead_since.setdefault(change.peer, now)
        else:
            self.dead_since.pop(change.peer, None)
        if change.new is PeerState.ALIVE and self.core is not None:
            self._wiring.run(self.core.ipam.nudge(now), now)
        before = f", was {change.old.value}" if change.old else ""
        text = f"{change.peer} is {change.new.value}{before}: {change.reason}"
        self.outbox.notice("info", text, change.peer)

    # --- durability ----------------------------------------------------------------------

    def _finish(self, now: float) -> list[Effect]:
        self._wiring.settle(now)
        while not self.outbox.rows and (ready := self.barrier.ready()):
            for action in ready:
                action(now)
            self._wiring.settle(now)
        box, self.outbox = self.outbox, Outbox(self.queues)
        return box.effects(self.barrier.end_turn(len(box.rows)))

    # --- commands ------------------------------------------------------------------------

    def _command(self, command: Command, now: float) -> None:
        outcome = commands.refusal(self, command)
        if outcome is None:
            outcome = commands.carry_out(self, self._wiring, command, now)
        if outcome is not None:
            self.outbox.reply(command.request, outcome)

    def alarm(self, level: str, text: str, peer: PeerId | None = None) -> None:
        """Tell the operator, and remember it for status."""
        if text not in self.alarms:
            self.alarms.append(text)
        self.outbox.notice(level, text, peer)

    def check(self) -> None:
        """Raise InternalError when an invariant of any machine does not hold."""
        if self.core is not None:
            self.core.check()
        self.check_moved()

    def check_moved(self) -> None:
        """The same, but streams that stand where they were checked last are taken as sound."""
        self._joiners.check(self.links)
        self.queues.check(self.links)
        self.barrier.check()
        self.topology.check()
        self.unicast.check()
        if self.core is not None:
            self.core.check_moved()
