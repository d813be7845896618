"""Adverts that cannot wait: nobody is missing from the graph because its neighbours changed."""

from __future__ import annotations

import pytest
from detector_facts import Said, Witness, accusation, peer, record

from meshcrdt.topology.outputs import Advertise
from meshcrdt.topology.visibility import OTHERS_WAIT_S, Visibility

MEMBERS = 40
"""Unhurried adverts come once in so many seconds."""
SOON_S = OTHERS_WAIT_S + 2.0


def seen_through_others() -> Witness:
    """Node 0 has a link with 2 that it left to 3 and 4 to tell, of whom 2 has links too."""
    witness = Witness()
    witness.tell(*(record(number) for number in range(MEMBERS)))
    for number in (5, 6):
        witness.tell(Said(number, neighbours=frozenset({0, 7})))
        witness.link(number)
    witness.wait(3.0)
    witness.tell(
        Said(3, neighbours=frozenset({2, 5})),
        Said(4, neighbours=frozenset({2, 6})),
        Said(2, neighbours=frozenset({0, 3, 4})),
    )
    witness.link(2)
    witness.wait(SOON_S)
    assert not tells_of_2(witness), "two others do"
    return witness


def tells_of_2(witness: Witness) -> bool:
    said = [output.advert for output in witness.outputs(Advertise)]
    return bool(said) and said[-1] is not None and peer(2) in said[-1].neighbours


def others_have_other_links(witness: Witness) -> None:
    witness.tell(
        Said(3, incarnation=1, neighbours=frozenset({5})),
        Said(4, incarnation=1, neighbours=frozenset({6})),
    )


def others_are_gone(witness: Witness) -> None:
    accuses = (accusation(3), accusation(4))
    witness.tell(
        Said(5, incarnation=1, neighbours=frozenset({0, 7}), accuses=accuses),
        Said(6, incarnation=1, neighbours=frozenset({0, 7}), accuses=accuses),
    )


@pytest.mark.parametrize("change", [others_have_other_links, others_are_gone])
def test_who_was_seen_through_others_is_told_of_when_they_fall_away(change) -> None:
    witness = seen_through_others()
    change(witness)
    witness.wait(SOON_S)
    assert tells_of_2(witness)


@pytest.mark.parametrize("change", [others_have_other_links, others_are_gone])
def test_looking_only_at_new_links_is_caught(change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Visibility, "faded", lambda self, peer: None)
    witness = seen_through_others()
    change(witness)
    witness.wait(SOON_S)
    assert not tells_of_2(witness)
