"""Every fault of the list: it happens, and no invariant is violated by it."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest
from attrs import asdict, fields

from meshcrdt.sim import Draw, Faults, Scenario, World
from meshcrdt.sim.disk import Disk, Moment
from meshcrdt.sim.fault_list import NO_FAULTS
from meshcrdt.sim.faults import floods, liars

SEEDS = range(200 if os.environ.get("MESHCRDT_SOAK") else 4)

FAULTS: dict[str, dict[str, Any]] = {
    "spikes": {"spike": 0.02, "spike_s": 20.0},
    "damage": {"corrupt": 0.005},
    "a minority": {"minority_every_s": 50.0, "partition_for_s": 30.0},
    "rings": {"ring_every_s": 50.0, "partition_for_s": 30.0},
    "thirds": {"thirds_every_s": 50.0, "partition_for_s": 30.0},
    "flaps": {"flap_every_s": 40.0},
    "swizzle-clogs": {"clog_every_s": 50.0},
    "jams": {"jam_every_s": 20.0, "jam_for_s": 15.0},
    "half-open links": {"half_open_every_s": 5.0},
    "black holes": {"black_hole_every_s": 30.0, "black_hole_bytes": 400},
    "kills at writes": {"kill_at_write": 0.02, "down_for_s": 5.0, "disk_s": 0.05},
    "restart storms": {"storm_every_s": 50.0},
    "starvation": {"starved": 0.4, "starve_for_s": 3.0, "starve_gap_s": 0.3},
    "clocks": {"clock_spread_s": 1e6, "clock_jump_every_s": 30.0},
    "EIO": {"disk_error_every_s": 40.0, "down_for_s": 5.0},
    "ENOSPC": {"disk_full_every_s": 60.0},
    "lying disks": {"lost_share": 0.5, "crash_every_s": 40.0, "down_for_s": 3.0},
    "rollbacks": {"rollback_every_s": 40.0},
    "wiped disks": {"wipe_every_s": 50.0},
    "clones": {"clone_every_s": 50.0},
    "liars": {"liars": 0.4, "lies": 0.1},
    "floods": {"flood_every_s": 60.0, "flood_writes": 500},
    "strangers": {"strangers_every_s": 30.0, "strangers": 20},
}


@cache
def quiet() -> str:
    """Return the trace of the same run without any fault."""
    return World(Scenario(seed=0, duration_s=120.0)).run().trace_hash


@pytest.mark.parametrize("name", FAULTS)
def test_no_invariant_is_violated_by_a_fault(name: str) -> None:
    report = World(Scenario(seed=0, duration_s=120.0, faults=Faults(**FAULTS[name]))).run()
    assert not report.violations, report
    assert report.acknowledged > 20
    assert report.converged_after_s is not None
    assert report.trace_hash != quiet()  # it did happen: nothing else differs


@pytest.mark.parametrize("number", range(1, 9))
def test_a_kill_at_each_persistence_point_loses_nothing(number: int) -> None:
    faults = Faults(kill_write_number=number, down_for_s=2.0, disk_s=0.05, torn_share=0.5)
    scenario = Scenario(seed=3, nodes=3, duration_s=60.0, command_every_s=0.5, faults=faults)
    report = World(scenario).run()
    assert not report.violations, report
    assert report.crashes >= 3
    assert report.acknowledged > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_violated_by_any_of_the_full_list(seed: int) -> None:
    report = World(Scenario.swarm(seed, duration_s=200.0, which=Draw.FULL)).run()
    assert not report.violations, report
    assert report.converged_after_s is not None


def test_the_full_list_begins_with_the_classic_draws() -> None:
    for seed in range(50):
        classic = asdict(Scenario.swarm(seed).faults)
        full = asdict(Scenario.swarm(seed, which=Draw.FULL).faults)
        default = asdict(NO_FAULTS)
        assert {key: full[key] for key, value in classic.items() if value != default[key]} == {
            key: value for key, value in classic.items() if value != default[key]
        }


def test_every_fault_is_drawn_by_some_seed() -> None:
    drawn = set()
    for seed in range(300):
        faults = asdict(Scenario.swarm(seed, which=Draw.FULL).faults)
        drawn |= {key for key, value in faults.items() if value != getattr(NO_FAULTS, key)}
    by_hand = {"kill_write_number", "lost_share", "clone_every_s", "clone_for_s"}
    assert drawn | by_hand == {each.name for each in fields(Faults)}


def test_a_disk_that_lies_takes_confirmed_writes_with_it() -> None:
    world = World(Scenario(seed=1, nodes=1, faults=Faults(lost_share=1.0)))
    disk = world.hosts[0].disk
    moments: list[Moment] = []
    disk.on_write = lambda _disk, _number, moment: moments.append(moment)
    disk.write((("t", b"k", b"1"),), lambda: None)
    world.clock.run_until(1.0)
    assert moments == [Moment.STARTED, Moment.DURABLE]
    assert disk.tables["t"] == {b"k": b"1"}
    disk.crash()
    assert disk.lost == 1
    assert disk.tables["t"] == {}


def test_a_failing_disk_says_why_and_writes_nothing() -> None:
    world = World(Scenario(seed=1, nodes=1))
    disk: Disk = world.hosts[0].disk
    disk.failing = "ENOSPC"
    heard: list[str] = []
    disk.write((("t", b"k", b"1"),), lambda: heard.append("done"), heard.append)
    world.clock.run_until(1.0)
    assert heard == ["ENOSPC"]
    assert disk.tables == {}


def test_a_liar_says_all_kinds_of_wrong_things() -> None:
    world = World(Scenario(seed=1, nodes=2, faults=Faults(liars=0.5, lies=1.0)))
    tongue = liars.Tongue(world, world.dice.fork("test"), {"n1"})
    liar, other = world.hosts
    assert list(tongue.tamper(other, liar, 0, b"truth")) == [b"truth"]
    said = [tuple(tongue.tamper(liar, other, 0, b"frame")) for _ in range(200)]
    assert () in said
    assert (b"frame", b"frame") in said
    assert (b"frame", b"truth") in said
    assert any(len(each) == 1 and len(each[0]) == 5 and each[0] != b"frame" for each in said)
    assert any(len(each) == 1 and len(each[0]) < 5 for each in said)


def test_strangers_are_heard_and_hold_nothing_for_long() -> None:
    scenario = Scenario(seed=1, nodes=2, duration_s=60.0, faults=Faults(strangers_every_s=8.0))
    world = World(scenario)
    most = 0

    def look(world: World) -> list[str]:
        nonlocal most
        most = max(most, *(len(host.node.links) for host in world.hosts if host.node))
        return []

    world.add_checker(look)
    report = world.run()
    assert not report.violations, report
    assert most > 10
    assert max(len(host.node.links) for host in world.hosts if host.node) <= 2
    assert floods.STRANGER_STAYS_S < 30


def test_a_clone_runs_beside_its_original() -> None:
    world = World(Scenario(seed=1, nodes=3, duration_s=120.0, faults=Faults(clone_every_s=40.0)))
    report = world.run()
    assert not report.violations, report
    assert world.twins
    assert all(twin.node is None for twin in world.twins)
