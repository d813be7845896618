"""Whole scenarios: what is measured, what steps do, and that a broken promise is seen."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from meshcrdt.daemon.simulate.files import load_scenario
from meshcrdt.node import events
from meshcrdt.sim import Faults, Report, Scenario, World
from meshcrdt.sim.expect import Bounds
from meshcrdt.sim.host import Host
from meshcrdt.sim.metrics import MARK, Measured
from meshcrdt.sim.scenario import Pace, Senders, Topology, Traffic
from meshcrdt.sim.steps import (
    Burst,
    Churn,
    Erase,
    Heal,
    Kill,
    Leave,
    Partition,
    Read,
    Restart,
    Shape,
    Start,
    Starve,
    Write,
)
from meshcrdt.topology import heartbeats
from meshcrdt.topology.dialer import Discovery


def run(**changes: Any) -> Report:
    values = {"seed": 1, "duration_s": 60.0, "command_every_s": 0.0, **changes}
    return World(Scenario(**values)).run()


def test_messages_are_followed_to_everybody() -> None:
    report = run(warm_up_s=10.0, traffic=Traffic(every_s=5.0), faults=Faults(loss=0.05))
    measured = report.measured
    assert not report.violations, report
    assert measured.messages in (10, 11)
    assert (measured.delivery, measured.missed) == (1.0, 0)
    assert measured.hops is not None
    assert 1 <= measured.hops <= 3
    assert measured.redundancy is not None
    assert measured.redundancy >= 0
    assert measured.seconds is not None
    assert measured.seconds >= 0.01
    assert report.spread[0][0] <= report.spread[-1][0] <= measured.seconds + 0.001
    assert measured.bytes_per_node_second > 0


def test_rounds_end_a_run_when_the_last_is_everywhere() -> None:
    report = run(
        warm_up_s=10.0,
        duration_s=500.0,
        traffic=Traffic(senders=Senders.ALL, every_s=0.0, rounds=3, timeout_s=5.0),
    )
    assert report.measured.messages == 15
    assert report.measured.missed == 0
    assert report.steps < 20_000


def test_one_key_may_be_used_again_and_only_its_newest_message_is_owed() -> None:
    report = run(warm_up_s=5.0, traffic=Traffic(senders=Senders.ONE, every_s=2.0, keys=2))
    assert report.measured.messages > 20
    assert report.measured.delivery == 1.0


def test_messages_that_never_arrive_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Host.frame_received

    def deaf(self: Host, link: int, frame: bytes) -> None:
        if self.name != "n3" or not MARK.search(frame):
            honest(self, link, frame)

    monkeypatch.setattr(Host, "frame_received", deaf)
    report = run(warm_up_s=10.0, nodes=3, traffic=Traffic(senders=Senders.ALL, every_s=5.0))
    measured = report.measured
    assert measured.delivery is not None
    assert measured.delivery < 0.9
    assert measured.missed
    assert not measured.digests_equal


def test_what_is_expected_is_judged() -> None:
    report = run(traffic=Traffic(), expect=Bounds(delivery=1.0, seconds_max=0.001))
    assert [verdict.held for verdict in report.verdicts] == [True, False]
    assert not report.held


def test_a_cluster_joins_and_says_how_fast() -> None:
    assert run(expect=Bounds(joined_seconds_max=10.0)).held
    never = run(steps=(Partition(shape=Shape.ALONE),), duration_s=30.0)
    assert never.measured.joined_seconds == float("inf")


@pytest.mark.parametrize("shape", Shape)
def test_a_partition_of_any_shape_holds_news_up_until_it_heals(shape: Shape) -> None:
    report = run(
        nodes=6,
        duration_s=90.0,
        steps=(
            Partition(at_s=20.0, shape=shape, share=0.3),
            Write(at_s=40.0, key="late"),
            Heal(at_s=60.0),
        ),
    )
    measured = report.measured
    assert not report.violations, report
    assert report.partitions == 1
    assert measured.converged_seconds is not None
    assert measured.converged_seconds < 20
    assert measured.reached_seconds is not None
    if shape in (Shape.SIDES, Shape.THIRDS, Shape.ALONE):
        assert measured.reached_seconds >= 20.0
    if shape is Shape.RING:
        assert measured.reached_seconds < 20.0  # each relays to its neighbours


def test_a_kill_is_noticed_and_the_rest_hangs_together() -> None:
    report = run(
        nodes=8, duration_s=90.0, limits=Pace.PUBLISHED.limits, steps=(Kill(at_s=30.0, share=0.5),)
    )
    measured = report.measured
    assert not report.violations, report
    assert report.crashes == 4
    assert measured.noticed_seconds is not None
    assert 0 < measured.noticed_seconds < 20
    assert measured.connected_rounds is not None
    assert measured.connected_rounds < 20


def test_hosts_start_read_write_erase_and_leave() -> None:
    report = run(
        held_back=2,
        duration_s=120.0,
        steps=(
            Write(at_s=10.0, key="seed"),
            Start(at_s=20.0, count=1),
            Read(at_s=20.0, key="seed"),
            Start(at_s=30.0),
            Erase(at_s=60.0, key="seed"),
            Leave(at_s=80.0),
        ),
    )
    assert not report.violations, report
    assert report.measured.reached_seconds is not None
    assert report.measured.reached_seconds < 10


def test_churn_restarts_and_bursts_lose_nothing() -> None:
    report = run(
        duration_s=150.0,
        warm_up_s=10.0,
        traffic=Traffic(every_s=3.0),
        steps=(
            Churn(at_s=20.0, share=1.0, lasts_s=60.0, down_s=5.0),
            Burst(at_s=30.0, writes=300),
            Restart(at_s=100.0, share=0.5),
        ),
    )
    assert not report.violations, report
    assert report.crashes >= 5
    assert report.measured.delivery == 1.0
    assert report.acknowledged > 100


def test_a_line_carries_news_hop_by_hop() -> None:
    report = run(
        topology=Topology.LINE,
        discovery=Discovery.OFF,
        duration_s=120.0,
        warm_up_s=60.0,
        traffic=Traffic(senders=Senders.ONE, every_s=5.0),
    )
    assert report.measured.delivery == 1.0
    assert report.measured.hops_worst is not None
    assert report.measured.hops_worst >= 2


def test_islands_meet_through_their_first_hosts() -> None:
    report = run(nodes=6, topology=Topology.ISLANDS, steps=(Write(at_s=40.0),))
    assert not report.violations, report
    assert report.measured.reached_seconds is not None
    assert report.measured.reached_seconds < 20


def test_a_death_of_a_host_that_is_well_is_false() -> None:
    world = World(Scenario(seed=1, nodes=3, duration_s=60.0, command_every_s=0.0))

    def slander() -> None:
        node = world.hosts[0].node
        assert node is not None
        node.dead_since[world.hosts[1].identity.peer] = world.clock.now

    world.clock.at(50.0, slander)
    report = world.run()
    assert report.measured.false_deaths == 1
    assert not report.measured.no_false_death


def test_the_death_of_a_host_that_is_down_or_cut_off_is_not_false() -> None:
    assert run(steps=(Kill(at_s=20.0, count=1),)).measured.no_false_death
    cut = run(steps=(Partition(at_s=20.0, lasts_s=30.0),), limits=Pace.PUBLISHED.limits)
    assert cut.measured.no_false_death


def test_starved_hosts_stand_still_and_go_on() -> None:
    report = run(nodes=4, duration_s=120.0, steps=(Starve(at_s=20.0, share=0.25, lasts_s=60.0),))
    assert not report.violations, report


def test_an_embedders_checker_and_commands_and_limits_come_into_the_world() -> None:
    born = []

    def configure(host: Host, config: Any) -> Any:
        born.append(host.name)
        return config

    world = World(Scenario(seed=1, nodes=3, duration_s=30.0), configure=configure)
    heard: list[object] = []
    world.clock.at(
        15.0,
        lambda: world.ask(
            world.hosts[0], lambda request: events.Put(request, "mine", b"k", b"v"), heard.append
        ),
    )

    def nobody_reads_v(world: World) -> list[str]:
        readers = [host.name for host in world.hosts if host.node and host.node.get("mine", b"k")]
        return [f"{readers} read it"] if readers else []

    world.add_checker(nobody_reads_v)
    report = world.run()
    assert set(born) == {"n1", "n2", "n3"}
    assert len(heard) == 1
    assert any("read it" in line for line in report.violations)


def half_lost(seed: int) -> Measured:
    """Run what is shipped, for half as long."""
    scenario = load_scenario("chitchat-loss", seed=seed)
    report = World(evolve(scenario, duration_s=150.0)).run()
    assert report.measured.joined_seconds is not None
    return report.measured


def test_half_of_all_is_lost_and_nobody_is_taken_for_dead() -> None:
    """chitchat's definition: once all know all. Here for more than a minute, not for 30 s."""
    measured = half_lost(1)
    assert measured.false_deaths == 0
    assert measured.joined_seconds < 90.0
    assert measured.joining_deaths <= 4


def test_being_in_a_hurry_where_much_is_lost_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "PATIENCE_MAX", 1.0)
    assert half_lost(1).false_deaths > 0


def test_a_death_is_judged_once_though_a_newer_one_is_gone() -> None:
    world = World(Scenario(seed=1, nodes=4, duration_s=60.0, command_every_s=0.0))

    def slander() -> None:
        node = world.hosts[0].node
        assert node is not None
        first, second = (host.identity.peer for host in world.hosts[1:3])
        node.dead_since[first] = world.clock.now
        world.deaths.look(world.hosts[0])
        node.dead_since[second] = world.clock.now + 1.0
        world.deaths.look(world.hosts[0])
        del node.dead_since[second]
        world.deaths.look(world.hosts[0])

    world.clock.at(50.0, slander)
    assert world.run().measured.false_deaths == 2
