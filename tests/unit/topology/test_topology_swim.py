"""Twelve nodes on a bad network: who notices what, and who is never declared dead."""

from __future__ import annotations

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.topology.heartbeats import Detection
from meshcrdt.topology.local_health import LocalHealth
from meshcrdt.topology.outputs import PeerState, StateChanged
from meshcrdt.topology.swim import ASK, HOPS_MAX, PER_LINK_S_MAX, TOLD, Ended, Pass, Swim

from .conftest import World, peer_id

SIZE = 12
STARVED = (10, 11, 12)


def cluster(world: World, size: int = SIZE, **changes) -> None:
    world.check_steps = 100
    for number in range(1, size + 1):
        world.add(number, **changes)
    world.know_each_other()
    world.run(15.0)


def told(world: World, here: int, there: int, since: float) -> list[PeerState]:
    return [
        output.new
        for output in world.outputs(StateChanged, here=here, since=since)
        if output.peer == peer_id(there)
    ]


def test_weave_3607_nobody_healthy_is_dead_while_a_quarter_starves_and_half_is_lost():
    """chitchat's scenario, with a quarter of the nodes short of CPU besides, as in weave#3607."""
    world = World()
    cluster(world)
    dice = Dice(b"bad luck")
    world.lose = lambda a, b: dice.chance(0.5)
    begin = world.now

    def stand_still(number: int) -> None:
        if world.now < begin + 60.0:
            pause_s = dice.uniform(1.0, 5.0)
            world.paused[number] = world.now + pause_s
            world.later(pause_s + dice.uniform(0.1, 1.0), lambda: stand_still(number))

    for number in STARVED:
        stand_still(number)
    world.run(60.0)
    healthy = [n for n in range(1, SIZE + 1) if n not in STARVED]
    for here in healthy:
        for there in healthy:
            assert PeerState.DEAD not in told(world, here, there, begin), (here, there)
    world.lose = lambda a, b: False
    world.run(20.0)
    for here in range(1, SIZE + 1):
        states = {world.nodes[here].state(peer_id(n)) for n in range(1, SIZE + 1) if n != here}
        assert states == {PeerState.ALIVE}


@pytest.mark.parametrize(("detection", "bound_s"), [(Detection.LINKS, 3.0), (Detection.PROBE, 9.0)])
def test_a_black_hole_is_suspect_everywhere_in_time_and_then_dead(
    detection: Detection, bound_s: float
):
    world = World()
    cluster(world, detection=detection)
    world.cut = lambda a, b: 5 in (a, b)
    begin = world.now
    world.run(bound_s)
    for here in range(1, SIZE + 1):
        if here != 5:
            assert told(world, here, 5, begin)[:1] == [PeerState.SUSPECT], here
    world.run(begin + bound_s + 5.5 - world.now)
    for here in range(1, SIZE + 1):
        if here != 5:
            assert world.nodes[here].state(peer_id(5)) is PeerState.DEAD, here
            assert set(told(world, here, 5, begin)) == {PeerState.SUSPECT, PeerState.DEAD}
    assert world.nodes[5].minority()
    assert not any(world.nodes[n].minority() for n in range(1, SIZE + 1) if n != 5)


@pytest.mark.parametrize("outage_s", [45.0, 120.0, 300.0])
def test_what_was_cut_off_is_alive_again_soon_whatever_the_outage(outage_s: float):
    world = World(delay_s=0.002)
    cluster(world, size=6)
    world.cut = lambda a, b: (a <= 2) != (b <= 2)
    world.run(outage_s)
    assert world.nodes[1].minority()
    assert world.nodes[1].state(peer_id(5)) is PeerState.DEAD
    world.cut = lambda a, b: False
    world.run(2.5)
    for here in world.nodes:
        for there in world.nodes:
            if here != there:
                assert world.nodes[here].state(peer_id(there)) is PeerState.ALIVE
    assert not world.nodes[1].minority()


