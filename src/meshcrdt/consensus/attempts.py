"""What a proposer is asked for, and the state of one attempt to have it chosen."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import define, field, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.ballots import Ballot
from meshcrdt.consensus.entries import Entry
from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.consensus.messages import Promise, Refusal
from meshcrdt.consensus.proofs import Vote


@frozen
class Draft:
    """What a change makes of the value; `guardians` None keeps the set."""

    body: bytes
    guardians: tuple[Guardian, ...] | None = None


@frozen
class Impossible:
    """The change cannot be made to the value as it is: one line that says why."""

    reason: str


Change = Callable[[bytes | None, GuardianSet], Draft | Impossible]
"""(value in force, its guardians) -> what to propose. It may be called again for a later value."""


@define(eq=False)
class Proposal:
    """One change that a caller wants; `drafts` are the hashes of entries made for it."""

    request: int
    change: Change
    deadline: float
    drafts: set[bytes] = field(factory=set)


class Phase(Enum):
    """What an attempt waits for."""

    PREPARE = "prepare"
    ACCEPT = "accept"


@define(eq=False)
class Attempt:
    """One ballot and what came of it; `before` is the set in force when it began."""

    ballot: Ballot
    before: GuardianSet
    set_version: int
    deadline: float
    phase: Phase = Phase.PREPARE
    promises: dict[PeerId, Promise] = field(factory=dict)
    refused: dict[PeerId, Refusal] = field(factory=dict)
    entry: Entry | None = None
    votes: tuple[Vote, ...] = ()
    asked: set[PeerId] = field(factory=set)

    def has_promises(self, guardians: GuardianSet) -> bool:
        """Return whether a majority of a set promised, each on the store that the set names."""
        promises = self.promises
        return guardians.is_majority(
            {
                member.peer
                for member in guardians.members
                if member.peer in promises and promises[member.peer].nonce == member.nonce
            }
        )

    def best(self, is_next: Callable[[Entry], bool]) -> Entry | None:
        """Return what may be chosen already: of the next entries, that of the highest ballot."""
        held = (promise.accepted for promise in self.promises.values())
        found = [accepted for accepted in held if accepted is not None and is_next(accepted.entry)]
        return max(found, key=lambda accepted: accepted.ballot).entry if found else None
