"""The value of the governance register: what may be decided, and what guardians refuse."""

from __future__ import annotations

import pytest
from attrs import evolve

from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.entries import BODY_BYTES_MAX, Entry
from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.governance import (
    ADOPTIONS_MAX,
    EPOCH_LEAP,
    EVICTED_MAX,
    NOTHING,
    Adoption,
    Evicted,
    Governance,
    end_adoption,
    evict,
    judge,
    prune,
)

LONE = GuardianSet.make(1, [Guardian(bytes(32), bytes(8))])


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(16, "big"))


def gone(state: Governance, number: int, *, stamp: int, adopter: int | None = None) -> Governance:
    after = evict(
        state,
        stamp=stamp,
        peer=peer(number),
        epoch_counter=number,
        adopter=None if adopter is None else peer(adopter),
    )
    assert isinstance(after, Governance)
    return after


def entry(body: bytes) -> Entry:
    return Entry("governance", 1, bytes(32), LONE, body)


def test_an_eviction_sets_a_floor_far_above_every_epoch_of_the_member() -> None:
    state = gone(NOTHING, 5, stamp=3, adopter=9)
    assert state.evicted == (Evicted(peer(5), 5 + EPOCH_LEAP, 3),)
    assert state.adoptions == (Adoption(peer(5), peer(9), 5 + EPOCH_LEAP, 3),)
    assert Governance.decode(state.encode()) == state


def test_who_came_back_and_goes_again_gets_a_higher_floor() -> None:
    first = gone(NOTHING, 5, stamp=1, adopter=9)
    floor = first.evicted[0].floor
    assert isinstance(evict(first, stamp=2, peer=peer(5), epoch_counter=7, adopter=None), str)
    again = evict(first, stamp=2, peer=peer(5), epoch_counter=floor + 1, adopter=peer(9))
    assert isinstance(again, Governance)
    assert again.evicted[0].floor > floor
    assert again.adoptions[0].floor > first.adoptions[0].floor
    assert again.adoptions[0].capability != first.adoptions[0].capability


def test_an_adopter_that_goes_hands_on_what_it_signed_for() -> None:
    state = gone(gone(NOTHING, 5, stamp=1, adopter=9), 9, stamp=2, adopter=8)
    found = {each.origin: each for each in state.adoptions}
    assert {each.adopter for each in found.values()} == {peer(8)}
    assert found[peer(5)].floor == 5 + 2 * EPOCH_LEAP


def test_pruning_forgets_only_what_was_decided_up_to_then() -> None:
    state = gone(gone(NOTHING, 5, stamp=1), 6, stamp=2)
    pruned = prune(state, upto=1)
    assert isinstance(pruned, Governance)
    assert [each.peer for each in pruned.evicted] == [peer(6)]
    assert pruned.pruned == 1
    assert prune(pruned, upto=1) == "everything up to decision 1 is pruned already"
    assert prune(NOTHING, upto=4) == "no eviction up to decision 4 is left to prune"


def test_an_adoption_ends_once() -> None:
    state = gone(NOTHING, 5, stamp=1, adopter=9)
    ended = end_adoption(state, origin=peer(5))
    assert isinstance(ended, Governance)
    assert ended.adoptions == ()
    assert end_adoption(ended, origin=peer(5)) == f"nobody signs for {peer(5)}"


def test_the_value_always_fits_its_register() -> None:
    state = NOTHING
    for number in range(1, EVICTED_MAX + 1):
        adopter = 100_000 if number <= ADOPTIONS_MAX else None
        state = gone(state, number, stamp=1 << 40, adopter=adopter)
    assert len(state.encode()) <= BODY_BYTES_MAX
    full = evict(state, stamp=2, peer=peer(9_999), epoch_counter=1, adopter=None)
    assert isinstance(full, str)
    assert str(EVICTED_MAX) in full
    room = evolve(state, evicted=())
    full = evict(room, stamp=2, peer=peer(9_999), epoch_counter=1, adopter=peer(1 << 30))
    assert isinstance(full, str)
    assert str(ADOPTIONS_MAX) in full


def test_guardians_refuse_what_breaks_a_rule() -> None:
    old = gone(gone(NOTHING, 5, stamp=1, adopter=9), 6, stamp=2)
    assert judge(entry(old.encode()), NOTHING.encode()) is None
    for new, why in (
        (evolve(old, evicted=old.evicted[1:]), "forgotten before"),
        (
            evolve(old, adoptions=(evolve(old.adoptions[0], adopter=peer(1)),)),
            "below the old one",
        ),
    ):
        refusal = judge(entry(new.encode()), old.encode())
        assert refusal is not None
        assert why in refusal
    back = evolve(old, pruned=0)
    assert judge(entry(back.encode()), evolve(old, pruned=1).encode()) is not None
    assert judge(entry(b"no tree"), None) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda state: evolve(state, evicted=state.evicted[::-1]),
        lambda state: evolve(state, evicted=state.evicted * 2),
        lambda state: evolve(state, adoptions=state.adoptions * 2),
        lambda state: evolve(state, pruned=-1),
    ],
)
def test_a_value_from_outside_is_canonical(change) -> None:
    state = gone(gone(NOTHING, 5, stamp=1, adopter=9), 6, stamp=2)
    with pytest.raises(MalformedTree):
        Governance.from_tree(change(state).to_tree())
