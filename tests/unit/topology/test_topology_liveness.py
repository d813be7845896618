"""Who is believed about whom: accusations, refutations, goodbyes, liars, and what is told."""

from __future__ import annotations

import pytest
from detector_facts import Said, Witness, accusation, epoch, peer, record

from meshcrdt.base.tree import INT_MAX
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.adverts import ACCUSATIONS_MAX, NEIGHBOURS_MAX, Accusation, Advert
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.liveness import Doubt
from meshcrdt.topology.local_health import SCORE_MAX
from meshcrdt.topology.outputs import Advertise, BaselineChanged, PeerState, StateChanged
from meshcrdt.topology.swim import Ended, Verdict

DEAD_S = 5.1


def ring(size: int, links: tuple[int, ...] = (1, 2), domains: str = "") -> Witness:
    """Members 1..size in a ring with chords, and this node linked with some of them."""
    witness = Witness(links)
    for number in range(1, size + 1):
        domain = domains[number - 1] if domains else ""
        near = {(number + step - 1) % size + 1 for step in (-2, -1, 1, 2)}
        near |= {0} if number in links else set()
        witness.tell(record(number, domain=domain), Said(number, neighbours=near - {number}))
    return witness


def accuse(witness: Witness, by: int, subject: int, incarnation: int = 0) -> None:
    said = witness.detector.graph.advert(peer(by))
    near = frozenset(p[0] for p in said.neighbours if p != peer(subject))
    accused = (accusation(subject, 1, incarnation),)
    witness.tell(Said(by, 1, said.incarnation, near, accused))


# --- adverts ----------------------------------------------------------------------------


def test_an_advert_round_trips_and_says_each_thing_once():
    full = Advert(3, frozenset(map(peer, (9, 4))), (accusation(7, 2, 1),))
    assert Advert.from_tree(full.to_tree()) == full
    assert full.to_tree()[2] == peer(4) + peer(9)  # type: ignore[index]


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (0, 2, "version"),
        (1, -1, "incarnation"),
        (2, b"\0" * 17, "neighbours"),
        (2, b"\0" * 16 * (NEIGHBOURS_MAX + 1), "neighbours"),
        (3, ((peer(1), 1, b"\1" * 8, 0),) * (ACCUSATIONS_MAX + 1), "accusations"),
        (3, ((b"short", 1, b"\1" * 8, 0),), "subject"),
        (3, ((peer(1), 1, b"\1" * 8),), "accusation"),
    ],
)
def test_a_malformed_advert_names_the_field(place: int, value: object, field: str):
    tree = list(Advert(1, frozenset({peer(2)})).to_tree())  # type: ignore[arg-type]
    tree[place] = value
    with pytest.raises(MalformedTree, match=field):
        Advert.from_tree(tuple(tree))


# --- accusers ---------------------------------------------------------------------------


def test_one_accuser_makes_suspect_and_kills_nobody():
    witness = ring(8)
    accuse(witness, 5, 6)
    witness.wait(60.0)
    assert witness.state(6) is PeerState.SUSPECT


def test_two_accusers_kill_unless_the_subject_answers_in_time():
    witness = ring(8)
    accuse(witness, 5, 6)
    accuse(witness, 7, 6)
    witness.wait(DEAD_S - 0.5)
    assert witness.state(6) is PeerState.SUSPECT
    witness.wait(0.5)
    assert witness.state(6) is PeerState.DEAD
    witness.tell(Said(6, 1, 1, {4, 5, 7, 8}))
    assert witness.state(6) is PeerState.ALIVE, "a newer word of its own clears at once"


def test_accusers_of_one_failure_domain_are_one_where_there_are_several():
    witness = ring(8, domains="abababab")
    accuse(witness, 5, 6)
    accuse(witness, 7, 6)
    witness.wait(60.0)
    assert witness.state(6) is PeerState.SUSPECT
    accuse(witness, 4, 6)
    witness.wait(60.0)
    assert witness.state(6) is PeerState.DEAD


def test_who_is_no_member_accuses_in_vain():
    witness = ring(8)
    for stranger in (21, 22, 23):
        witness.tell(Said(stranger, accuses=(accusation(6),)))
    witness.wait(60.0)
    assert witness.state(6) is PeerState.ALIVE


