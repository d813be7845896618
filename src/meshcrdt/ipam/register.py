"""The register at one node of the IP-range trie: its fields, its bytes, its join.

The format is complete for what the design plans (guardian sets, portable grants, evict
and reclaim), although one lone guardian writes it today: later changes add code that
reads or writes these fields and never move one. Numbers C and rule N refer to the model
check of the design (counter-examples C1 to C12, rules 1 to 10).

- `birth` is the stamp of the write that made the node what its children link to; attach,
  keep and grant of the whole node raise `stamp` and keep `birth` (rule 9, C10).
- A stamp is (epoch, seq, place): the stamp of the shard, then the place in the chain of a
  portable block's owner, which is 0 for every write of a register (rule 9, C11).
- The proof stands beside the value and is checked before two values meet, so that nobody
  can freeze a block by forgery (rule 3, C4).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from attrs import evolve, field, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_peer,
    take_tuple,
)
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.ranges import Cidr
from meshcrdt.trust.identity import SIGNATURE_BYTES
from meshcrdt.wire import content_hash, decode, encode

REGISTER_FORMAT = 1
STORE_NONCE_BYTES = 8
SIGNATURES_MAX = 16
CHAIN_MAX = 64
CHAIN_RECORD_BYTES_MAX = 1_024


class Kind(IntEnum):
    """What a node of the trie is."""

    SPLIT = 0
    POOL = 1
    OWN = 2
    FROZEN = 3


class Tenure(IntEnum):
    """How an owned block may leave its owner: a block is never both (I6)."""

    EVICTABLE = 0
    PORTABLE = 1


class Cause(IntEnum):
    """Which operation wrote a register; kept so that `why ADDRESS` can tell.

    A register may carry a number that this version does not know.
    """

    GENESIS = 0
    CARVE = 1
    GRANT = 2
    RETURN = 3
    ATTACH = 4
    KEEP = 5
    EVICT = 6
    COALESCE = 7
    CONFLICT = 8


class Stamp(NamedTuple):
    """(epoch of the shard's sequence, seq, place in a portable chain), compared in that order."""

    epoch: int
    seq: int
    place: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}" + (f"+{self.place}" if self.place else "")


BOTTOM_STAMP = Stamp(0, 0)


class RequestId(NamedTuple):
    """Who asked: peer, its instance at that time, and a number that it never uses again."""

    peer: PeerId
    epoch: Epoch
    number: int

    def __str__(self) -> str:
        return f"{self.peer.short}@{self.epoch}#{self.number}"


class Ballot(NamedTuple):
    """(round, proposer, the proposer's random instance nonce): one ballot carries one value."""

    round: int
    peer: PeerId
    nonce: bytes


@frozen
class Owner:
    """The peer instance that owns a block; `epoch` is that of its attach, with its nonce."""

    peer: PeerId
    epoch: Epoch
    tenure: Tenure = Tenure.EVICTABLE


@frozen
class GuardianSignature:
    """One guardian's word; a guardian is (peer id, store nonce) (rule 4)."""

    guardian: PeerId
    store_nonce: bytes
    signature: bytes


@frozen
class Proof:
    """Why a value counts: a majority of signatures under one ballot and one set version.

    `chain` holds the earlier records of a portable block, which its owner signs alone.
    """

    set_version: int
    ballot: Ballot
    signatures: tuple[GuardianSignature, ...]
    chain: tuple[bytes, ...] = ()

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        signatures: Tree = tuple(
            (bytes(s.guardian), s.store_nonce, s.signature) for s in self.signatures
        )
        ballot: Tree = (self.ballot.round, bytes(self.ballot.peer), self.ballot.nonce)
        return (self.set_version, ballot, signatures, self.chain)

    @classmethod
    def from_tree(cls, tree: Tree) -> Proof:
        """Read a tree from outside; raises MalformedTree."""
        version, ballot_tree, signatures, chain = take_tuple(tree, "proof", size=4)
        round_, peer, nonce = take_tuple(ballot_tree, "proof.ballot", size=3)
        signature_trees = take_tuple(signatures, "proof.signatures")
        chain_trees = take_tuple(chain, "proof.chain")
        if len(signature_trees) > SIGNATURES_MAX or len(chain_trees) > CHAIN_MAX:
            raise MalformedTree("proof has too many signatures or too long a chain")
        return cls(
            take_int(version, "proof.set_version"),
            Ballot(
                take_int(round_, "proof.ballot.round"),
                take_peer(peer, "proof.ballot.peer"),
                take_bytes(nonce, "proof.ballot.nonce", size=STORE_NONCE_BYTES),
            ),
            tuple(_take_signature(item) for item in signature_trees),
            tuple(
                take_bytes(item, "proof.chain", size_max=CHAIN_RECORD_BYTES_MAX)
                for item in chain_trees
            ),
        )


def _take_signature(tree: Tree) -> GuardianSignature:
    guardian, nonce, signature = take_tuple(tree, "proof.signature", size=3)
    return GuardianSignature(
        take_peer(guardian, "proof.guardian"),
        take_bytes(nonce, "proof.store_nonce", size=STORE_NONCE_BYTES),
        take_bytes(signature, "proof.signature", size=SIGNATURE_BYTES),
    )


