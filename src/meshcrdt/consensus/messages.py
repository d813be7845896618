"""The messages between a proposer and the guardians, as unicast payloads 96 to 111.

Every one names its register and ballot, so that loss, repetition and reordering cost time
only. Reading is strict and bounded: a malformed one is dropped by whoever reads it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.tree import Tree, take_bytes, take_int, take_tuple
from meshcrdt.consensus.ballots import Ballot, take_ballot
from meshcrdt.consensus.entries import Entry, take_register
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.consensus.log import Decided
from meshcrdt.errors import MalformedTree
from meshcrdt.trust.identity import SIGNATURE_BYTES

Payload: TypeAlias = tuple[Tree, ...]


class Code(IntEnum):
    """First item of each payload."""

    PREPARE = 96
    PROMISE = 97
    ACCEPT = 98
    ACCEPTED = 99
    REFUSE = 100


@frozen
class Prepare:
    """Asks for a promise; `stamp` is the newest decision that the proposer has proof of."""

    register: str
    ballot: Ballot
    set_version: int
    stamp: int

    def to_tree(self) -> Payload:
        """Return the payload."""
        head = (Code.PREPARE.value, self.register, self.ballot.to_tree())
        return (*head, self.set_version, self.stamp)


@frozen
class Accepted:
    """What a guardian holds of a register: the last entry it accepted, and under which ballot."""

    ballot: Ballot
    entry: Entry

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.ballot.to_tree(), self.entry.to_tree())

    @classmethod
    def from_tree(cls, tree: Tree) -> Accepted:
        """Read a tree from outside; raises MalformedTree."""
        ballot, entry = take_tuple(tree, "accepted", size=2)
        return cls(Ballot.from_tree(ballot), Entry.from_tree(entry))


@frozen
class Promise:
    """No ballot below this one will be answered; `known` is what the proposer lacks."""

    register: str
    ballot: Ballot
    set_version: int
    nonce: bytes
    accepted: Accepted | None
    known: Decided | None

    def to_tree(self) -> Payload:
        """Return the payload."""
        accepted = None if self.accepted is None else self.accepted.to_tree()
        known = None if self.known is None else self.known.to_tree()
        head = (Code.PROMISE.value, self.register, self.ballot.to_tree())
        return (*head, self.set_version, self.nonce, accepted, known)


@frozen
class Accept:
    """Asks to accept an entry, with the proof of the one that it builds on (None: the first)."""

    ballot: Ballot
    set_version: int
    entry: Entry
    before: Decided | None

    def to_tree(self) -> Payload:
        """Return the payload."""
        before = None if self.before is None else self.before.to_tree()
        head = (Code.ACCEPT.value, self.entry.register, self.ballot.to_tree())
        return (*head, self.set_version, self.entry.to_tree(), before)


@frozen
class Voted:
    """A guardian accepted; its vote is part of the proof. (Code ACCEPTED.)"""

    register: str
    ballot: Ballot
    nonce: bytes
    signature: bytes

    def to_tree(self) -> Payload:
        """Return the payload."""
        head = (Code.ACCEPTED.value, self.register, self.ballot.to_tree())
        return (*head, self.nonce, self.signature)


class Refusal(IntEnum):
    """Why a guardian did not do as asked."""

    OUTBID = 1
    """It promised a higher ballot."""
    OLD_SET = 2
    """It accepted a change of the guardians that the proposer did not name."""
    BEHIND = 3
    """The proposer lacks decisions, or this guardian does."""
    INVALID = 4
    """The entry breaks a rule of its register."""
    FULL = 5
    """It serves as many registers as it can."""


@frozen
class Refuse:
    """The ballot is not answered; what the guardian has instead comes along."""

    register: str
    ballot: Ballot
    refusal: Refusal
    nonce: bytes
    promised: Ballot | None
    accepted: Accepted | None
    known: Decided | None

    def to_tree(self) -> Payload:
        """Return the payload."""
        promised = None if self.promised is None else self.promised.to_tree()
        accepted = None if self.accepted is None else self.accepted.to_tree()
        known = None if self.known is None else self.known.to_tree()
        head = (Code.REFUSE.value, self.register, self.ballot.to_tree())
        return (*head, self.refusal.value, self.nonce, promised, accepted, known)


Message: TypeAlias = Prepare | Promise | Accept | Voted | Refuse


def parse(payload: Payload) -> Message:
    """Read a payload from a peer; raises MalformedTree."""
    items = take_tuple(payload, "consensus message")
    if len(items) < 3:
        raise MalformedTree(f"a consensus message has {len(items)} items")
    code = take_int(items[0], "code")
    register = take_register(items[1])
    ballot = Ballot.from_tree(items[2])
    rest = items[3:]
    match code:
        case Code.PREPARE:
            version, stamp = take_tuple(rest, "prepare", size=2)
            return Prepare(register, ballot, _version(version), take_int(stamp, "stamp"))
        case Code.PROMISE:
            version, nonce, accepted, known = take_tuple(rest, "promise", size=4)
            return Promise(
                register, ballot, _version(version), _nonce(nonce), _held(accepted), _known(known)
            )
        case Code.ACCEPT:
            version, entry_tree, before = take_tuple(rest, "accept", size=3)
            entry = Entry.from_tree(entry_tree)
            if entry.register != register:
                raise MalformedTree(f"an entry of {entry.register!r} is proposed to {register!r}")
            return Accept(ballot, _version(version), entry, _known(before))
        case Code.ACCEPTED:
            nonce, signature = take_tuple(rest, "accepted", size=2)
            vote = take_bytes(signature, "signature", size=SIGNATURE_BYTES)
            return Voted(register, ballot, _nonce(nonce), vote)
        case Code.REFUSE:
            why, nonce, promised, accepted, known = take_tuple(rest, "refuse", size=5)
            return Refuse(
                register,
                ballot,
                Refusal(take_int(why, "refusal", low=1, high=max(Refusal))),
                _nonce(nonce),
                take_ballot(promised, "promised"),
                _held(accepted),
                _known(known),
            )
        case _:
            raise MalformedTree(f"consensus code {code} is not known")


def _version(tree: Tree) -> int:
    return take_int(tree, "set_version", low=1)


def _nonce(tree: Tree) -> bytes:
    return take_bytes(tree, "nonce", size=STORE_NONCE_BYTES)


def _held(tree: Tree) -> Accepted | None:
    return None if tree is None else Accepted.from_tree(tree)


def _known(tree: Tree) -> Decided | None:
    return None if tree is None else Decided.from_tree(tree)
