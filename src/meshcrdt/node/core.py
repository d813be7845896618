"""The machines that exist once a node has its genesis, and how replicated facts reach them.

Gossip knows no meaning: it says that records of a channel changed. This file tells the
machine that each system channel belongs to. It is the only place where floor 3 meets.
"""

from __future__ import annotations

from attrs import define

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.base.times import earliest
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES, Guardian, GuardianSet
from meshcrdt.consensus.log import Log
from meshcrdt.consensus.registers import Registers
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.fresh_reads import FreshReads
from meshcrdt.gossip.governance import NOTHING, REGISTER, Governance, judge
from meshcrdt.gossip.outputs import ReceiptOutput, StreamChanged
from meshcrdt.gossip.receipts import ReceiptTracker
from meshcrdt.gossip.replica import Replica
from meshcrdt.ipam.genesis import GENESIS_SET_VERSION, Genesis
from meshcrdt.ipam.ipam import Ipam
from meshcrdt.names.table import Names
from meshcrdt.node import views
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.workloads import Endpoints
from meshcrdt.topology.adverts import ADVERT_KEY, Advert
from meshcrdt.topology.directory import MemberRecord
from meshcrdt.topology.topology import Topology
from meshcrdt.wire import decode, encode

SYSTEM_CHANNELS = (views.DIRECTORY, views.IPAM, views.NAMES, views.ENDPOINTS)