def test_the_highest_incarnation_there_is_accuses_nobody():
    """memberlist#362: one message with it evicted a node for good."""
    witness = ring(8)
    for by in (4, 5, 7, 8):
        near = {p[0] for p in witness.detector.graph.advert(peer(by)).neighbours}
        witness.tell(Said(by, neighbours=near, accuses=(accusation(6, 1, INT_MAX),)))
    witness.wait(60.0)
    assert witness.state(6) is PeerState.ALIVE


def test_a_stale_word_that_others_repeat_revives_nobody_regression_memberlist_312():
    """4,500 nodes took a dead node for alive for hours: others' old words refuted for it."""
    witness = ring(8)
    accuse(witness, 5, 6)
    accuse(witness, 7, 6)
    witness.wait(DEAD_S)
    changes = len(witness.outputs(StateChanged))
    for _ in range(50):
        for by in (1, 2, 3, 4, 8):
            said = witness.detector.graph.advert(peer(by))
            witness.tell(Said(by, 1, 0, {p[0] for p in said.neighbours}))
        witness.tell(Said(6, 1, 0, {4, 5, 7, 8}), record(6))
        witness.wait(1.0)
    assert witness.state(6) is PeerState.DEAD
    assert len(witness.outputs(StateChanged)) == changes


def test_left_is_terminal_for_its_epoch_and_ends_with_the_next():
    witness = ring(8)
    witness.tell(record(6, standing=Standing.LEFT))
    assert witness.state(6) is PeerState.LEFT
    witness.tell(record(6), Said(6, 1, 5, {5, 7}))
    assert witness.state(6) is PeerState.LEFT
    witness.tell(record(6, counter=2), Said(6, 2, 0, {5, 7}))
    assert witness.state(6) is PeerState.ALIVE


def test_members_that_left_block_no_join_regression_memberlist_253():
    """Left members were kept until a bound on state refused every join."""
    witness = ring(4)
    graph = witness.detector.graph
    graph._members_max = 40
    for number in range(10, 200):
        witness.tell(record(number), Said(number, neighbours={1}))
        witness.tell(record(number, standing=Standing.LEFT), Said(number))
    assert graph.origins <= 40
    witness.tell(record(210), Said(210, neighbours={1}))
    witness.tell(Said(1, neighbours={0, 2, 3, 210}))
    assert witness.state(210) is PeerState.ALIVE


# --- this node's own part ---------------------------------------------------------------


def test_a_lost_neighbour_is_asked_for_through_others_and_accused_when_none_reaches_it():
    witness = ring(8, links=(1, 2, 3))
    witness.lose(3)
    assert witness.detector.liveness.doubts(peer(3)) is Doubt.ASKING
    witness.wait(2.0)
    assert witness.state(3) is PeerState.SUSPECT
    said = witness.outputs(Advertise)[-1].advert
    assert said.accusations == (Accusation(peer(3), epoch(1), 0),)
    witness.wait(DEAD_S)
    assert witness.state(3) is PeerState.DEAD


def test_a_neighbour_that_another_reaches_is_not_accused():
    witness = ring(8, links=(1, 2, 3))
    witness.lose(3)
    witness.detector._judged(peer(3), Verdict.LIVES, witness.now)
    witness.wait(60.0)
    assert witness.state(3) is PeerState.ALIVE
    assert all(not output.advert.accusations for output in witness.outputs(Advertise))


def test_an_accused_node_answers_with_a_higher_incarnation_and_trusts_itself_less():
    witness = ring(8)
    before = witness.detector.health.multiplier
    witness.tell(Said(5, neighbours={4, 6}, accuses=(accusation(0),)))
    witness.wait(2.0)
    assert witness.outputs(Advertise)[-1].advert.incarnation == 1
    assert witness.detector.health.multiplier == before + 1
    said = len(witness.outputs(Advertise))
    witness.tell(Said(7, neighbours={6, 8}, accuses=(accusation(0), accusation(0, 1, 9))))
    witness.wait(2.0)
    assert len(witness.outputs(Advertise)) == said, "old words and unknown ones need no answer"


def test_a_liar_that_accuses_without_end_costs_one_answer_a_second():
    witness = ring(20)
    start = witness.now
    for incarnation in range(400):
        witness.tell(Said(5, neighbours={4, 6}, accuses=(accusation(0, 1, incarnation),)))
        witness.wait(0.05)
    answers = len(witness.outputs(Advertise))
    assert 2 <= answers <= witness.now - start + 8
    assert witness.detector.health.multiplier <= SCORE_MAX + 1


