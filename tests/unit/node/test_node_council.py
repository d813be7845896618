"""Who should guard: one step at a time, so that the old set can always decide the next one."""

from __future__ import annotations

from itertools import combinations

import pytest

from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.node.council import Candidate, wanted_guardians
from meshcrdt.trust.identity import Identity

IDENTITIES = sorted((Identity(bytes([n]) * 32) for n in range(1, 13)), key=lambda i: i.peer)


def guardian(number: int, store: int = 0) -> Guardian:
    return Guardian(IDENTITIES[number].public, bytes([store]) * 8)


def candidates(*guardians: Guardian) -> dict:
    return {each.peer: Candidate(each, str(each.peer)) for each in guardians}


def in_place(before: GuardianSet, wanted: tuple[Guardian, ...]) -> int:
    return len(set(before.members) & set(wanted))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("share", ["gone", "another store"])
def test_a_majority_of_the_old_set_stays_whatever_happened(size: int, share: str) -> None:
    before = GuardianSet.make(1, [guardian(n) for n in range(size)])
    for count in range(1, size + 1):
        for struck in combinations(range(size), count):
            if share == "gone":
                lost = frozenset(guardian(n).peer for n in struck)
                seen = candidates(*(guardian(n) for n in range(12) if n not in struck))
            else:
                lost = frozenset()
                seen = candidates(*(guardian(n, int(n in struck)) for n in range(12)))
            wanted = wanted_guardians(before, seen, lost)
            assert wanted is not None
            assert 2 * in_place(before, wanted) > size, (struck, wanted)
            assert in_place(before, wanted) < size, "no step was taken"


def test_step_after_step_everyone_who_is_lost_is_replaced() -> None:
    now = GuardianSet.make(1, [guardian(n) for n in range(5)])
    struck = frozenset(guardian(n).peer for n in range(4))
    seen = candidates(*(guardian(n) for n in range(4, 12)))
    for _ in range(4):
        wanted = wanted_guardians(now, seen, struck)
        if wanted is None:
            break
        now = now.succeeded_by(wanted)
    assert not now.peers & struck
    assert len(now.members) == 5
