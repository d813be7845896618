"""States follow from what is held, in whatever order it came; and rules that are broken show.

Accusations, refutations, goodbyes and new epochs of six members are drawn as histories of
their own streams, interleaved at random, and told to a detector. Long after the last fact
its states are those of a model that sees only the last fact of each stream.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from depth import examples
from detector_facts import Fact, Said, Witness, accusation, expected, peer, record
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.base.ids import PeerId
from meshcrdt.topology.adverts import Word
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.liveness import Liveness
from meshcrdt.topology.witnesses import Witnesses

NUMBERS = range(1, 7)
numbers = st.sampled_from(NUMBERS)
LONG_S = 100.0

accusations = st.builds(accusation, numbers, st.integers(1, 2), st.integers(0, 2))


@st.composite
def streams(draw: st.DrawFn) -> list[Fact]:
    """Return what one origin says over its life, in the order in which it says it."""
    number = draw(numbers)
    domain = draw(st.sampled_from(["", "a", "b"]))
    facts: list[Fact] = []
    for counter in range(1, draw(st.integers(1, 2)) + 1):
        facts.append(record(number, counter=counter, domain=domain))
        for incarnation in range(draw(st.integers(0, 2)) + 1):
            named = draw(st.sets(st.integers(0, 6).filter(lambda n: n != number), max_size=4))
            accused = draw(st.lists(accusations, max_size=3, unique_by=lambda a: a.subject))
            others = tuple(a for a in accused if a.subject != peer(number))
            facts.append(Said(number, counter, incarnation, frozenset(named), others))
    if draw(st.booleans()):
        facts.append(record(number, counter=counter, standing=Standing.LEFT, domain=domain))
    return facts


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Fact], list[Fact], set[int]]:
    """Return two interleavings of the same streams, and who is linked."""
    told = draw(st.lists(streams(), min_size=2, max_size=6, unique_by=origin_of))
    links = draw(st.sets(numbers, max_size=2))
    return draw(interleaved(told)), draw(interleaved(told)), links


def origin_of(stream: list[Fact]) -> int:
    first = stream[0]
    return first.origin if isinstance(first, Said) else first.peer[0]


@st.composite
def interleaved(draw: st.DrawFn, told: list[list[Fact]]) -> list[Fact]:
    waiting = [list(stream) for stream in told]
    facts: list[Fact] = []
    while any(waiting):
        stream = draw(st.sampled_from([stream for stream in waiting if stream]))
        facts.append(stream.pop(0))
    return facts


def conclusion(facts: Iterable[Fact], links: Iterable[int]) -> dict:
    """Return the states of all members long after the facts were told, in this order."""
    witness = Witness(links)
    for fact in facts:
        witness.tell(fact)
    witness.wait(LONG_S)
    return witness.states(member[0] for member in witness.members)


@given(histories())
@settings(max_examples=examples(100))
def test_states_follow_from_what_is_held_whatever_came_first(history):
    facts, shuffled, links = history
    states = conclusion(facts, links)
    assert states == conclusion(shuffled, links)
    assert states == expected(facts, links, NUMBERS)


# --- mutations --------------------------------------------------------------------------


def one_is_enough(self: Witnesses, accusers: Iterable[PeerId]) -> bool:
    return bool(list(accusers))


def two_of_one_domain_are_enough(self: Witnesses, accusers: Iterable[PeerId]) -> bool:
    return len(list(accusers)) > 1


def anybody_refutes(self: Witnesses, peer: PeerId) -> Word:
    """Take the highest incarnation that anybody names, not only the subject's own."""
    epoch, incarnation = honest_word(self, peer)
    named = [i for e, i in self._accused.get(peer, {}).values() if e == epoch]
    return epoch, max([incarnation, *named])


def back_in_the_same_epoch(self: Liveness, subject: PeerId, old: object, new: object) -> None:
    if getattr(new, "standing", None) is Standing.IN:
        self._left.pop(subject, None)
    honest_member(self, subject, old, new)


honest_word = Witnesses.word
honest_member = Liveness.member


def triangle(*, domains: str = "   ") -> list[Fact]:
    """Members 1, 2 and 3, each linked with the others and with this node."""
    facts: list[Fact] = []
    for number, domain in zip((1, 2, 3), domains, strict=True):
        facts.append(record(number, domain=domain.strip()))
        facts.append(Said(number, neighbours={0, 1, 2, 3} - {number}))
    return facts


def accusing(number: int, subject: int, incarnation: int = 0) -> Said:
    others = {0, 1, 2, 3} - {number}
    return Said(number, 1, 0, others, (accusation(subject, 1, incarnation),))


ONE_ACCUSES = [*triangle(), accusing(2, 1)]
TWO_OF_ONE_DOMAIN = [*triangle(domains="baa"), accusing(2, 1), accusing(3, 1)]
REFUTED_BY_ANOTHER = [*triangle(), accusing(2, 1), accusing(3, 1), *(
    record(4), Said(4, neighbours={0}, accuses=(accusation(1, 1, 7),))
)]  # fmt: skip
SAME_EPOCH = [*triangle(), record(1, standing=Standing.LEFT), record(1)]


@pytest.mark.parametrize(
    ("owner", "name", "mutant", "facts"),
    [
        (Witnesses, "enough", one_is_enough, ONE_ACCUSES),
        (Witnesses, "enough", two_of_one_domain_are_enough, TWO_OF_ONE_DOMAIN),
        (Witnesses, "word", anybody_refutes, REFUTED_BY_ANOTHER),
        (Liveness, "member", back_in_the_same_epoch, SAME_EPOCH),
    ],
)
def test_a_broken_rule_of_evidence_is_caught(owner, name, mutant, facts, monkeypatch):
    links = [2, 3]
    honest = expected(facts, links, NUMBERS)
    assert conclusion(facts, links) == honest
    monkeypatch.setattr(owner, name, mutant)
    assert conclusion(facts, links) != honest
