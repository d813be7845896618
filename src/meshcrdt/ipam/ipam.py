"""The IPAM machine: addresses from own blocks at once, more blocks from the pool ahead of need.

Every peer, the guardian included, runs the same machine. A node allocates from blocks that
it owns with nobody's permission, so a minority goes on; only growth needs the guardian of
the pool, which is the maker of the genesis. Calls end by their deadline with one outcome.

The node drives it: `load` own rows, `register_changed` for every record of channel "ipam"
held at start, then `ready`; until then calls wait and orders are put off, because a guardian
that served before it had read its own stream would carve the same block twice.

Places of later work: reclaim and evict are orders beside `carve` in `shard.py`; attach (a
host boot that raises the epoch of own blocks) comes between `load` and `ready`; portable
space is a tenure in `register.py` and a chain in its proof; sets of guardians replace
`guardian.py`, and their messages have codes in `messages.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.base.tree import Tree
from meshcrdt.errors import CorruptStore, MalformedTree
from meshcrdt.ipam.blocks import parse_claim, show
from meshcrdt.ipam.desk import Pending
from meshcrdt.ipam.durable import (
    ALLOCATION_TAG,
    BLOCK_TAG,
    CARVE_TAG,
    DOUBT_KEY,
    EVIDENCE_TAG,
    CarveRow,
)
from meshcrdt.ipam.engine import Engine
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.guardian import LoneGuardian
from meshcrdt.ipam.messages import CarveMessage, DeniedMessage, parse_message
from meshcrdt.ipam.outcomes import (
    Draining,
    Released,
    TimedOut,
)
from meshcrdt.ipam.outputs import Output, Publish
from meshcrdt.ipam.questions import Questions
from meshcrdt.ipam.register import Kind, Register
from meshcrdt.ipam.shard import Denied, Shard
from meshcrdt.trust.identity import Identity

EVIDENCE_TOKEN = 0
"""The token of a Publish that nothing waits for."""


class Ipam(Questions):
    """Addresses for the workloads of one node; see the module text for how it is driven."""

    def __init__(
        self,
        *,
        me: PeerId,
        identity: Identity,
        genesis: Genesis,
        epoch: Epoch,
        limits: Limits,
        dice: Dice,
        memo: Memo = NO_MEMO,
    ) -> None:
        self._identity = identity
        self._genesis = genesis
        self._evidence: dict[bytes, bytes] = {}
        self._evidence_told: set[bytes] = set()
        self._engine = Engine(
            me=me, genesis=genesis, epoch=epoch, limits=limits, dice=dice, memo=memo
        )
        self._is_stale = False
        self._due: tuple[int, float | None] = (-1, None)  # as of so many turns

    # --- start -------------------------------------------------------------------------

    def load(self, rows: Mapping[bytes, bytes], now: float) -> list[Output]:
        """Take over the own durable table; raises CorruptStore naming the key of a bad row."""
        for key in sorted(rows, key=lambda key: (key[:1] != BLOCK_TAG, key)):
            try:
                self._load_row(key, rows[key], now)
            except MalformedTree as error:
                raise CorruptStore(f"table 'ipam', key {key.hex()}: {error}") from error
        return self._engine.turn.finish()

    def _load_row(self, key: bytes, value: bytes, now: float) -> None:
        """Take over one row; raises MalformedTree. Keys of a later version are left alone."""
        tag, holdings = key[:1], self._engine.holdings
        if tag == BLOCK_TAG:
            holdings.load_block(key, value)
        elif tag == ALLOCATION_TAG:
            holdings.load_allocation(key, value, now)
        elif key == DOUBT_KEY:
            holdings.load_doubt(value)
        elif tag == CARVE_TAG:
            self._engine.growth.carves.load(CarveRow.decode(value), now)

    def register_changed(
        self, origin: PeerId, key: bytes, value: bytes | None, now: float
    ) -> list[Output]:
        """Join one record of channel "ipam". A removal changes nothing: a join only grows."""
        if value is None:
            return self._engine.turn.finish()
        engine = self._engine
        merged = engine.registry.merge(key, value)
        if merged.fault is not None:
            engine.turn.notice("warning", f"ipam record of {origin} refused: {merged.fault}")
        if origin == engine.me and key[:1] == EVIDENCE_TAG:
            self._evidence_told.add(key)
        if merged.evidence:
            self._evidence.update(merged.evidence)
            engine.turn.notice(
                "alarm", f"two owners were recorded for one range: {key.hex()} is frozen"
            )
            self._tell_evidence()
        if engine.guardian is not None:
            if merged.register is not None:
                engine.guardian.shard.merge(merged.register)
            if merged.ledger is not None:
                engine.guardian.shard.merge_ledger(merged.ledger)
        if merged.register is not None:
            self._is_stale = True
            self._review(merged.register, now)
        return engine.turn.finish()

    def _tell_evidence(self) -> None:
        """Publish both values of every conflict once, so that all replicas derive the same."""
        if not self._engine.is_ready:
            return
        puts = {
            key: value for key, value in self._evidence.items() if key not in self._evidence_told
        }
        self._evidence.clear()
        self._evidence_told.update(puts)
        if puts:
            self._engine.turn.output(Publish(EVIDENCE_TOKEN, tuple(puts.items())))

    def ready(self, now: float) -> list[Output]:
        """Begin to serve: everything durable has been loaded and replayed."""
        if not self._engine.is_ready:
            self._engine.is_ready = True
            if self._engine.me == self._engine.guardian_id:
                ledgers = self._engine.registry.ledgers.values()
                trie = self._engine.registry.trie.copy()
                shard = Shard(self._identity, self._genesis, trie, ledgers)
                self._engine.guardian = LoneGuardian(shard, self._genesis.policy)
            self._tell_evidence()
            self._engine.progress(now)
        return self._engine.turn.finish()

    def _review(self, register: Register, now: float) -> None:
        """Look at what a new record means: a block we asked for, or one that is not ours now."""
        if register.kind is Kind.OWN and register.request is not None and self._engine.is_ready:
            self._engine.take_block(register, now)
        for cidr in self._engine.holdings.review(register.cidr):
            self._engine.turn.notice(
                "alarm", f"a newer record says that {cidr} is not ours any more"
            )

    # --- calls -------------------------------------------------------------------------

    def allocate(
        self, request: int, workload: str, subnet: str | None, now: float, deadline: float
    ) -> list[Output]:
        """Give a workload one address, from the first universe or from `subnet`.

        Raises UsageError or CapacityError with nothing changed.
        """
        self._engine.desk.check_workload(workload)
        within = self._engine.desk.subnet_of(subnet)
        return self._submit(Pending(request, workload, within, None, deadline), now)

    def claim(
        self, request: int, workload: str, address: str, now: float, deadline: float
    ) -> list[Output]:
        """Give a workload this very address, "ADDRESS" or "ADDRESS/LENGTH".

        Raises UsageError or CapacityError with nothing changed.
        """
        self._engine.desk.check_workload(workload)
        claim = self._engine.desk.claim_of(address)
        if not isinstance(claim, tuple):
            self._engine.turn.answer(request, claim)
            return self._engine.turn.finish()
        number, within = claim
        return self._submit(Pending(request, workload, within, number, deadline), now)

    def _submit(self, pending: Pending, now: float) -> list[Output]:
        if self._engine.is_draining:
            self._engine.turn.answer(pending.request, Draining("this node is stopping"))
            return self._engine.turn.finish()
        self._engine.desk.add(pending)
        self._engine.progress(now)
        return self._engine.turn.finish()

    def release(self, request: int, workload: str, address: str | None, now: float) -> list[Output]:
        """Take one address, or all, from a workload; calls of it that wait end too.

        Done also when nothing is held. Raises UsageError for what is not an address.
        """
        self._engine.desk.check_workload(workload)
        turn, allocations = self._engine.turn, self._engine.holdings.allocations
        held = dict(allocations.held(workload))
        number = None
        if address is not None:
            number, _ = parse_claim(address)
            held = {number: held[number]} if number in held else {}
        for waiting in self._engine.desk.cancel(workload, number):
            turn.answer(waiting, TimedOut(f"{workload} was released while it waited"))
        for released in held:
            turn.rows([allocations.release(workload, released, now)])
        shown = tuple(show(number, held[number]) for number in sorted(held))
        turn.answer(request, Released(shown))
        self._engine.progress(now)
        return self._engine.turn.finish()

    def drain(self, now: float) -> list[Output]:
        """Take no new addresses any more; calls that wait end as Draining. Releases still work."""
        self._engine.is_draining = True
        for request in self._engine.desk.cancel_all():
            self._engine.turn.answer(request, Draining("this node is stopping"))
        self._engine.progress(now)
        return self._engine.turn.finish()

    def members(self, count: int) -> None:
        """Note how many members the cluster has; block sizes follow it."""
        if count != self._engine.growth.members:
            self._is_stale = True
            self._engine.growth.members = max(count, 1)

    def distrust(self) -> list[Output]:
        """Stop giving from blocks of earlier runs: the store was rolled back, or copied."""
        engine = self._engine
        # Not of a later epoch that this run took: what it gave since it began has its rows.
        self._doubt(engine.run_epoch)
        return engine.turn.finish()

    def two_faced(self, origin: PeerId, epoch: Epoch) -> list[Output]:
        """Give nothing for an epoch of an origin that signed two headers for one place (F9).

        A copy of it runs, or it lies. Both copies ask by the same numbers, so both would be
        told of the same block; as the guardian this node grants none of its requests up to
        that epoch, those that it granted before included. Where it is this very node, the
        copy gives from the blocks of that epoch too, so nothing more is given from them. The
        epoch after it is its own alone. Whoever takes over ranges asks the same first.
        """
        engine = self._engine
        engine.two_faced[origin] = max(epoch, engine.two_faced.get(origin, epoch))
        if origin == engine.me:
            self._doubt(Epoch(epoch.counter + 1, bytes(INSTANCE_BYTES)))
        return engine.turn.finish()

    def _doubt(self, below: Epoch) -> None:
        engine = self._engine
        rows = engine.holdings.distrust(below)
        if rows:
            engine.turn.rows(rows)
            engine.turn.notice(
                "alarm",
                "addresses given from the blocks of earlier runs may have been forgotten: "
                "nothing more is given from them, new blocks are asked for",
            )

    def reepoch(self, epoch: Epoch) -> None:
        """Ask for new blocks under a later epoch, once its boot counter is on disk.

        A guardian may remember later requests of this peer than a rolled-back store knows of,
        and calls all older ones stale for ever.
        """
        self._engine.growth.carves.reepoch(epoch)

    def nudge(self, now: float) -> list[Output]:
        """Ask again at once what was not answered: a peer came into reach."""
        self._engine.growth.carves.nudge(now)
        self._engine.progress(now)
        return self._engine.turn.finish()

    # --- the world ---------------------------------------------------------------------

    def received(self, source: PeerId, payload: Tree, now: float) -> list[Output]:
        """Take a payload from a peer; bytes from outside never raise."""
        try:
            message = parse_message(payload)
        except MalformedTree as error:
            self._engine.turn.notice("warning", f"ipam message of {source} refused: {error}")
            return self._engine.turn.finish()
        if isinstance(message, CarveMessage):
            if message.request.peer == source:
                self._engine.order(message, now)
        elif isinstance(message, DeniedMessage):
            if source == self._engine.guardian_id:
                self._engine.denied(message.request, Denied(message.denial, message.holder), now)
        else:
            self._engine.carved(message, now)
        return self._engine.turn.finish()

    def unicast_failed(self, dest: PeerId, payload: Tree, reason: str, now: float) -> list[Output]:
        """Note that a payload did not arrive; the request goes out again by its own clock.

        `payload` is that of the ToPeer which failed.
        """
        message = parse_message(payload)
        if dest == self._engine.guardian_id and isinstance(message, CarveMessage):
            carve = self._engine.growth.carves.get(message.request)
            if carve is not None:
                carve.trouble = reason
        return self._engine.turn.finish()

    def published(self, token: int, now: float) -> list[Output]:
        """Note that a Publish is durable; only now its answer may go out."""
        verdict = None if self._engine.guardian is None else self._engine.guardian.published(token)
        if verdict is not None:
            self._engine.deliver(verdict, now)
        return self._engine.turn.finish()

    def handle_timeout(self, now: float) -> list[Output]:
        """Do what is due: retries, ends of cool-downs, deadlines, and growth ahead of need."""
        self._is_stale = False
        self._engine.turn.rows(self._engine.holdings.allocations.cooled(now))
        self._engine.progress(now)
        return self._engine.turn.finish()

    def wants_turn(self, now: float) -> bool:
        """Return whether `handle_timeout` has work: also where the pool or the members changed."""
        return self._is_stale or ((due := self.next_deadline()) is not None and due <= now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` wants to be called, or None."""
        engine = self._engine
        if engine.turn.count != self._due[0]:
            wanted = [engine.desk.next_deadline(), engine.holdings.allocations.next_deadline()]
            if engine.is_ready and not engine.is_draining:
                wanted.append(engine.growth.next_deadline())
            times = [time for time in wanted if time is not None]
            self._due = engine.turn.count, min(times, default=None)
        return self._due[1]
