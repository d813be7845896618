"""One guardian's side of one register: what it promised, what it accepted, both on disk first.

A node answers for any register it is asked about; whether its word counts is decided by
whoever counts, against the set of guardians and the nonce of this store. So a node that
was just chosen as a guardian needs no preparation, and one that lost its store does no harm.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import take_bytes, take_int, take_str, take_tuple
from meshcrdt.consensus.ballots import ROUND_LEAP_MAX, Ballot, take_ballot
from meshcrdt.consensus.entries import Entry
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.consensus.log import Decided, Log, Verdict
from meshcrdt.consensus.messages import (
    Accept,
    Accepted,
    Payload,
    Prepare,
    Promise,
    Refusal,
    Refuse,
    Voted,
)
from meshcrdt.consensus.proofs import sign_vote
from meshcrdt.errors import CorruptStore, InternalError, MalformedTree
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import decode, encode

ROW_FORMAT = 1

Judge = Callable[[Entry, bytes | None], str | None]
"""(entry, the value before it) -> why the entry breaks a rule of its register, or None.

A pure function: every guardian has to judge alike.
"""


@frozen
class Answer:
    """A reply to the proposer, whether the row goes to disk first, and what it gave away."""

    payload: Payload | None
    changed: bool = False
    forked: int | None = None
    """The stamp of two proved decisions, one of which the proposer showed."""


class Acceptor:
    """What this node holds of one register as a guardian.

    Args:
        identity: Signs votes.
        genesis: The hash of the cluster's genesis.
        nonce: That of this store (rule 4).
        log: What is known to be decided; shared with the proposer beside.
        judge: The rules of the register.
    """

    def __init__(
        self, *, identity: Identity, genesis: bytes, nonce: bytes, log: Log, judge: Judge
    ) -> None:
        self._identity = identity
        self._genesis = genesis
        self._nonce = nonce
        self._log = log
        self._judge = judge
        self._promised: Ballot | None = None
        self._accepted: Accepted | None = None

    @property
    def promised(self) -> Ballot | None:
        """The highest ballot answered."""
        return self._promised

    def prepare(self, source: PeerId, message: Prepare) -> Answer:
        """Promise, or say why not."""
        ballot = message.ballot
        if ballot.peer != source:
            return Answer(None)  # nobody bids for another
        if message.set_version < self._floor():
            return self._refuse(ballot, Refusal.OLD_SET)
        if self._is_leap(ballot):
            return self._refuse(ballot, Refusal.INVALID)
        if self._promised is not None and ballot < self._promised:
            return self._refuse(ballot, Refusal.OUTBID)
        if self._accepted is not None and self._accepted.ballot == ballot:
            return Answer(None)  # late: what it would promise was given and used (rule 3, C3)
        changed = ballot != self._promised
        self._promised = ballot
        known = self._log.head if self._log.stamp > message.stamp else None
        promise = Promise(
            self._log.register, ballot, message.set_version, self._nonce, self._live(), known
        )
        return Answer(promise.to_tree(), changed)

    def accept(self, source: PeerId, message: Accept) -> Answer:
        """Accept and vote, or say why not."""
        ballot, entry = message.ballot, message.entry
        if ballot.peer != source:
            return Answer(None)
        if message.before is not None and self._log.admit(message.before) is Verdict.FORK:
            # Whatever comes after the other decision cannot come after ours.
            refused = self._refuse(ballot, Refusal.BEHIND)
            return evolve(refused, forked=message.before.entry.stamp)
        if max(message.set_version, entry.guardians.version) < self._floor():
            return self._refuse(ballot, Refusal.OLD_SET)
        if not self._builds_on_head(message):
            return self._refuse(ballot, Refusal.BEHIND)
        if self._promised is not None and ballot < self._promised:
            return self._refuse(ballot, Refusal.OUTBID)
        if self._is_leap(ballot) or self._judge(entry, self._log.body) is not None:
            return self._refuse(ballot, Refusal.INVALID)
        if self._log.why_full(entry.guardians) is not None:
            return self._refuse(ballot, Refusal.INVALID)  # no log would ever admit it
        same_ballot = self._accepted is not None and self._accepted.ballot == ballot
        if same_ballot and self._accepted != Accepted(ballot, entry):
            return self._refuse(ballot, Refusal.INVALID)  # one ballot, two values: it lies
        self._promised = ballot
        self._accepted = Accepted(ballot, entry)
        vote = sign_vote(
            self._identity,
            self._genesis,
            entry,
            set_version=message.set_version,
            ballot=ballot,
            nonce=self._nonce,
        )
        voted = Voted(self._log.register, ballot, self._nonce, vote.signature)
        return Answer(voted.to_tree(), not same_ballot)

    def _builds_on_head(self, message: Accept) -> bool:
        """Return whether an entry is the next one after what is proved here, under its set."""
        entry, log = message.entry, self._log
        if entry.stamp != log.stamp + 1 or entry.previous != log.tip:
            return False
        before = log.guardians
        if message.set_version != before.version:
            return False
        if entry.guardians.version == before.version:
            return entry.guardians == before
        return entry.guardians.version == before.version + 1

    def _live(self) -> Accepted | None:
        """Return what was accepted beyond the proved; the rest is decided, or lost for good."""
        accepted = self._accepted
        if accepted is None or accepted.entry.stamp <= self._log.stamp:
            return None
        return accepted

    def _floor(self) -> int:
        """Return the least set version that is answered: no lower one counts (rule 4)."""
        live = self._live()
        version = self._log.guardians.version
        return version if live is None else max(version, live.entry.guardians.version)

    def _is_leap(self, ballot: Ballot) -> bool:
        own = 0 if self._promised is None else self._promised.round
        return ballot.round > own + ROUND_LEAP_MAX

    def _refuse(self, ballot: Ballot, refusal: Refusal) -> Answer:
        refuse = Refuse(
            self._log.register,
            ballot,
            refusal,
            self._nonce,
            self._promised,
            self._live(),
            self._log.head,
        )
        return Answer(refuse.to_tree())

    # --- the disk --------------------------------------------------------------------------

    @property
    def row(self) -> bytes:
        """What has to be on disk before an answer with `changed` leaves."""
        promised = None if self._promised is None else self._promised.to_tree()
        accepted = None if self._accepted is None else self._accepted.to_tree()
        head = (ROW_FORMAT, self._log.register, self._nonce, promised, accepted)
        chain = tuple(decided.to_tree() for decided in self._log.chain)
        return encode((*head, chain))

    def load(self, raw: bytes) -> None:
        """Take the row that the store holds; raises CorruptStore naming what is wrong.

        A row of another store nonce is what another guardian promised: it is not ours.
        """
        name = f"table 'consensus', register {self._log.register!r}"
        try:
            form, register, nonce, promised, accepted, chain = take_tuple(decode(raw), name, size=6)
            take_int(form, f"{name}: format", low=ROW_FORMAT, high=ROW_FORMAT)
            take_str(register, f"{name}: name")
            for tree in take_tuple(chain, f"{name}: chain"):
                self._reload(Decided.from_tree(tree), name)
            if take_bytes(nonce, f"{name}: nonce", size=STORE_NONCE_BYTES) != self._nonce:
                return
            self._promised = take_ballot(promised, f"{name}: promised")
            self._accepted = None if accepted is None else Accepted.from_tree(accepted)
        except MalformedTree as error:
            raise CorruptStore(f"{name}: {error}") from error

    def _reload(self, decided: Decided, name: str) -> None:
        if self._log.admit(decided) not in (Verdict.NEWS, Verdict.KNOWN):
            raise CorruptStore(f"{name}: entry {decided.entry.stamp}: {self._log.fault}")

    def check(self) -> None:
        """Raise InternalError when more was accepted than promised."""
        if self._accepted is not None and (
            self._promised is None or self._accepted.ballot > self._promised
        ):
            raise InternalError(f"register {self._log.register}: accepted above its promise")
