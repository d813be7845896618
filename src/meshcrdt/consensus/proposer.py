"""The proposing side of one register: one attempt at a time, each under a ballot of its own.

1. Prepare: ask the guardians for promises. A majority of the set in force must give one.
2. Where a promise tells of an entry beyond what is proved, that one is finished first, under
   our own ballot: it may be chosen already (C1). One that changes the guardians needs
   promises of a majority of its own set too (rule 5, C6).
3. Else the proposal's change is applied to the proved value, or it is declined by it.
4. Accept: votes of the majorities make the proof. New guardians are asked before old ones,
   so the death of a lone guardian after its vote loses nothing.

A proposal whose entry may be on its way is never turned into a second one: an entry that
comes back as unfinished is recognised by its hash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.attempts import Attempt, Change, Impossible, Phase, Proposal
from meshcrdt.consensus.ballots import ROUND_HASTE_MAX, Ballot
from meshcrdt.consensus.entries import BODY_BYTES_MAX, Entry
from meshcrdt.consensus.guardians import GuardianSet
from meshcrdt.consensus.log import Decided, Log, Verdict
from meshcrdt.consensus.messages import (
    Accept,
    Message,
    Payload,
    Prepare,
    Promise,
    Refusal,
    Refuse,
    Voted,
)
from meshcrdt.consensus.outputs import (
    Declined,
    Forked,
    Learned,
    Output,
    Proposed,
    ToPeer,
    Unreachable,
)
from meshcrdt.consensus.proofs import Proof, Verify, Vote, electors, is_vote, missing_majority
from meshcrdt.errors import CapacityError, InternalError

ATTEMPT_S = 2.0
"""How long one attempt may take before the next begins, above what a slow path needs."""
BACKOFF_MIN_S = 0.05
BACKOFF_MAX_S = 1.0
PROPOSALS_MAX = 64


class Proposer:
    """Proposals of this node to one register.

    Args:
        me: This node.
        instance: A nonce drawn at this start: no ballot of an earlier run is used again.
        genesis: The hash of the cluster's genesis.
        log: What is known to be decided.
        dice: Backoff.
        verify: Checks votes.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        instance: bytes,
        genesis: bytes,
        log: Log,
        dice: Dice,
        verify: Verify,
    ) -> None:
        self._me = me
        self._instance = instance
        self._genesis = genesis
        self._log = log
        self._dice = dice
        self._verify = verify
        self._queue: deque[Proposal] = deque()
        self._attempt: Attempt | None = None
        self._round = 0
        self._failures = 0
        self._again_at = 0.0
        self._unfinished: Entry | None = None

    def __len__(self) -> int:
        return len(self._queue)

    # --- events ----------------------------------------------------------------------------

    def propose(self, request: int, change: Change, now: float, *, deadline: float) -> list[Output]:
        """Take a proposal; answered by one Proposed, Declined or Unreachable by its deadline.

        Raises CapacityError when PROPOSALS_MAX wait already.
        """
        if len(self._queue) >= PROPOSALS_MAX:
            raise CapacityError(f"{PROPOSALS_MAX} proposals to {self._log.register!r} wait already")
        self._queue.append(Proposal(request, change, deadline))
        return self._begin(now) if self._attempt is None and now >= self._again_at else []

    def received(self, source: PeerId, message: Message, now: float) -> list[Output]:
        """Take a guardian's answer; one to an earlier attempt changes nothing but what is known."""
        outputs: list[Output] = []
        if isinstance(message, Promise | Refuse) and message.known is not None:
            outputs += self.learned(message.known, now)
        attempt = self._attempt
        if attempt is None or message.ballot != attempt.ballot:
            return outputs
        match message:
            case Promise():
                outputs += self._promised(attempt, source, message, now)
            case Voted():
                outputs += self._voted(attempt, source, message, now)
            case Refuse():
                outputs += self._refused(attempt, source, message, now)
            case _:
                pass  # what guardians are asked is not for us
        return outputs

    def learned(self, decided: Decided, now: float) -> list[Output]:
        """Take in a decision from elsewhere; an attempt that builds on an older one begins anew."""
        match self._log.admit(decided):
            case Verdict.NEWS:
                outputs: list[Output] = [Learned(self._log.register, decided)]
                return outputs + self.moved(now)
            case Verdict.FORK:
                return [Forked(self._log.register, decided.entry.stamp)]
            case _:
                return []

    def restarted(self, instance: bytes, now: float) -> None:
        """Give up the attempt, whose ballot a copy of this process has too."""
        self._instance = instance
        if self._attempt is not None:
            self._fail(now)

    def handle_timeout(self, now: float) -> list[Output]:
        """Give up what is past its deadline, and begin the next attempt when it is due."""
        outputs: list[Output] = []
        late = [proposal for proposal in self._queue if proposal.deadline <= now]
        for proposal in late:
            outputs.append(Unreachable(proposal.request, self._why_not(proposal)))
            self._queue.remove(proposal)
        attempt = self._attempt
        if attempt is not None and (attempt.deadline <= now or not self._queue):
            self._fail(now)
        if self._attempt is None and self._queue and now >= self._again_at:
            outputs += self._begin(now)
        return outputs

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        if not self._queue:
            return None
        due = [proposal.deadline for proposal in self._queue]
        due.append(self._again_at if self._attempt is None else self._attempt.deadline)
        return min(due)

    # --- attempts --------------------------------------------------------------------------

    def _begin(self, now: float) -> list[Output]:
        """Start an attempt for the first proposal: ask for promises."""
        if not self._queue:
            return []
        self._round += 1
        before, unfinished = self._log.guardians, self._unfinished
        if unfinished is not None and unfinished.stamp != self._log.stamp + 1:
            unfinished = self._unfinished = None
        attempt = self._attempt = Attempt(
            Ballot(self._round, self._me, self._instance),
            before,
            before.version if unfinished is None else unfinished.guardians.version,
            min(now + ATTEMPT_S, max(p.deadline for p in self._queue)),
        )
        peers = set(before.peers)
        if unfinished is not None:
            peers |= unfinished.guardians.peers
        prepare = Prepare(
            self._log.register, attempt.ballot, attempt.set_version, self._log.stamp
        ).to_tree()
        return self._to_all(peers, prepare)

    def _to_all(self, peers: Iterable[PeerId], payload: Payload) -> list[Output]:
        attempt = self._attempt
        if attempt is None:
            raise InternalError("something is asked without an attempt")
        attempt.asked.update(peers)
        return [ToPeer(peer, payload, attempt.deadline) for peer in sorted(peers)]

    def _fail(self, now: float) -> None:
        """End the attempt; the next begins after a pause that grows and is rolled (rivals)."""
        self._attempt = None
        self._failures += 1
        pause_s = min(BACKOFF_MIN_S * 2.0 ** min(self._failures, 8), BACKOFF_MAX_S)
        self._again_at = now + self._dice.uniform(0.2, 1.0) * pause_s

    def moved(self, now: float) -> list[Output]:
        """Begin anew on what was learned."""
        if self._unfinished is not None and self._unfinished.stamp <= self._log.stamp:
            self._unfinished = None
        outputs = self._settle_known()
        if self._attempt is not None:
            self._attempt = None
            outputs += self._begin(now)
        return outputs

    def _settle_known(self) -> list[Output]:
        """Answer a proposal whose entry was proved by somebody else."""
        head = self._log.head
        if head is None:
            return []
        done = [proposal for proposal in self._queue if head.entry.hash in proposal.drafts]
        for proposal in done:
            self._queue.remove(proposal)
        return [Proposed(proposal.request, head) for proposal in done]

    # --- phase 1 ---------------------------------------------------------------------------

    def _promised(
        self, attempt: Attempt, source: PeerId, message: Promise, now: float
    ) -> list[Output]:
        if attempt.phase is not Phase.PREPARE or message.set_version != attempt.set_version:
            return []
        attempt.promises[source] = message
        if not attempt.has_promises(attempt.before):
            return []
        entry = attempt.best(self._is_next)
        if entry is None:
            return self._draft(attempt, now)
        if entry.guardians.version != attempt.before.version:
            if attempt.set_version < entry.guardians.version:
                self._unfinished = entry
                self._attempt = None
                return self._begin(now)
            if not attempt.has_promises(entry.guardians):
                return []
        return self._ask_to_accept(attempt, entry)

    def _is_next(self, entry: Entry) -> bool:
        """Return whether an entry may be the next decision after what is proved here.

        One that no log admits, because the guardians cannot change any more, is never chosen:
        who says that it accepted one lies.
        """
        return (
            entry.stamp == self._log.stamp + 1
            and entry.previous == self._log.tip
            and self._log.why_full(entry.guardians) is None
        )

    def _draft(self, attempt: Attempt, now: float) -> list[Output]:
        """Apply the first proposal that is possible to the proved value."""
        outputs: list[Output] = []
        while self._queue:
            proposal = self._queue[0]
            draft = proposal.change(self._log.body, attempt.before)
            if isinstance(draft, Impossible):
                self._queue.popleft()
                outputs.append(Declined(proposal.request, draft.reason))
                continue
            if len(draft.body) > BODY_BYTES_MAX:
                self._queue.popleft()
                reason = f"the value would have {len(draft.body)} bytes: at most {BODY_BYTES_MAX}"
                outputs.append(Declined(proposal.request, reason))
                continue
            guardians = attempt.before
            if draft.guardians is not None:
                guardians = attempt.before.succeeded_by(draft.guardians)
            full = self._log.why_full(guardians)
            if full is not None:
                self._queue.popleft()
                outputs.append(Declined(proposal.request, full))
                continue
            entry = Entry(
                self._log.register, self._log.stamp + 1, self._log.tip, guardians, draft.body
            )
            proposal.drafts.add(entry.hash)
            return outputs + self._ask_to_accept(attempt, entry)
        self._attempt = None
        return outputs

    # --- phase 2 ---------------------------------------------------------------------------

    def _ask_to_accept(self, attempt: Attempt, entry: Entry) -> list[Output]:
        attempt.phase = Phase.ACCEPT
        attempt.entry = entry
        attempt.asked.clear()
        first = entry.guardians.peers - attempt.before.peers
        return self._send_accept(attempt, first or attempt.before.peers)

    def _send_accept(self, attempt: Attempt, peers: Iterable[PeerId]) -> list[Output]:
        entry = attempt.entry
        if entry is None:
            raise InternalError("nothing to accept")
        accept = Accept(attempt.ballot, attempt.before.version, entry, self._log.head)
        return self._to_all(peers, accept.to_tree())

    def _voted(self, attempt: Attempt, source: PeerId, message: Voted, now: float) -> list[Output]:
        entry = attempt.entry
        if entry is None or any(vote.guardian == source for vote in attempt.votes):
            return []
        vote = Vote(source, message.signature)
        if not any(
            self._holds(vote, guardians, attempt, entry)
            for guardians in electors(attempt.before, entry)
        ):
            return []
        attempt.votes = (*attempt.votes, vote)
        proof = Proof(attempt.before.version, attempt.ballot, attempt.votes)
        lacking = missing_majority(self._genesis, entry, proof, attempt.before, self._verify)
        if lacking is not None:
            return self._ask_the_old(attempt, entry)
        return self._chosen(Decided(entry, proof), now)

    def _holds(self, vote: Vote, guardians: GuardianSet, attempt: Attempt, entry: Entry) -> bool:
        guardian = guardians.find(vote.guardian)
        return guardian is not None and is_vote(
            vote,
            guardian,
            self._genesis,
            entry,
            set_version=attempt.before.version,
            ballot=attempt.ballot,
            verify=self._verify,
        )

    def _ask_the_old(self, attempt: Attempt, entry: Entry) -> list[Output]:
        """Ask the old guardians once the new ones that were asked alone have voted enough."""
        rest = (attempt.before.peers | entry.guardians.peers) - attempt.asked
        newcomers = entry.guardians.peers - attempt.before.peers
        voted = {vote.guardian for vote in attempt.votes}
        if not rest or 2 * len(newcomers & voted) <= len(newcomers):
            return []
        return self._send_accept(attempt, rest)

    def _chosen(self, decided: Decided, now: float) -> list[Output]:
        self._attempt = None
        self._failures = 0
        if self._log.admit(decided) is not Verdict.NEWS:
            raise InternalError(f"an own decision is not admitted: {self._log.fault}")
        outputs: list[Output] = [Learned(self._log.register, decided)]
        outputs += self._settle_known()
        return outputs + self._begin(now)

    def _refused(
        self, attempt: Attempt, source: PeerId, message: Refuse, now: float
    ) -> list[Output]:
        if message.promised is not None and source in attempt.asked:
            haste = min(message.promised.round, self._round + ROUND_HASTE_MAX)
            self._round = max(self._round, haste)
        accepted = message.accepted
        old_set = message.refusal is Refusal.OLD_SET
        if old_set and accepted is not None and self._is_next(accepted.entry):
            self._unfinished = accepted.entry
        attempt.refused[source] = message.refusal
        alive = attempt.before.peers - attempt.refused.keys()
        if attempt.before.is_majority(alive):
            return []
        if message.refusal is Refusal.INVALID and attempt.phase is Phase.ACCEPT:
            return self._invalid(attempt, now)
        self._fail(now)
        return []

    def _invalid(self, attempt: Attempt, now: float) -> list[Output]:
        """Decline a proposal that the guardians judge to break a rule."""
        self._fail(now)
        entry = attempt.entry
        mine = [p for p in self._queue if entry is not None and entry.hash in p.drafts]
        for proposal in mine:
            self._queue.remove(proposal)
        return [Declined(p.request, "the guardians judge that it breaks a rule") for p in mine]

    # --- health ----------------------------------------------------------------------------

    def _why_not(self, proposal: Proposal) -> str:
        guardians = self._log.guardians
        attempt = self._attempt
        answered: set[PeerId] = set()
        if attempt is not None:
            answered = attempt.promises.keys() | {vote.guardian for vote in attempt.votes}
            answered |= attempt.refused.keys()
        silent = sorted(guardians.peers - answered)
        names = ", ".join(str(peer) for peer in silent) or "none"
        doubt = "; it may still be chosen" if proposal.drafts else ""
        return (
            f"no majority of the {len(guardians.members)} guardians of {self._log.register!r} "
            f"agreed in time (silent: {names}){doubt}"
        )

    def check(self) -> None:
        """Raise InternalError when a proposal waits without a next step."""
        if len(self._queue) > PROPOSALS_MAX:
            raise InternalError(f"{len(self._queue)} proposals wait")
        if self._attempt is not None and self._attempt.before != self._log.guardians:
            raise InternalError("an attempt counts on guardians that are not in force")