def test_a_broken_link_between_two_that_others_reach_is_no_suspicion():
    world = World()
    cluster(world, size=6)
    world.cut = lambda a, b: {a, b} == {1, 2}
    begin = world.now
    world.run(60.0)
    assert not world.linked(1, 2)
    for here, there in ((1, 2), (2, 1), (3, 1), (4, 2)):
        assert world.nodes[here].state(peer_id(there)) is PeerState.ALIVE
        assert PeerState.DEAD not in told(world, here, there, begin)


def test_a_restart_is_seen_as_the_same_member_in_a_newer_epoch():
    world = World()
    cluster(world, size=6)
    world.restart(3)
    world.run(1.0)
    world.know_each_other()
    world.run(10.0)
    for here in (1, 2, 4, 5, 6):
        assert world.nodes[here].state(peer_id(3)) is PeerState.ALIVE
        assert world.nodes[3].state(peer_id(here)) is PeerState.ALIVE


# --- probe messages ---------------------------------------------------------------------


def make_swim(heard_at: float | None = None) -> Swim:
    return Swim(
        me=peer_id(1),
        limits=Limits(),
        dice=Dice(b"s"),
        health=LocalHealth(),
        heard_at=lambda peer: heard_at,
    )


def ask(nonce: int, *, helper: int = 1, hops: int = HOPS_MAX) -> tuple:
    return (ASK, nonce, bytes(peer_id(2)), bytes(peer_id(helper)), bytes(peer_id(3)), hops)


def test_a_helper_answers_for_whom_it_heard_and_says_no_for_whom_it_cannot_reach():
    (yes,) = make_swim(heard_at=9.9).received(peer_id(2), ask(7), 10.0)
    assert isinstance(yes, Pass)
    assert yes.message[:2] == (TOLD, 7)
    assert yes.message[4] == 1
    (no,) = make_swim(heard_at=None).received(peer_id(2), ask(7), 10.0)
    assert isinstance(no, Pass)
    assert no.message[4] == 0


def test_a_helper_that_must_ask_first_answers_when_it_hears_and_says_no_in_time():
    swim = make_swim(heard_at=1.0)
    swim.received(peer_id(2), ask(7), 10.0)
    (yes,) = swim.heard(peer_id(3))
    assert isinstance(yes, Pass)
    assert yes.message[4] == 1
    swim.received(peer_id(2), ask(8), 10.0)
    deadline = swim.next_deadline()
    assert deadline is not None
    (no,) = swim.handle_timeout(deadline)
    assert isinstance(no, Pass)
    assert no.message[4] == 0
    assert swim.next_deadline() is None


def test_probes_are_passed_on_while_they_have_hops_left():
    (passed,) = make_swim().received(peer_id(2), ask(7, helper=5, hops=2), 0.0)
    assert passed == Pass(peer_id(5), ask(7, helper=5, hops=1))
    assert make_swim().received(peer_id(2), ask(7, helper=5, hops=0), 0.0) == []


def test_floods_of_probes_are_bounded_and_answers_nobody_asked_for_change_nothing():
    swim = make_swim(heard_at=1.0)
    answered = [swim.received(peer_id(2), ask(nonce), 10.0) for nonce in range(1_000)]
    assert sum(map(bool, answered)) == PER_LINK_S_MAX
    assert swim.statistics().questions <= PER_LINK_S_MAX
    told_none = (TOLD, 3, bytes(peer_id(1)), bytes(peer_id(2)), 1, HOPS_MAX)
    assert swim.received(peer_id(4), told_none, 10.0) == []
    swim.check()


def test_one_yes_ends_an_inquiry():
    swim = make_swim()
    (asked,) = swim.begin(peer_id(3), [peer_id(2)], 0.0)
    assert isinstance(asked, Pass)
    told_yes = (TOLD, asked.message[1], bytes(peer_id(1)), bytes(peer_id(2)), 1, HOPS_MAX)
    (ended,) = swim.received(peer_id(2), told_yes, 0.1)
    assert isinstance(ended, Ended)
    assert not swim.asking(peer_id(3))
