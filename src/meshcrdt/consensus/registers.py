"""All registers of one node: its voice as a guardian, its proposals, and what is decided.

The node opens the registers that it knows the rules of, routes payloads 96 to 111 here,
and publishes what is `Learned`; what others published comes back through `learned`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.acceptor import Acceptor, Answer, Judge
from meshcrdt.consensus.attempts import Change
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES, GuardianSet
from meshcrdt.consensus.log import Decided, Log
from meshcrdt.consensus.messages import Accept, Payload, Prepare, parse
from meshcrdt.consensus.outputs import Forked, Learned, Output, Store, ToPeer
from meshcrdt.consensus.proofs import Verify
from meshcrdt.consensus.proposer import Proposer
from meshcrdt.errors import InternalError, MalformedTree, UsageError
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.identity import verify as verify_signature

ANSWER_S = 5.0
"""How long an answer to a proposer is worth delivering."""


@define(eq=False)
class _Register:
    log: Log
    acceptor: Acceptor
    proposer: Proposer


@frozen
class RegistersStatistics:
    """Counts at one moment."""

    registers: int
    proposals: int
    malformed_total: int
    unknown_total: int


class Registers:
    """The registers of one node.

    Args:
        identity: Signs votes.
        genesis: The hash of the cluster's genesis.
        nonce: That of this store, drawn when it began; 8 bytes (rule 4).
        instance: Drawn at this start; 8 bytes (rule 3).
        dice: Backoff of proposals.
        verify: Checks votes.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        genesis: bytes,
        nonce: bytes,
        instance: bytes,
        dice: Dice,
        verify: Verify = verify_signature,
    ) -> None:
        if len(nonce) != STORE_NONCE_BYTES:
            raise UsageError(f"a store nonce has {STORE_NONCE_BYTES} bytes, not {len(nonce)}")
        self._identity = identity
        self._genesis = genesis
        self._nonce = nonce
        self._instance = instance
        self._dice = dice
        self._verify = verify
        self._registers: dict[str, _Register] = {}
        self._malformed_total = 0
        self._unknown_total = 0

    def open(self, register: str, guardians: GuardianSet, judge: Judge) -> Log:
        """Begin to serve a register; returns its log, to read. Raises UsageError when it is open.

        Args:
            register: Its name, printable ASCII.
            guardians: The first set, named by the genesis.
            judge: Its rules; pure.
        """
        if register in self._registers:
            raise UsageError(f"register {register!r} is open already")
        log = Log(register, self._genesis, guardians, self._verify)
        acceptor = Acceptor(
            identity=self._identity,
            genesis=self._genesis,
            nonce=self._nonce,
            log=log,
            judge=judge,
        )
        proposer = Proposer(
            me=self._identity.peer,
            instance=self._instance,
            genesis=self._genesis,
            log=log,
            dice=self._dice.fork(register),
            verify=self._verify,
        )
        self._registers[register] = _Register(log, acceptor, proposer)
        return log

    def restarted(self, instance: bytes, now: float) -> None:
        """Bid with another instance from now on: a copy of this process may run (rule 3)."""
        self._instance = instance
        for register in self._registers.values():
            register.proposer.restarted(instance, now)

    def load(self, rows: Mapping[bytes, bytes]) -> None:
        """Take what the store holds, after `open` and before any event; raises CorruptStore."""
        for key, raw in rows.items():
            register = self._registers.get(key.decode("ascii", "replace"))
            if register is not None:
                register.acceptor.load(raw)

    def propose(
        self, register: str, request: int, change: Change, now: float, *, deadline: float
    ) -> list[Output]:
        """Propose a change; answered once, by its deadline. Raises UsageError, CapacityError."""
        found = self._registers.get(register)
        if found is None:
            raise UsageError(f"register {register!r} is not open")
        return self._kept(found, found.proposer.propose(request, change, now, deadline=deadline))

    def received(self, source: PeerId, payload: Payload, now: float) -> list[Output]:
        """Take a payload of codes 96 to 111; never raises for what it says."""
        try:
            message = parse(payload)
        except MalformedTree:
            self._malformed_total += 1
            return []
        if isinstance(message, Accept):
            name = message.entry.register
        else:
            name = message.register
        found = self._registers.get(name)
        if found is None:
            self._unknown_total += 1
            return []
        if isinstance(message, Prepare):
            return self._answer(found, source, found.acceptor.prepare(source, message), now)
        if isinstance(message, Accept):
            stamp = found.log.stamp
            answer = found.acceptor.accept(source, message)
            outputs = self._answer(found, source, answer, now)
            if answer.forked is not None:
                outputs.append(Forked(name, answer.forked))
            head = found.log.head
            if head is not None and found.log.stamp != stamp:
                outputs += [Learned(name, head), *found.proposer.moved(now)]
            return outputs
        return self._kept(found, found.proposer.received(source, message, now))

    def learned(self, register: str, decided: Decided, now: float) -> list[Output]:
        """Take in a decision that another node published."""
        found = self._registers.get(register)
        return [] if found is None else self._kept(found, found.proposer.learned(decided, now))

    def log(self, register: str) -> Log | None:
        """Return what is decided of a register, or None when it is not open."""
        found = self._registers.get(register)
        return None if found is None else found.log

    def _answer(
        self, register: _Register, source: PeerId, answer: Answer, now: float
    ) -> list[Output]:
        outputs: list[Output] = [self._row(register)] if answer.changed else []
        if answer.payload is not None:
            outputs.append(ToPeer(source, answer.payload, now + ANSWER_S))
        return outputs

    def _kept(self, register: _Register, outputs: list[Output]) -> list[Output]:
        """Put the row before what was learned: a node that restarts knows at least as much."""
        if any(isinstance(output, Learned) for output in outputs):
            return [self._row(register), *outputs]
        return outputs

    def _row(self, register: _Register) -> Store:
        return Store(((register.log.register.encode(), register.acceptor.row),))

    def handle_timeout(self, now: float) -> list[Output]:
        """Let every proposer whose deadline passed act."""
        outputs: list[Output] = []
        for register in self._registers.values():
            outputs += self._kept(register, register.proposer.handle_timeout(now))
        return outputs

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        earliest: float | None = None
        for register in self._registers.values():
            at = register.proposer.next_deadline()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def check(self) -> None:
        """Raise InternalError when an invariant of any register does not hold."""
        for name, register in self._registers.items():
            if register.log.register != name:
                raise InternalError(f"register {name!r} is listed under another name")
            register.log.check()
            register.acceptor.check()
            register.proposer.check()

    def statistics(self) -> RegistersStatistics:
        """Return the current counts."""
        return RegistersStatistics(
            registers=len(self._registers),
            proposals=sum(len(register.proposer) for register in self._registers.values()),
            malformed_total=self._malformed_total,
            unknown_total=self._unknown_total,
        )