def test_a_node_that_lost_everybody_accuses_nobody_and_asks_again_when_it_is_back():
    witness = ring(8, links=(1, 2, 3))
    for number in (1, 2, 3):
        witness.lose(number)
    witness.wait(3.0)
    assert not any(output.advert.accusations for output in witness.outputs(Advertise))
    witness.link(1)
    assert witness.detector.liveness.doubts(peer(3)) is Doubt.ASKING
    assert witness.state(1) is PeerState.ALIVE
    assert witness.state(6) is PeerState.ALIVE, "a path leads to it again"


def test_a_starved_node_gives_others_more_time():
    times = []
    for stalls in (0, 3):
        witness = ring(8, links=(1, 2, 3))
        for _ in range(stalls):
            witness.detector.forgive(1.0)
        begin = witness.now
        witness.lose(3)
        while witness.detector.liveness.doubts(peer(3)) is Doubt.ASKING:
            witness.wait(0.05)
        times.append(witness.now - begin)
    assert times[1] > 3 * times[0], "local health is what keeps the starved from accusing"


def test_local_health_that_is_ignored_is_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("meshcrdt.topology.local_health.LocalHealth.multiplier", 1)
    with pytest.raises(AssertionError):
        test_a_starved_node_gives_others_more_time()


def test_a_link_that_both_ends_gave_up_is_no_suspicion():
    witness = ring(8, links=(1, 2, 3))
    witness.log.clear()
    witness._links(witness.linked - {peer(3)})
    witness.wait(60.0)
    assert witness.state(3) is PeerState.ALIVE
    assert PeerState.SUSPECT not in {
        output.new for output in witness.outputs(StateChanged) if output.peer == peer(3)
    }


# --- what is told, and kept -------------------------------------------------------------


def test_links_that_change_in_a_large_cluster_are_told_rarely_and_in_a_small_one_at_once():
    told = {}
    for size in (6, 60):
        witness = ring(size, links=(1, 2, 3, 4))
        witness.wait(200.0)
        before = len(witness.outputs(Advertise))
        for step in range(40):
            (witness.link if step % 2 else witness.lose)(4)
            witness.wait(10.0)
        told[size] = len(witness.outputs(Advertise)) - before
    assert told[6] >= 30
    assert told[60] <= 25, "about one a minute in 60 nodes, and the accusations"


def test_a_flapping_neighbour_is_no_reason_to_hurry_even_in_a_small_cluster():
    witness = ring(6, links=(1, 2, 3, 4))
    witness.wait(100.0)
    before = len(witness.outputs(Advertise))
    for step in range(100):
        (witness.link if step % 2 else witness.lose)(4)
        witness.wait(0.2)
    assert len(witness.outputs(Advertise)) - before <= 25, "20 s of flapping"


def test_the_baseline_is_given_out_to_be_kept_and_taken_back():
    witness = ring(6)
    witness.wait(30.0)
    kept = witness.outputs(BaselineChanged)[-1].baseline
    assert kept == {peer(number) for number in range(7)}
    assert len(witness.outputs(BaselineChanged)) <= 3, "no more often than in ten seconds"
    later = Witness()
    later.detector.remember(kept)
    for number in range(1, 7):
        later.tell(record(number))
    later.wait(60.0)
    assert later.detector.majority.minority


def test_a_partition_is_seen_whole_by_a_side_that_never_was_linked_with_most_of_the_other():
    witness = ring(40, links=(1, 2))
    for by, subject in ((1, 40), (2, 40), (1, 39), (3, 4), (2, 4)):
        accuse(witness, by, subject)
    for number in (1, 2, 3):
        near = {1, 2, 3, 0} - {number}
        witness.tell(Said(number, neighbours=near))
    witness.wait(0.5)
    far = {n for n in range(4, 41) if witness.state(n) is PeerState.SUSPECT}
    assert far == set(range(4, 41))
    assert witness.detector.majority.minority
    witness.wait(DEAD_S)
    assert {witness.state(n) for n in range(4, 41)} == {PeerState.DEAD}


def test_an_inquiry_that_nobody_answers_says_so():
    witness = ring(8, links=(1, 2, 3))
    swim = witness.detector.swim
    swim.begin(peer(3), [peer(1)], witness.now)
    assert Ended(peer(3), Verdict.SILENT) in swim.handle_timeout(witness.now + 10.0)
    swim.check()