@define
class Core:
    """What a member has: replicated state and the machines that read it."""

    genesis: Genesis
    replica: Replica
    receipts: ReceiptTracker
    fresh: FreshReads
    ipam: Ipam
    names: Names
    endpoints: Endpoints
    registers: Registers
    log: Log
    """What is decided of the register that governs the cluster."""
    memo: Memo = NO_MEMO
    governance: Governance = NOTHING
    malformed_members: int = 0

    @classmethod
    def make(
        cls, config: NodeConfig, genesis: Genesis, epoch: Epoch, dice: Dice, topology: Topology
    ) -> Core:
        """Build empty machines for a genesis."""
        genesis = config.memo.one((Genesis, genesis.hash), genesis)
        registers = Registers(
            identity=config.identity,
            genesis=genesis.hash,
            nonce=config.store_nonce,
            instance=epoch.instance,
            dice=dice.fork("registers"),
            verify=config.verify,
        )
        founders = [
            Guardian(public, genesis.nonce[:STORE_NONCE_BYTES]) for public in genesis.guardian_keys
        ]
        replica = Replica(
            identity=config.identity,
            genesis=genesis.hash,
            epoch=epoch,
            limits=config.limits,
            dice=dice.fork("gossip"),
            verify=config.verify,
            memo=config.memo,
            adjacent=topology.adjacent,
            spread=config.spread,
        )
        return cls(
            genesis=genesis,
            replica=replica,
            receipts=ReceiptTracker(replica, limits=config.limits),
            fresh=FreshReads(replica, limits=config.limits),
            ipam=Ipam(
                me=config.identity.peer,
                identity=config.identity,
                genesis=genesis,
                epoch=epoch,
                limits=config.limits,
                dice=dice.fork("ipam"),
                memo=config.memo,
            ),
            names=Names(config.domain),
            endpoints=Endpoints(),
            registers=registers,
            memo=config.memo,
            log=registers.open(REGISTER, GuardianSet.make(GENESIS_SET_VERSION, founders), judge),
        )

    def reflect(self, change: StreamChanged, topology: Topology, now: float) -> list[object]:
        """Tell the machine that a system channel belongs to; return that machine's outputs."""
        origin = change.origin
        out: list[object] = []
        match change.channel:
            case views.DIRECTORY:
                if bytes(origin) in change.keys:
                    out += topology.member_changed(origin, self._member(origin), now)
                    self.ipam.members(len(topology.members()))
            case views.ADJACENCY:
                epoch, advert = self.advert(origin)
                out += topology.advertised(origin, epoch, advert, now)
            case views.NAMES:
                for key in sorted(change.keys):
                    self.names.update(origin, key, self.record(views.NAMES, origin, key))
            case views.IPAM:
                for key in sorted(change.keys):
                    value = self.record(views.IPAM, origin, key)
                    out += self.ipam.register_changed(origin, key, value, now)
            case views.ENDPOINTS:
                for key in sorted(change.keys):
                    self.endpoints.update(origin, key, self.record(views.ENDPOINTS, origin, key))
        return out

    def moved(self, channel: str, origin: PeerId) -> list[ReceiptOutput]:
        """Tell who asks about a stream that it moved."""
        return self.receipts.changed(channel, origin) + self.fresh.changed(channel, origin)

    def questions_due(self) -> float | None:
        """Return when a question to others is to be repeated, or ends."""
        return earliest(self.receipts.next_deadline(), self.fresh.next_deadline())

    def ask_again(self, now: float) -> list[ReceiptOutput]:
        """Repeat and end questions to others."""
        return self.receipts.handle_timeout(now) + self.fresh.handle_timeout(now)

    def replay(self, topology: Topology, now: float) -> list[object]:
        """Tell every machine what the loaded streams say; loading itself changes nothing."""
        out: list[object] = []
        members = (self._member(origin) for origin in self.replica.origins(views.DIRECTORY))
        out += topology.members_loaded((record for record in members if record), now)
        for proof in self.replica.equivocations():
            out += self.ipam.two_faced(proof.first.header.origin, proof.first.header.epoch)
        self.ipam.members(len(topology.members()))
        for channel in SYSTEM_CHANNELS[1:]:
            for origin in self.replica.origins(channel):
                keys = frozenset(key for key, _ in self.replica.records_of(channel, origin))
                out += self.reflect(StreamChanged(channel, origin, keys), topology, now)
        return out

    def _member(self, origin: PeerId) -> MemberRecord | None:
        """Return what an origin says about itself in the directory; what is malformed counts."""
        raw = self.record(views.DIRECTORY, origin, bytes(origin))
        record = None if raw is None else self.memo.of_equal(member_record, raw, origin)
        self.malformed_members += raw is not None and record is None
        return record

    def record(self, channel: str, origin: PeerId, key: bytes) -> bytes | None:
        """Return one origin's live value of a key: how owned channels are read."""
        return self.replica.value_of(channel, origin, key)

    def advert(self, origin: PeerId) -> tuple[Epoch, Advert | None]:
        """Return what an origin advertises, and in which epoch; None when it says nothing."""
        head = self.replica.head(views.ADJACENCY, origin)
        raw = self.record(views.ADJACENCY, origin, ADVERT_KEY)
        if head is None or raw is None:
            return BOTTOM_EPOCH, None
        advert = self.memo.of_equal(read_advert, raw)
        self.malformed_members += advert is None
        return head.epoch, advert

    @property
    def malformed_records(self) -> int:
        """How many records of system channels were left out because they do not parse."""
        return self.names.statistics().malformed + self.endpoints.malformed + self.malformed_members

    def check(self) -> None:
        """Raise InternalError when any machine's invariant does not hold."""
        self.replica.check()
        self.ipam.check()
        self.check_moved()

    def check_moved(self) -> None:
        """The same, but what stands where it was checked last is taken as sound."""
        self.replica.check_moved()
        self.ipam.check_moved()
        self.names.check()
        self.receipts.check()
        self.fresh.check()
        self.registers.check()


def member_record(raw: bytes | None, origin: PeerId) -> MemberRecord | None:
    """Read a directory record; a record that is not its origin's own says nothing."""
    if raw is None:
        return None
    try:
        record = MemberRecord.from_tree(decode(raw))
    except MalformedTree:
        return None
    return record if record.peer == origin else None


def read_advert(raw: bytes) -> Advert | None:
    """Read an advert; a malformed one says nothing."""
    try:
        return Advert.from_tree(decode(raw))
    except MalformedTree:
        return None


def member_value(record: MemberRecord) -> bytes:
    """Return the record value of a directory entry."""
    return encode(record.to_tree())
