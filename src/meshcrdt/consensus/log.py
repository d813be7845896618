"""What one node knows to be decided: the newest proved entry, and the chain of guardian sets.

An entry holds the whole value, so a node may skip what was decided while it was away. It
may not skip a change of the guardians: each set is proved by the one before, back to the
set that the genesis names. So the log keeps those entries for ever, and the newest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import frozen

from meshcrdt.base.tree import Tree, take_tuple
from meshcrdt.consensus.entries import Entry, beginning
from meshcrdt.consensus.guardians import GuardianSet
from meshcrdt.consensus.proofs import Proof, Verify, proof_fault
from meshcrdt.errors import InternalError

CHAIN_MAX = 1_024
"""Changes of the guardians that a register can have in its life."""


@frozen
class Decided:
    """An entry with the proof that it was chosen."""

    entry: Entry
    proof: Proof

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.entry.to_tree(), self.proof.to_tree())

    @classmethod
    def from_tree(cls, tree: Tree) -> Decided:
        """Read a tree from outside; raises MalformedTree."""
        entry, proof = take_tuple(tree, "decided", size=2)
        return cls(Entry.from_tree(entry), Proof.from_tree(proof))


class Verdict(Enum):
    """What became of an entry that was offered to a log."""

    NEWS = "news"
    KNOWN = "known"
    GAP = "gap"
    """A change of the guardians before it is not known here: fetch the chain."""
    REFUSED = "refused"
    FORK = "fork"
    """It is proved, and so is another one of the same stamp: guardians lied, or lost stores."""


class Log:
    """The decided entries of one register, as far as this node knows them."""

    def __init__(
        self, register: str, genesis: bytes, guardians: GuardianSet, verify: Verify
    ) -> None:
        """Open an empty log; `guardians` are those that the genesis names."""
        self.register = register
        self._genesis = genesis
        self._verify = verify
        self._begins = beginning(register, genesis, guardians)
        self._first = guardians
        self._changes: list[Decided] = []
        self._head: Decided | None = None
        self.fault = ""
        """Why the last entry was refused."""

    @property
    def head(self) -> Decided | None:
        """The newest proved entry, or None while nothing was decided."""
        return self._head

    @property
    def stamp(self) -> int:
        """The stamp of the newest proved entry; 0 while nothing was decided."""
        return 0 if self._head is None else self._head.entry.stamp

    @property
    def tip(self) -> bytes:
        """What the next entry has to name as the one before it."""
        return self._begins if self._head is None else self._head.entry.hash

    @property
    def body(self) -> bytes | None:
        """The value in force, or None while nothing was decided."""
        return None if self._head is None else self._head.entry.body

    @property
    def guardians(self) -> GuardianSet:
        """The newest proved set."""
        return self._first if self._head is None else self._head.entry.guardians

    @property
    def chain(self) -> Sequence[Decided]:
        """What a newcomer needs: every change of the guardians, then the newest entry."""
        head = self._head
        if head is None or (self._changes and self._changes[-1] is head):
            return tuple(self._changes)
        return (*self._changes, head)

    def why_full(self, guardians: GuardianSet) -> str | None:
        """Return why a next entry may not name these guardians, or None: the chain has an end."""
        if guardians.version == self.guardians.version or len(self._changes) < CHAIN_MAX:
            return None
        return (
            f"the guardians of {self.register!r} changed {CHAIN_MAX} times already, "
            "which is as often as they can"
        )

    def admit(self, decided: Decided) -> Verdict:
        """Take a proved entry in. Remote input: never raises; `fault` says why it was refused."""
        entry = decided.entry
        if entry.register != self.register:
            return self._refuse(f"it is of register {entry.register!r}")
        if self._head is not None and entry.stamp <= self._head.entry.stamp:
            return self._older(decided)
        if decided.proof.set_version > self.guardians.version:
            return Verdict.GAP
        if entry.stamp == self.stamp + 1 and entry.previous != self.tip:
            return self._fork(decided)
        fault = proof_fault(self._genesis, entry, decided.proof, self.guardians, self._verify)
        if fault is not None:
            return self._refuse(fault)
        full = self.why_full(entry.guardians)
        if full is not None:
            return self._refuse(full)
        if entry.guardians.version != self.guardians.version:
            self._changes.append(decided)
        self._head = decided
        return Verdict.NEWS

    def _older(self, decided: Decided) -> Verdict:
        head = self._head
        if head is None or decided.entry.stamp < head.entry.stamp:
            return Verdict.KNOWN
        if decided.entry.hash == head.entry.hash:
            return Verdict.KNOWN
        return self._fork(decided)

    def _fork(self, decided: Decided) -> Verdict:
        """Tell a proved rival of what we hold from a mere forgery."""
        sets = [self._first, *(change.entry.guardians for change in self._changes)]
        before = next((s for s in sets if s.version == decided.proof.set_version), None)
        if before is None:
            return self._refuse(f"guardian set {decided.proof.set_version} is not known")
        fault = proof_fault(self._genesis, decided.entry, decided.proof, before, self._verify)
        if fault is not None:
            return self._refuse(fault)
        self.fault = f"two entries of stamp {decided.entry.stamp} are proved"
        return Verdict.FORK

    def _refuse(self, fault: str) -> Verdict:
        self.fault = fault
        return Verdict.REFUSED

    def check(self) -> None:
        """Raise InternalError when the chain of guardian sets has a hole."""
        version = self._first.version
        for change in self._changes:
            if change.entry.guardians.version != version + 1:
                raise InternalError(f"register {self.register}: a guardian set is missing")
            version += 1
        if self.guardians.version != version:
            raise InternalError(f"register {self.register}: the newest set is not in the chain")
