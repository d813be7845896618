"""Whether a node is in a minority (F26), and that counting by changes equals counting anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import PeerId
from meshcrdt.topology.majority import Majority
from meshcrdt.topology.outputs import PeerState

from .conftest import peer_id

ME = peer_id(1)


def peers(*numbers: int) -> set[PeerId]:
    return {peer_id(n) for n in numbers}


class Cluster:
    """Feeds a Majority with what changed; members that left, or were evicted, have no state."""

    def __init__(self, size: int = 1, *, majority: Majority | None = None) -> None:
        self.majority = majority or Majority(me=ME)
        self.states: dict[PeerId, PeerState] = {}
        if size > 1:
            self.majority.contact()
            self.tell(alive=peers(*range(2, size + 1)))

    def tell(
        self, *, alive: set[PeerId], suspect: set[PeerId] | None = None, gone: set | None = None
    ) -> bool:
        """Say who is in which state now; members that are not named are dead."""
        suspect, gone = suspect or set(), gone or set()
        for peer in sorted((self.states.keys() | alive | suspect) - gone):
            new = PeerState.DEAD
            if peer in alive:
                new = PeerState.ALIVE
            elif peer in suspect:
                new = PeerState.SUSPECT
            self.majority.changed(peer, self.states.get(peer), new)
            self.states[peer] = new
        for peer in sorted(gone):
            self.majority.changed(peer, self.states.pop(peer, None), None)
        self.majority.settle()
        self.majority.check()
        return self.majority.minority


@pytest.mark.parametrize(
    ("size", "reached", "expected"),
    [(2, 1, True), (3, 1, True), (3, 2, False), (4, 2, True), (5, 2, True), (5, 3, False)],
)
def test_half_or_fewer_of_the_last_majority_is_a_minority(size: int, reached: int, expected: bool):
    cluster = Cluster(size)
    alive = peers(*range(2, reached + 1))
    assert cluster.tell(alive=alive, suspect=set(cluster.states) - alive) is expected


def test_links_of_one_cut_that_end_one_by_one_do_not_hide_the_minority():
    cluster = Cluster(5)
    cluster.tell(alive=peers(2, 3, 4), suspect=peers(5))
    cluster.tell(alive=peers(2, 3), suspect=peers(4, 5))
    assert cluster.tell(alive=peers(2), suspect=peers(3, 4, 5))
    assert cluster.tell(alive=peers(2)), "it stays so when they are declared dead"
    assert not cluster.tell(alive=peers(2, 3))


def test_the_dead_of_long_ago_do_not_make_a_minority():
    cluster = Cluster(102)
    gone = peers(*range(63, 103))
    assert not cluster.tell(alive=set(cluster.states) - gone, suspect=gone)
    assert not cluster.tell(alive=set(cluster.states) - gone)
    assert not cluster.tell(alive=peers(*range(2, 41)), suspect=peers(*range(41, 63)))
    assert cluster.tell(alive=peers(*range(2, 21)), suspect=peers(*range(21, 41)))


def test_a_lone_node_and_one_whose_peers_left_are_in_no_minority():
    assert not Majority(me=ME).minority
    cluster = Cluster(3)
    assert cluster.tell(alive=set(), suspect=peers(3), gone=peers(2)), "one of two"
    assert not cluster.tell(alive=set(), gone=peers(3))


def test_a_restarted_node_counts_on_what_it_knew_until_it_meets_somebody():
    presuming = Cluster()
    assert presuming.tell(alive=set(), suspect=peers(2, 3, 4, 5))
    assert presuming.tell(alive=set())
    kept = Cluster(majority=Majority(me=ME, baseline=peers(2, 3)))
    assert kept.tell(alive=set(), suspect=peers(2, 3, 4, 5))
    assert kept.tell(alive=set())
    assert kept.majority.baseline() == peers(1, 2, 3)
    kept.majority.contact()
    assert not kept.tell(alive=peers(2))


def test_a_kept_baseline_loses_who_was_evicted_meanwhile():
    kept = Cluster(majority=Majority(me=ME, baseline=peers(2, 3, 99)))
    assert not kept.tell(alive=peers(2, 3))
    assert kept.majority.baseline() == peers(1, 2, 3)


def test_a_joiner_does_not_count_the_dead_that_it_never_met():
    cluster = Cluster()
    cluster.majority.contact()
    assert not cluster.tell(alive=set(), suspect=peers(*range(2, 60)))
    cluster.tell(alive=peers(2))
    assert cluster.majority.baseline() == peers(1, 2)


def counted_anew(baseline: set[PeerId], states: dict[PeerId, PeerState]) -> set[PeerId]:
    """Return the next baseline by the definition, from all states at once."""
    alive = {peer for peer, state in states.items() if state is PeerState.ALIVE} | {ME}
    suspect = {peer for peer, state in states.items() if state is PeerState.SUSPECT}
    baseline = {peer for peer in baseline if peer in states} | {ME}
    if len(baseline) > 1 and 2 * len(alive) <= len(baseline):
        return baseline
    return alive | (baseline & suspect)


some_peers = st.sets(st.integers(2, 9)).map(lambda numbers: peers(*numbers))


@given(st.lists(st.tuples(some_peers, some_peers, some_peers), max_size=12))
def test_counting_by_changes_equals_counting_anew(history):
    cluster = Cluster()
    cluster.majority.contact()
    expected = {ME}
    for alive, suspect, gone in history:
        cluster.tell(alive=alive - gone, suspect=suspect - alive - gone, gone=gone)
        expected = counted_anew(expected, cluster.states)
        assert cluster.majority.baseline() == expected
        living = sum(state is PeerState.ALIVE for state in cluster.states.values()) + 1
        assert cluster.majority.minority == (len(expected) > 1 and 2 * living <= len(expected))
