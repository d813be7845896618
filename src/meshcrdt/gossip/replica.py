"""One replica: every stream that this node knows, and how they spread.

The machine that the node drives. It owns no rule itself: writing is `local`, merging
`adopt`, checks on what comes in `intake`, fetching `repair` and `fetch`, comparing `sync`,
going back and clones `rebase`. It never raises for what a peer sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.base.times import earliest
from meshcrdt.errors import InternalError, MalformedTree, UsageError
from meshcrdt.gossip.adopt import Adopter
from meshcrdt.gossip.announcer import Announcer
from meshcrdt.gossip.broadcast import Adjacent, Broadcast, nobody_adjacent
from meshcrdt.gossip.changes import Change, Writer
from meshcrdt.gossip.compact import Compact
from meshcrdt.gossip.context import Context, LinkState
from meshcrdt.gossip.durable import EVIDENCE_TABLE
from meshcrdt.gossip.evidence import Evidence
from meshcrdt.gossip.governance import Governance
from meshcrdt.gossip.governing import Governing
from meshcrdt.gossip.header import Place, Ref, StreamKey, Verify
from meshcrdt.gossip.holdings import Holdings
from meshcrdt.gossip.intake import Intake
from meshcrdt.gossip.loading import take_stored
from meshcrdt.gossip.local import Local
from meshcrdt.gossip.messages import (
    Absent,
    Announce,
    Delta,
    Get,
    Heads,
    Message,
    NodeAt,
    Nodes,
    Parsed,
    Proof,
    Refused,
    Root,
    Want,
)
from meshcrdt.gossip.outputs import Misbehaved, Output
from meshcrdt.gossip.parsing import read_message
from meshcrdt.gossip.reaction import Reaction
from meshcrdt.gossip.reading import Reading
from meshcrdt.gossip.rebase import Rebase
from meshcrdt.gossip.repair import Repair
from meshcrdt.gossip.serve import Server
from meshcrdt.gossip.statistics import ReplicaStatistics, snapshot
from meshcrdt.gossip.steward import Steward
from meshcrdt.gossip.sync import Sync
from meshcrdt.gossip.tree_messages import Have, Spread, Turn
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.identity import verify as verify_signature
from meshcrdt.wire import HASH_BYTES


class Replica(Reading):
    """The gossip machine of one node. Every method that can cause something returns outputs."""

    def __init__(
        self,
        *,
        identity: Identity,
        genesis: bytes,
        epoch: Epoch,
        dice: Dice,
        limits: Limits = DEFAULT_LIMITS,
        verify: Verify = verify_signature,
        adjacent: Adjacent = nobody_adjacent,
        memo: Memo = NO_MEMO,
        spread: Spread = Spread.TREE,
    ) -> None:
        """Make an empty replica; raises UsageError for a genesis hash of the wrong size."""
        if len(genesis) != HASH_BYTES:
            raise UsageError(f"a genesis hash has {HASH_BYTES} bytes, not {len(genesis)}")
        holdings = Holdings(limits, memo)
        context = Context(
            identity=identity,
            genesis=genesis,
            epoch=epoch,
            limits=limits,
            dice=dice,
            verify=verify,
            holdings=holdings,
            memo=memo,
            spread=spread,
        )
        self._context = context
        self._broadcast = Broadcast(context, adjacent)
        self._repair = Repair(context, grafting=self._broadcast.grafting)
        self._server = Server(context)
        self._local = Local(context)
        self._evidence = Evidence(context)
        self._rebase = Rebase(context, self._local, self._server)
        self._announcer = Announcer(
            context, lacks=self._lacks_place, graft=self._repair.graft, compare=self._compare
        )
        self._adopter = Adopter(
            context,
            self._broadcast,
            self._announcer,
            want=self._repair.want,
            adopted=self._adopted,
            replaced=self._rebase.replaced,
            busy=self._local.is_busy,
        )
        self._steward = Steward(context)
        self._sync = Sync(
            context, want=self._repair.want_found, lacks=self._lacks, busy=self._is_waiting
        )
        forget, compare = self._adopter.forget, self._sync.link_opened
        self._governing = Governing(context, self._steward, self._adopter.parking, forget, compare)
        self._intake = self._make_intake()
        self._reaction = Reaction(context, self._local)
        first = (self._broadcast, self._announcer, self._repair)
        self._is_due_stale = True
        self._due: float | None = None
        """The next deadline as of the last call that gave outputs, unless that is stale."""
        self._timed = (*first, self._evidence, self._sync, self._reaction)

    def _make_intake(self) -> Intake:
        return Intake(
            self._context,
            adopter=self._adopter,
            broadcast=self._broadcast,
            announcer=self._announcer,
            repair=self._repair,
            sync=self._sync,
            evidence=self._evidence,
            rebase=self._rebase,
            local=self._local,
            governing=self._governing,
            steward=self._steward,
        )

    def _lacks(self, key: StreamKey, ref: Ref) -> bool:
        return self._intake.lacks(key, ref)

    def _lacks_place(self, key: StreamKey, place: Place) -> bool:
        return self._intake.lacks_place(key, place)

    def _compare(self, link: int) -> None:
        self._sync.start(link)

    def _is_waiting(self) -> bool:
        """Return whether something that was announced or asked for is on its way."""
        return len(self._repair) + len(self._announcer) > 0

    def _outputs(self) -> list[Output]:
        self._is_due_stale = True
        self._repair.send()
        out, self._context.out = self._context.out, []
        return out

    # --- life --------------------------------------------------------------------------

    def load(self, tables: Mapping[str, Mapping[bytes, bytes]], now: float) -> list[Output]:
        """Take what the store holds; call once, before anything else.

        A stream that fails its own checks drops to bottom with an Alarm and is fetched
        again. Raises UsageError when the store holds own headers of this epoch or above.
        """
        context = self._context
        context.now = now
        take_stored(context, self._local, self._governing, tables)
        for key, _ in context.holdings.streams():
            if key.origin == context.me:
                self._reaction.moved(context.holdings.channel(key.channel), None)
        self._evidence.load(tables.get(EVIDENCE_TABLE, {}))
        return self._outputs()

    def set_governance(self, value: Governance, stamp: int) -> None:
        """Say what is decided, before `load`."""
        self._context.governance, self._context.stamp = value, stamp

    @property
    def governed_at(self) -> int:
        """The decision by which streams are judged now; 0 before the first."""
        return self._context.stamp

    def govern(self, value: Governance, stamp: int, now: float) -> list[Output]:
        """Take a decision: drop what no longer counts, sign what is ours to sign, compare roots."""
        self._context.now = now
        self._governing.govern(value, stamp)
        return self._outputs()

    def sign_for(self, origin: PeerId) -> None:
        """Sign for a departed member that this node adopts; see `Steward.sign_for`."""
        self._steward.sign_for(origin)

    def link_governed(self, link: int, stamp: int) -> None:
        """Note the newest decision that the peer of a link knows."""
        self._governing.link_governed(link, stamp)

    def reepoch(self, epoch: Epoch) -> None:
        """Go on under a higher epoch; raises UsageError when it is not higher."""
        if epoch <= self._context.epoch:
            raise UsageError(f"epoch {epoch} is not above {self._context.epoch}")
        self._context.epoch = epoch

    @property
    def epoch(self) -> Epoch:
        """The epoch under which this process writes."""
        return self._context.epoch

    def link_opened(self, link: int, peer: PeerId, now: float) -> list[Output]:
        """Note a new link and compare roots on it."""
        self._context.now = now
        self._context.links[link] = LinkState(peer)
        self._broadcast.link_opened(link)
        self._sync.link_opened(link)
        self._evidence.link_opened(link)
        self._repair.link_opened()
        return self._outputs()

    def link_closed(self, link: int, now: float, *, agreed: bool = False) -> list[Output]:
        """Forget a link, maybe by agreement; what it was to bring is asked for elsewhere."""
        self._context.now = now
        state = self._context.links.pop(link, None)
        if state is not None:
            self._announcer.link_closed(link)
            self._intake.reordered.link_closed(link)
            for other in self._broadcast.link_closed(link, state, agreed=agreed):
                self._sync.start(other)
            self._repair.link_closed(link)
            self._evidence.link_closed(link)
        return self._outputs()

    def received(self, link: int, message: Message, now: float) -> list[Output]:
        """Take one message of codes 16 to 31; never raises for what it says."""
        context = self._context
        context.now = now
        if link not in context.links:
            return []
        try:
            parsed = read_message(message, context.genesis, context.memo)
        except MalformedTree as error:
            context.out.append(Misbehaved(link, str(error)))
            return self._outputs()
        self._dispatch(link, parsed)
        return self._outputs()

    def _dispatch(self, link: int, message: Parsed) -> None:
        match message:
            case Root():
                self._sync.root(link, message)
            case NodeAt():
                self._sync.node(link, message)
            case Heads():
                self._sync.heads(link, message)
            case Want(wishes):
                self._server.want(link, wishes)
            case Delta():
                self._intake.delta(link, message)
            case Announce():
                self._intake.announce(link, message)
            case Get():
                self._server.get(link, message)
            case Nodes():
                self._intake.nodes(link, message)
            case Absent():
                self._repair.absent(link, message)
            case Proof():
                self._evidence.received(link, message)
            case Have():
                self._announcer.received(link, message)
            case Turn(branch, wishes):
                self._broadcast.turned(link, branch)
                self._server.want(link, wishes)
            case Compact():
                self._intake.compact(link, message)
            case Refused(_, digest, _):
                self._context.links[link].note_refused(digest)
            case _:
                assert_never(message)

    def root_prefix(self) -> bytes:
        """Return what a heartbeat carries of our roots: 8 bytes, equal where all is equal."""
        return self._sync.root_prefix()

    def root_seen(self, link: int, prefix: bytes, now: float) -> list[Output]:
        """Take the prefix that a heartbeat of the peer carried; see `sync`."""
        self._context.now = now
        state = self._context.links.get(link)
        if state is not None and self._sync.root_seen(link, prefix):
            state.known.clear()
            self._announcer.in_sync(link)
        return self._outputs()

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        if self._is_due_stale:
            self._due = earliest(*(part.next_deadline() for part in self._timed))
            self._is_due_stale = False
        return self._due

    def handle_timeout(self, now: float) -> list[Output]:
        """Do what is due: retry requests, compare roots, drop cancels that are answered."""
        self._context.now = now
        for part in self._timed:
            part.handle_timeout()
        return self._outputs()

    def render(self, link: int, stream: StreamKey, since: Ref | None) -> bytes | None:
        """Return the encoded message of a Push as of now, or None when nothing is left to say."""
        return self._server.render(link, stream, since)

    def serve(self, link: int, request: Want | Get) -> Iterator[bytes]:
        """Yield the encoded messages that answer a Serve, each made when it is asked for."""
        return self._server.serve(link, request)

    # --- writing -----------------------------------------------------------------------

    def write(self, channel: str, changes: Sequence[Change], writer: Writer = Writer.USER) -> int:
        """Stage changes to own records, atomic within the channel; returns a ticket.

        `flush` signs what is staged, and Committed(ticket, ...) tells when it is part of
        the replicated state. Raises UsageError or CapacityError with nothing changed.
        """
        return self._local.write(channel, changes, writer)

    def flush(self, now: float) -> list[Output]:
        """Sign and store what is staged, one flush a channel; call after every event."""
        context = self._context
        context.now = now
        self._steward.flush()
        for flight in self._local.flush():
            self._adopter.enter(flight.state, flight.changed, link=None)
            self._local.commit(flight)
        return self._outputs() if context.out else []

    def stored(self, token: int, now: float) -> list[Output]:
        """Take the store's confirmation of a Store output; tokens come back in order."""
        context = self._context
        context.now = now
        flight = self._local.stored(token)
        if flight is not None:
            self._adopter.enter(flight.state, flight.changed, link=None)
            self._local.commit(flight)
            self._adopter.release(flight.state.header.channel)
        signed = self._steward.stored(token)
        if signed is not None:
            self._adopter.enter(signed.state, signed.changed, link=None)
        for settled in context.settling.pop(token, ()):
            stream = context.holdings.stream(settled.stream)
            if stream is None or stream.state.ref < settled.ref:
                continue  # given up meanwhile, and held again at an older header
            if stream.durable is None or stream.durable < settled.ref:
                stream.durable = settled.ref
        return self._outputs()

    def _adopted(self, key: StreamKey, changed: frozenset[bytes]) -> None:
        """React to a stream that moved: owners drop on sight, removers tidy later."""
        self._repair.arrived(key)
        self._steward.react(key.channel, changed)
        self._reaction.moved(self._context.holdings.channel(key.channel), changed)

    # --- for the simulator and the operator --------------------------------------------

    def check(self) -> None:
        """Raise InternalError when an invariant does not hold."""
        self._context.holdings.check()
        self.check_moved()

    def check_moved(self) -> None:
        """The same, but streams that stand where they were checked last are taken as sound."""
        self._context.holdings.check_moved()
        self._context.quarantine.check()
        self._adopter.parking.check()
        self._repair.check()
        self._announcer.check()
        self._broadcast.check()
        self._intake.reordered.check()
        self._evidence.check()
        self._local.check()
        self._steward.check()
        was_stale, due, self._is_due_stale = self._is_due_stale, self._due, True
        if not was_stale and due != self.next_deadline():
            raise InternalError("something of a replica moved, and its deadline did not")
        if self._context.out:
            raise InternalError("outputs were left behind")

    def statistics(self) -> ReplicaStatistics:
        """Return counts and sizes."""
        return snapshot(
            self._context,
            writes_waiting=self._local.waiting,
            requests_under_way=len(self._repair),
            parked=len(self._adopter.parking) + len(self._intake.reordered),
            equivocations=len(self._evidence),
        )
