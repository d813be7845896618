"""Votes and proofs: why a decision counts for somebody who was not asked.

A vote covers (genesis, set version, ballot, guardian's nonce, entry), and the entry names
its register and stamp: it proves nothing elsewhere, and nothing under another ballot
(rule 3, C4). A proof is a majority of the set before the decision, under ONE ballot, and
where the decision changes the set also a majority of the new one (rule 5, C6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_peer, take_tuple
from meshcrdt.consensus.ballots import Ballot
from meshcrdt.consensus.entries import Entry
from meshcrdt.consensus.guardians import GUARDIANS_MAX, Guardian, GuardianSet
from meshcrdt.errors import MalformedTree
from meshcrdt.trust.identity import SIGNATURE_BYTES, Identity
from meshcrdt.wire import encode

VOTE_DOMAIN = "consensus/vote/1"

Verify: TypeAlias = Callable[[bytes, str, bytes, bytes], bool]
"""(public, domain, message, signature) -> whether it is good."""


class Vote(NamedTuple):
    """One guardian's signature under an accepted entry."""

    guardian: PeerId
    signature: bytes


@frozen
class Proof:
    """Votes for one entry under one ballot; `set_version` is that of the set before it."""

    set_version: int
    ballot: Ballot
    votes: tuple[Vote, ...]

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        votes = tuple((bytes(vote.guardian), vote.signature) for vote in self.votes)
        return (self.set_version, self.ballot.to_tree(), votes)

    @classmethod
    def from_tree(cls, tree: Tree) -> Proof:
        """Read a tree from outside; raises MalformedTree."""
        version, ballot, votes = take_tuple(tree, "proof", size=3)
        items = take_tuple(votes, "proof.votes")
        if len(items) > 2 * GUARDIANS_MAX:
            raise MalformedTree(f"a proof has {len(items)} votes: {2 * GUARDIANS_MAX} at most")
        return cls(
            take_int(version, "proof.set_version", low=1),
            Ballot.from_tree(ballot, "proof.ballot"),
            tuple(_take_vote(item) for item in items),
        )


def _take_vote(tree: Tree) -> Vote:
    guardian, signature = take_tuple(tree, "vote", size=2)
    return Vote(
        take_peer(guardian, "vote.guardian"),
        take_bytes(signature, "vote.signature", size=SIGNATURE_BYTES),
    )


def _statement(
    genesis: bytes, entry: Entry, *, set_version: int, ballot: Ballot, nonce: bytes
) -> bytes:
    return encode((genesis, set_version, ballot.to_tree(), nonce, entry.hash))


def sign_vote(
    identity: Identity,
    genesis: bytes,
    entry: Entry,
    *,
    set_version: int,
    ballot: Ballot,
    nonce: bytes,
) -> Vote:
    """Return the vote of the guardian (identity, nonce)."""
    statement = _statement(genesis, entry, set_version=set_version, ballot=ballot, nonce=nonce)
    return Vote(identity.peer, identity.sign(VOTE_DOMAIN, statement))


def is_vote(
    vote: Vote,
    guardian: Guardian,
    genesis: bytes,
    entry: Entry,
    *,
    set_version: int,
    ballot: Ballot,
    verify: Verify,
) -> bool:
    """Return whether a vote is this guardian's, made on this store, for this entry."""
    statement = _statement(
        genesis, entry, set_version=set_version, ballot=ballot, nonce=guardian.nonce
    )
    return vote.guardian == guardian.peer and verify(
        guardian.public, VOTE_DOMAIN, statement, vote.signature
    )


def electors(before: GuardianSet, entry: Entry) -> tuple[GuardianSet, ...]:
    """Return the sets of which each has to give a majority for an entry."""
    changes = entry.guardians.version != before.version
    return (before, entry.guardians) if changes else (before,)


def missing_majority(
    genesis: bytes, entry: Entry, proof: Proof, before: GuardianSet, verify: Verify
) -> GuardianSet | None:
    """Return a set whose majority has not voted for an entry yet, or None when it is chosen.

    Counted for each set by itself: a guardian that was taken in again on a new store is
    another one to the new set than to the old.
    """
    for guardians in electors(before, entry):
        voters: set[PeerId] = set()
        for vote in proof.votes:
            guardian = guardians.find(vote.guardian)
            if guardian is not None and is_vote(
                vote,
                guardian,
                genesis,
                entry,
                set_version=proof.set_version,
                ballot=proof.ballot,
                verify=verify,
            ):
                voters.add(vote.guardian)
        if not guardians.is_majority(voters):
            return guardians
    return None


def proof_fault(
    genesis: bytes, entry: Entry, proof: Proof, before: GuardianSet, verify: Verify
) -> str | None:
    """Return why a proof does not show that an entry was chosen after `before`, or None."""
    if proof.set_version != before.version:
        return f"it is of guardian set {proof.set_version}, and set {before.version} is in force"
    if entry.guardians.version == before.version:
        if entry.guardians != before:
            return "it changes the guardians without a new version"
    elif entry.guardians.version != before.version + 1:
        return f"it leaps from guardian set {before.version} to {entry.guardians.version}"
    lacking = missing_majority(genesis, entry, proof, before, verify)
    if lacking is not None:
        return f"no majority of guardian set {lacking.version} voted for it"
    return None