@frozen
class Register:
    """The value at one node of the trie, with the proof that it was chosen.

    `owner` is set exactly when `kind` is OWN. `parent_birth` is None for a universe. `proof`
    is None for what needs none: the universes of the genesis, and FROZEN, which every
    replica derives from two proved values by itself.
    """

    cidr: Cidr
    birth: Stamp
    stamp: Stamp
    parent_birth: Stamp | None
    kind: Kind
    shard: int = 0
    owner: Owner | None = None
    cause: int = Cause.GENESIS
    request: RequestId | None = None
    proof: Proof | None = field(default=None, repr=False)

    def body_tree(self) -> Tree:
        """Return the tree of the value without its proof."""
        owner: Tree = None
        if self.owner is not None:
            owner = (bytes(self.owner.peer), epoch_tree(self.owner.epoch), int(self.owner.tenure))
        return (
            REGISTER_FORMAT,
            self.cidr.to_tree(),
            tuple(self.birth),
            tuple(self.stamp),
            None if self.parent_birth is None else tuple(self.parent_birth),
            int(self.kind),
            self.shard,
            owner,
            int(self.cause),
            request_tree(self.request),
        )

    def to_tree(self) -> Tree:
        """Return the canonical tree: (body, proof)."""
        return (self.body_tree(), None if self.proof is None else self.proof.to_tree())

    @property
    def value_hash(self) -> bytes:
        """The hash that guardians sign: of the value without its proof."""
        return content_hash(self.body_tree())

    @classmethod
    def from_tree(cls, tree: Tree) -> Register:
        """Read a tree from outside; raises MalformedTree."""
        body, proof_tree = take_tuple(tree, "register", size=2)
        form, cidr, birth, stamp, link, kind_tree, shard, owner, cause, request = take_tuple(
            body, "register body", size=10
        )
        take_int(form, "register format", low=REGISTER_FORMAT, high=REGISTER_FORMAT)
        kind = Kind(take_int(kind_tree, "register kind", high=int(Kind.FROZEN)))
        if (owner is not None) != (kind is Kind.OWN):
            raise MalformedTree(f"register of kind {kind.name} with owner {owner!r}")
        return cls(
            cidr=Cidr.from_tree(cidr),
            birth=take_stamp(birth, "register birth"),
            stamp=take_stamp(stamp, "register stamp"),
            parent_birth=None if link is None else take_stamp(link, "register parent birth"),
            kind=kind,
            shard=take_int(shard, "register shard", high=65_535),
            owner=None if owner is None else _take_owner(owner),
            cause=take_int(cause, "register cause", high=255),
            request=take_request(request),
            proof=None if proof_tree is None else Proof.from_tree(proof_tree),
        )

    def encode(self) -> bytes:
        """Return the bytes that are replicated and stored."""
        return encode(self.to_tree())

    @classmethod
    def decode(cls, value: bytes) -> Register:
        """Read bytes from outside; raises MalformedTree."""
        return cls.from_tree(decode(value))


def take_stamp(tree: Tree, name: str) -> Stamp:
    """Return `tree`, (epoch, seq, place), as a stamp; raises MalformedTree."""
    epoch, seq, place = take_tuple(tree, name, size=3)
    return Stamp(take_int(epoch, name), take_int(seq, name), take_int(place, name))


def request_tree(request: RequestId | None) -> Tree:
    """Return the tree of a request id, or None."""
    if request is None:
        return None
    return (bytes(request.peer), epoch_tree(request.epoch), request.number)


def take_request(tree: Tree) -> RequestId | None:
    """Read a request id or None; raises MalformedTree."""
    if tree is None:
        return None
    peer, epoch, number = take_tuple(tree, "request", size=3)
    return RequestId(
        take_peer(peer, "request.peer"),
        take_epoch(epoch, "request.epoch"),
        take_int(number, "request.number"),
    )


def _take_owner(tree: Tree) -> Owner:
    peer, epoch, tenure = take_tuple(tree, "owner", size=3)
    return Owner(
        take_peer(peer, "owner.peer"),
        take_epoch(epoch, "owner.epoch"),
        Tenure(take_int(tenure, "owner.tenure", high=int(Tenure.PORTABLE))),
    )


def join(a: Register, b: Register) -> Register:
    """Return the least upper bound of two values of one node: the higher stamp.

    Equal stamps with different values are FROZEN, the same on every replica whatever the
    order; two proofs of one value are both good, and the lower bytes are kept so that the
    result does not depend on the order either.
    """
    if a.cidr != b.cidr:
        raise InternalError(f"join of registers of {a.cidr} and {b.cidr}")
    if a.stamp != b.stamp:
        return a if a.stamp > b.stamp else b
    if a == b:
        return a
    if evolve(a, proof=None) == evolve(b, proof=None):
        return min(a, b, key=Register.encode)
    links = [r.parent_birth for r in (a, b) if r.parent_birth is not None]
    return Register(
        cidr=a.cidr,
        birth=max(a.birth, b.birth),
        stamp=a.stamp,
        parent_birth=max(links) if links else None,
        kind=Kind.FROZEN,
        shard=0,
        cause=Cause.CONFLICT,
    )
