"""This node's part in governing the cluster: decisions read, published, proposed and cared for.

What is decided is published in the durable channel "governance", proof and all, so it
reaches everyone as any other record does, and nobody has to trust who brings it. One
guardian at a time, the **speaker** (the lowest id of those alive), does what nobody asks
for: it lets guardians grow to three and five and replaces lost ones, forgets evictions that
every member knows on disk, and lets members go that said goodbye. A speaker that is wrong
about being the speaker costs a rival ballot, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.attempts import Change, Draft, Impossible
from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.consensus.log import Decided, Log
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip import governance
from meshcrdt.gossip.governance import Governance
from meshcrdt.wire import decode, encode

KEY_PREFIX = governance.REGISTER.encode() + b"/"
STAMP_BYTES = 8

CARE_EVERY_S = 5.0
"""How often the speaker looks whether anything is to be done."""
PROPOSAL_S = 10.0
"""How long a proposal that nobody waits for may take."""
STAY_S = 60.0
"""A member that has been alive for so long may become a guardian."""
GUARDIAN_LOST_S = 300.0
"""A guardian that is dead for so long is replaced."""
SETTLE_S = 30.0
"""How long after an eviction is pruned its adopter waits before it signs."""
EMPTY_S = 20.0
"""How long nothing is left of a departed member's records before nobody signs for it."""
LEFT_KEEP_S = 60.0
"""How long a member that said goodbye is still shown before it is let go."""


def record_key(stamp: int) -> bytes:
    """Return the key under which a decision is published."""
    return KEY_PREFIX + stamp.to_bytes(STAMP_BYTES, "big")


def record_value(decided: Decided) -> bytes:
    """Return the record value of a decision."""
    return encode(decided.to_tree())


def read_record(raw: bytes) -> Decided | None:
    """Read a published decision; None for what is none."""
    try:
        return Decided.from_tree(decode(raw))
    except MalformedTree:
        return None


def obsolete(log: Log, own_keys: Iterable[bytes]) -> list[bytes]:
    """Return which own records nobody needs: not the newest decision, nor a change of guardians."""
    needed = {record_key(decided.entry.stamp) for decided in log.chain}
    return [key for key in own_keys if key.startswith(KEY_PREFIX) and key not in needed]


# --- proposals ------------------------------------------------------------------------------


def changing(log: Log, change: Callable[[Governance, int], Governance | str]) -> Change:
    """Return a proposal from a change of the value: (value, stamp) -> value, or why not."""

    def apply(body: bytes | None, _guardians: GuardianSet) -> Draft | Impossible:
        changed = change(Governance.decode(body), log.stamp + 1)
        return Impossible(changed) if isinstance(changed, str) else Draft(changed.encode())

    return apply


def regrouping(guardians: tuple[Guardian, ...]) -> Change:
    """Return a proposal of other guardians; the value stays."""

    def apply(body: bytes | None, in_force: GuardianSet) -> Draft | Impossible:
        if in_force.members == guardians:
            return Impossible("they are the guardians already")
        return Draft(Governance.decode(body).encode(), guardians)

    return apply


# --- who should guard -----------------------------------------------------------------------

SIZES = ((7, 5), (3, 3))
"""(members that stay, guardians): below three members one guardian decides alone."""


@frozen
class Candidate:
    """A member that may guard: it has been alive for a while."""

    guardian: Guardian
    domain: str
    """Its declared failure domain; a host that declares none is one by itself."""


def wanted_guardians(
    now: GuardianSet, candidates: Mapping[PeerId, Candidate], lost: frozenset[PeerId]
) -> tuple[Guardian, ...] | None:
    """Return the guardians that there should be, sorted; None when these are the right ones.

    Args:
        now: The set in force.
        candidates: Members that have stayed, by id; of a guardian with its present store.
        lost: Guardians that are gone for good, or for so long that another takes over.

    Those that serve stay. A guardian whose store is another than the set names is replaced
    by itself, on the store it has (rule 4). One step at a time: only so many go, or change
    their store, as leave a majority of the old set in place; the others' turn comes next.
    """
    size = next((count for least, count in SIZES if len(candidates) >= least), 1)
    kept: list[Guardian] = []
    replaceable = (len(now.members) - 1) // 2
    for member in now.members:
        candidate = candidates.get(member.peer)
        present = member if candidate is None else candidate.guardian
        if (member.peer in lost or present != member) and replaceable > 0:
            replaceable -= 1
            if member.peer not in lost:
                kept.append(present)
        else:
            kept.append(member)
    size = max(size, min(len(now.members), len(kept)))
    domains = {candidates[m.peer].domain for m in kept if m.peer in candidates}
    fresh = sorted(
        (c for c in candidates.values() if c.guardian.peer not in {m.peer for m in kept}),
        key=lambda c: c.guardian.peer,
    )
    for again in (False, True):  # first those of domains that no guardian is in
        for candidate in fresh:
            if len(kept) >= size or candidate.guardian in kept:
                continue
            if again or candidate.domain not in domains:
                kept.append(candidate.guardian)
                domains.add(candidate.domain)
    if len(kept) % 2 == 0 and len(kept) > 1:
        newest = [m for m in kept if now.find(m.peer) is None]
        if newest:
            kept.remove(newest[-1])  # an even set tolerates no more than the odd one below it
    chosen = tuple(sorted(kept, key=lambda guardian: guardian.peer))
    return None if not chosen or chosen == now.members else chosen


def speaker(guardians: GuardianSet, alive: frozenset[PeerId]) -> PeerId | None:
    """Return the guardian that takes care, as this node sees it: the lowest id alive."""
    return min(guardians.peers & alive, default=None)
