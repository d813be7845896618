"""Delays and losses between hosts: fixed by seed and names, or by where on earth they are."""

from __future__ import annotations

import pytest
from attrs import evolve

from meshcrdt.daemon.simulate.files import load_scenario
from meshcrdt.sim import Faults, Scenario
from meshcrdt.sim.paths import Paths, distance_km, place_hosts, round_trip_s
from meshcrdt.sim.scenario import Region, RegionLoss, Topology
from meshcrdt.sim.seats import Seats

AMSTERDAM = Region(name="ams", latitude=52.31, longitude=4.76)
TOKYO = Region(name="nrt", latitude=35.77, longitude=140.39)


def test_a_round_trip_follows_from_the_distance() -> None:
    assert distance_km(AMSTERDAM, TOKYO) == pytest.approx(9_330, abs=60)
    assert round_trip_s(AMSTERDAM, TOKYO) == pytest.approx(0.004 + 9_330 / 75_000, abs=0.001)
    assert round_trip_s(AMSTERDAM, AMSTERDAM) == 0.001


def test_a_pair_keeps_its_delay_whoever_else_there_is() -> None:
    scenario = Scenario(seed=4, nodes=3, latency_s=0.01, latency_max_s=0.05)
    paths, larger = Paths(scenario), Paths(evolve(scenario, nodes=9))
    assert 0.01 <= paths.latency_s("n1", "n2") <= 0.05
    assert paths.latency_s("n1", "n2") == paths.latency_s("n2", "n1")
    assert paths.latency_s("n1", "n2") == larger.latency_s("n1", "n2")
    assert paths.latency_s("n1", "n2") != paths.latency_s("n1", "n3")


def test_hosts_are_where_the_weights_of_regions_put_them() -> None:
    scenario = load_scenario("corrosion").sized(nodes=2_000)
    placed = [region.name for region in place_hosts(scenario).values()]
    assert len(scenario.regions) == 19
    assert placed.count("sjc") > 2 * placed.count("lhr") > 0
    paths = Paths(scenario)
    pair = next(
        (a, b) for a, r in paths.regions.items() for b, s in paths.regions.items() if r != s
    )
    first, second = (paths.regions[name] for name in pair)
    assert paths.latency_s(*pair) == round_trip_s(first, second) / 2


def test_what_is_lost_between_two_regions_is_said_for_them_alone() -> None:
    scenario = Scenario(
        seed=1,
        nodes=40,
        regions=(AMSTERDAM, TOKYO),
        region_losses=(RegionLoss(first="nrt", second="ams", loss=0.5),),
        faults=Faults(loss=0.1),
    )
    paths = Paths(scenario)
    by_region = {region.name: name for name, region in paths.regions.items()}
    others = [name for name, region in paths.regions.items() if region.name == "ams"]
    assert paths.loss(by_region["ams"], by_region["nrt"]) == 0.5
    assert paths.loss(by_region["nrt"], by_region["ams"]) == 0.5
    assert paths.loss(others[0], others[1]) == 0.1


def test_a_narrow_link_is_busy_for_as_long_as_its_bytes_take() -> None:
    narrow = Paths(Scenario(seed=1, bandwidth_bytes_s=1_000.0))
    assert narrow.busy_s("n1", "n2", 500) == 0.5
    assert Paths(Scenario(seed=1)).busy_s("n1", "n2", 500) == 0.0


def test_each_topology_says_whom_a_host_knows() -> None:
    def known(topology: Topology, name: str) -> tuple[str, ...]:
        return Seats(Scenario(seed=1, nodes=6, topology=topology)).peers_of(name)

    assert known(Topology.SEED, "n1") == ()
    assert known(Topology.SEED, "n5") == ("sim://n1",)
    assert known(Topology.FULL, "n3") == ("sim://n1", "sim://n2")
    assert known(Topology.LINE, "n3") == ("sim://n2",)
    assert known(Topology.ISLANDS, "n2") == ("sim://n1",)
    assert known(Topology.ISLANDS, "n5") == ("sim://n1",)
    assert known(Topology.ISLANDS, "n6") == ("sim://n2",)
    assert known(Topology.SEED, "n5c2") == ("sim://n1",)


def test_islands_are_apart_but_for_their_first_hosts() -> None:
    (sea,) = Seats(Scenario(seed=1, nodes=6, topology=Topology.ISLANDS)).walls
    assert not sea("n1", "n2")
    assert not sea("n3", "n5")
    assert sea("n3", "n4")
    assert sea("n1", "n4")
