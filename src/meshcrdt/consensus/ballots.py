"""Ballots: which attempt of which proposer, in an order that no restart can repeat."""

from __future__ import annotations

from typing import NamedTuple

from meshcrdt.base.ids import INSTANCE_BYTES, PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_peer, take_tuple


class Ballot(NamedTuple):
    """(round, proposer, the proposer's instance nonce), compared in that order.

    One ballot carries one value (rule 3, C3). The nonce is drawn at every start, so a
    proposer that forgot its rounds, or a copy of it, never uses a ballot twice.
    """

    round: int
    peer: PeerId
    nonce: bytes

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.round, bytes(self.peer), self.nonce)

    @classmethod
    def from_tree(cls, tree: Tree, field: str = "ballot") -> Ballot:
        """Read a tree from outside; raises MalformedTree."""
        number, peer, nonce = take_tuple(tree, field, size=3)
        return cls(
            take_int(number, f"{field}.round"),
            take_peer(peer, f"{field}.peer"),
            take_bytes(nonce, f"{field}.nonce", size=INSTANCE_BYTES),
        )


def take_ballot(tree: Tree, field: str) -> Ballot | None:
    """Read a ballot, or None where there is none; raises MalformedTree."""
    return None if tree is None else Ballot.from_tree(tree, field)


ROUND_HASTE_MAX = 1 << 10
"""A proposer goes up so far at once on the word of a guardian: one that lies costs attempts only.

Well below ROUND_LEAP_MAX, so that guardians that missed some attempts still answer the next.
"""

ROUND_LEAP_MAX = 1 << 20
"""An acceptor refuses a round so far above its own: one liar must not use up all rounds.

It is that acceptor's own choice and no rule of the value, so nothing diverges by it.
"""
