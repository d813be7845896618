"""Who may decide: a versioned set of guardians, each an identity together with one store.

A guardian that lost its store, or cannot prove that the store is the one it wrote last, is
another guardian (rule 4, C5): its nonce differs, so nothing that it says counts until a
change of the set takes it in again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from attrs import field, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.trust.identity import PUBLIC_BYTES, peer_id

GUARDIANS_MAX = 7
STORE_NONCE_BYTES = 8


@frozen
class Guardian:
    """One identity with one store; `nonce` was drawn when the store began."""

    public: bytes = field(repr=False)
    nonce: bytes
    peer: PeerId = field(init=False)

    @peer.default
    def _peer(self) -> PeerId:
        return peer_id(self.public)

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.public, self.nonce)

    @classmethod
    def from_tree(cls, tree: Tree) -> Guardian:
        """Read a tree from outside; raises MalformedTree."""
        public, nonce = take_tuple(tree, "guardian", size=2)
        return cls(
            take_bytes(public, "guardian.public", size=PUBLIC_BYTES),
            take_bytes(nonce, "guardian.nonce", size=STORE_NONCE_BYTES),
        )


@frozen
class GuardianSet:
    """1 to 7 guardians, sorted by peer, and the version of the set: 1 for that of the genesis."""

    version: int
    members: tuple[Guardian, ...]

    @classmethod
    def make(cls, version: int, members: Iterable[Guardian]) -> GuardianSet:
        """Return a set; raises UsageError for none, too many, or one peer twice."""
        ordered = tuple(sorted(members, key=lambda guardian: guardian.peer))
        if not 1 <= len(ordered) <= GUARDIANS_MAX:
            raise UsageError(f"{len(ordered)} guardians: 1 to {GUARDIANS_MAX} are accepted")
        if len({guardian.peer for guardian in ordered}) != len(ordered):
            raise UsageError("one peer is named twice as a guardian")
        return cls(version, ordered)

    def succeeded_by(self, members: Iterable[Guardian]) -> GuardianSet:
        """Return the next set; raises UsageError like `make`."""
        return GuardianSet.make(self.version + 1, members)

    def is_majority(self, voters: Collection[PeerId]) -> bool:
        """Return whether more than half of the members are among the voters."""
        return 2 * sum(member.peer in voters for member in self.members) > len(self.members)

    def find(self, peer: PeerId) -> Guardian | None:
        """Return the member with this peer id, or None."""
        return next((member for member in self.members if member.peer == peer), None)

    @property
    def peers(self) -> frozenset[PeerId]:
        """The members' peer ids."""
        return frozenset(member.peer for member in self.members)

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.version, tuple(member.to_tree() for member in self.members))

    @classmethod
    def from_tree(cls, tree: Tree) -> GuardianSet:
        """Read a tree from outside; raises MalformedTree."""
        version, members = take_tuple(tree, "guardians", size=2)
        items = take_tuple(members, "guardians.members")
        if not 1 <= len(items) <= GUARDIANS_MAX:
            raise MalformedTree(f"{len(items)} guardians: 1 to {GUARDIANS_MAX} are accepted")
        found = tuple(Guardian.from_tree(item) for item in items)
        if any(a.peer >= b.peer for a, b in pairwise(found)):
            raise MalformedTree("guardians are not sorted by peer, or one is named twice")
        return cls(take_int(version, "guardians.version", low=1), found)
