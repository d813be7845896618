"""Partial views at work: cold starts, mass deaths, islands, lines, hosts that nobody can dial.

The large ones run on overlays alone (`tests/support/overlay_world.py`), so that a thousand
nodes cost seconds; a few smaller ones run whole nodes in the simulator.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from attrs import evolve
from overlay_world import OverlayWorld, overlay_peer

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.node.config import NodeConfig
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.host import Host
from meshcrdt.sim.scenario import Topology
from meshcrdt.topology import seeking
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.outputs import PeerState
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.unicast import Unicast
from meshcrdt.topology.unicast_wire import Arrival, Code

ROUND_S = 1.0
ACTIVE_MAX = DEFAULT_LIMITS.overlay_active_max
PASSING = 3
"""Links out of view that may be there at a moment: about one a second in the whole cluster."""
GRACE_S = DEFAULT_LIMITS.overlay_link_grace_s


def cluster(
    nodes: int, *, seeds: int = 1, directory: bool = True, at_once: bool = True, seed: int = 0
) -> OverlayWorld:
    """Return a world whose nodes start through the first ones, all at once or one by one."""
    world = OverlayWorld(seed=seed)
    for number in range(1, nodes + 1):
        given = (1 + number % seeds,) if number > seeds else (1,)
        world.add(number, seeds=() if number == 1 else given)
    if directory:
        world.give_directory()
    for number in range(1, nodes + 1):
        world.start(number, 0.0 if at_once else 0.02 * number)
    return world


def islands(world: OverlayWorld, size: int) -> None:
    """Let nodes 1 to `size`, and the others, live apart with full views; then forget seeds."""
    side = set(range(1, size + 1))
    world.dials_through = lambda a, b: (a in side) == (b in side)
    for node in world.nodes.values():
        mine = side if node.number in side else set(world.nodes) - side
        node.seeds = (min(mine),) if node.number != min(mine) else ()
    world.run(30)
    for node in world.nodes.values():
        node.seeds = ()
        for other in set(world.nodes) - (side if node.number in side else set(world.nodes) - side):
            node.overlay.state_changed(overlay_peer(other), dead=True, now=world.now)
        world.start(node.number)
    assert world.component(1) == side


# --- a thousand ---------------------------------------------------------------------------


def test_a_thousand_cold_starts_through_one_seed_and_the_death_of_four_in_five():
    world = cluster(1000, directory=False)
    took_s = world.run_until(world.is_full, within_s=60)
    assert took_s <= 60
    assert max(world.most_links.values()) <= ACTIVE_MAX
    assert world.dials <= 15 * 1000
    assert sum(world.sent.values()) <= 30 * 1000, "a few messages a node"
    world.give_directory()
    for number in world.nodes:
        world.start(number)
    world.run(3 * GRACE_S)
    assert len(world.nodes[1].links) <= ACTIVE_MAX + PASSING, "the seed sheds what is too much"
    dead = [number for number in world.nodes if number % 5]
    world.kill(dead)
    rounds = world.run_until(world.is_whole, within_s=20 * ROUND_S, step_s=ROUND_S)
    assert rounds <= 20 * ROUND_S
    world.run(60)
    assert world.is_full(), "also where nobody says who is dead"
    assert max(len(world.view(number)) for number in world.up()) <= ACTIVE_MAX
    world.check()


@pytest.mark.parametrize("seed", range(3))
def test_views_are_symmetric_and_bounded_also_when_messages_are_lost(seed: int):
    world = cluster(150, directory=False, seed=seed)
    world.loss = 0.2
    assert world.run_until(world.is_full, within_s=60) <= 60
    world.loss = 0.0
    world.run(30)
    for number in world.nodes:
        view = world.view(number)
        assert len(view) <= ACTIVE_MAX
        assert all(number in world.view(other) for other in view)
        assert view <= world.nodes[number].links
    world.check()


# --- named regressions --------------------------------------------------------------------


def test_mesh_108_three_hundred_nodes_hold_a_few_links_each_and_not_all_of_them():
    world = cluster(300)
    world.run_until(world.is_full, within_s=60)
    world.run(3 * GRACE_S)
    links = sum(len(world.view(number)) for number in world.nodes)
    assert links <= ACTIVE_MAX * 300, "a full mesh has 89,700"


def test_mesh_116_a_rollout_of_150_costs_a_bounded_number_of_dials_and_messages():
    world = cluster(150, directory=False, at_once=False)
    assert world.run_until(world.is_full, within_s=60) <= 60
    rollout = world.dials, sum(world.sent.values())
    assert rollout[0] <= 20 * 150
    assert rollout[1] <= 40 * 150
    world.run(60)
    assert world.dials - rollout[0] <= 2.5 * 60, "idle, the whole cluster dials about once a second"


@pytest.mark.parametrize("seed", range(5))
def test_partisan_75_fast_joins_through_several_seeds_leave_no_islands(seed: int):
    world = cluster(120, seeds=4, directory=False, seed=seed)
    assert world.run_until(world.is_full, within_s=60) <= 60


@pytest.mark.parametrize("seed", range(6))
def test_partisan_75_components_that_know_nothing_of_each_other_find_together(seed: int):
    world = cluster(40, seed=seed)
    islands(world, 17)
    world.dials_through = lambda a, b: True
    world.reaches = lambda a, b: b in world.component(a)
    assert world.run_until(world.is_whole, within_s=8, step_s=0.1) <= 8


def test_two_islands_heal_in_about_two_seconds():
    waits = []
    for seed in range(12):
        world = cluster(24, seed=seed)
        islands(world, 12)
        world.dials_through = lambda a, b: True
        world.reaches = lambda a, b, world=world: b in world.component(a)
        waits.append(world.run_until(world.is_whole, within_s=20, step_s=0.1))
    waits.sort()
    assert waits[len(waits) // 2] <= 2.0
    assert waits[-1] <= 8.0


def test_halves_grow_together_after_the_first_link():
    world = cluster(40, seed=3)
    islands(world, 20)
    world.dials_through = lambda a, b: True
    world.reaches = lambda a, b: b in world.component(a)
    world.run_until(world.is_whole, within_s=20, step_s=0.1)
    for node in world.nodes.values():  # what gossip would tell
        for other in world.nodes:
            node.overlay.state_changed(overlay_peer(other), dead=False, now=world.now)
        world.start(node.number)
    world.run(15)
    bridges = [(a, b) for a in range(1, 21) for b in world.view(a) if b > 20]
    assert len(bridges) >= 3, "one broken link does not part them again"


# --- mutations that have to be caught -----------------------------------------------------


def test_without_dials_out_of_view_islands_stay_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Overlay, "_probe", lambda self, now: None)
    world = cluster(40)
    islands(world, 17)
    world.dials_through = lambda a, b: True
    world.run(60)
    assert not world.is_whole()


def test_views_that_are_not_trimmed_grow_without_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Overlay, "_trim", lambda self, now, keep=None: [])
    world = cluster(150, directory=False)
    world.run(10)
    assert max(len(world.view(number)) for number in world.nodes) > ACTIVE_MAX


def grown_apart() -> OverlayWorld:
    """Two halves that each began through its own seed while the other's was out of reach."""
    world = OverlayWorld(seed=1)
    for number in range(1, 41):
        world.add(number, seeds=(1, 2))
    world.dials_through = lambda a, b: a % 2 == b % 2
    for number in world.nodes:
        world.start(number)
    world.run(30)
    assert world.component(1) == set(range(1, 41, 2))
    world.dials_through = lambda a, b: True
    world.reaches = lambda a, b: b in world.component(a)
    world.run(120)
    return world


def test_partisan_75_seeds_now_and_then_join_halves_that_grew_apart(
    monkeypatch: pytest.MonkeyPatch,
):
    assert grown_apart().is_whole()
    monkeypatch.setattr(seeking, "SEED_SHARE", 0.0)
    assert not grown_apart().is_whole(), "a full view has no need of seeds"


def parted_by_a_newcomer() -> set[int]:
    """Let one join a full cluster; return who lost a link and is no neighbour of the newcomer."""
    world = cluster(40, directory=False)
    world.run_until(world.is_full, within_s=60)
    world.run(30)
    before = {(a, b) for a in world.nodes for b in world.view(a)}
    world.add(41, seeds=(7,))
    world.start(41)
    world.run(5)
    gone = {(a, b) for a, b in before if b not in world.view(a)}
    return {a for a, _ in gone} - {a for a in world.nodes if 41 in world.view(a)}


def test_who_gives_up_a_neighbour_for_a_newcomer_parts_nobody():
    """An edge is split, not cut: its other end is the newcomer's neighbour too."""
    assert parted_by_a_newcomer() == set()


def test_a_newcomer_that_does_not_ask_whom_it_parted_is_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seeking.Seeking, "_dial_beside", lambda self, now: 0)
    assert parted_by_a_newcomer()


# --- odd networks -------------------------------------------------------------------------


@pytest.mark.parametrize("has_address", [True, False])
def test_a_host_that_nobody_can_dial_stays_linked(has_address: bool):
    world = cluster(40)
    world.dials_through = lambda a, b: True
    world.hidden = {40}
    if not has_address:
        for node in world.nodes.values():
            node.overlay.gone(overlay_peer(40))
    for _ in range(120):
        world.run(1)
        if world.now > 5:
            assert world.view(40), f"cut off at {world.now}"
    assert world.is_whole()


def test_a_line_without_discovery_stays_a_line():
    world = OverlayWorld()
    for number in range(1, 13):
        seeds = (number - 1,) if number > 1 else ()
        world.add(number, seeds=seeds, discovery=Discovery.OFF)
    world.give_directory()
    for number in range(1, 13):
        world.start(number)
    world.run(300)
    for number in range(1, 13):
        assert world.view(number) == {number - 1, number + 1} & set(world.nodes)
    assert world.is_whole()


def test_each_failure_domain_has_a_link_from_everywhere():
    domains = {number: "abc"[number % 3] for number in range(1, 60)} | {60: "rare"}
    world = OverlayWorld()
    for number in range(1, 61):
        world.add(number, seeds=(1,) if number > 1 else (), domain=domains[number])
    world.give_directory(domains.get)
    world.reaches = lambda a, b: True
    for number in range(1, 61):
        world.start(number)
    world.run(90)
    for number in range(1, 60):
        covered = {domains[other] for other in world.view(number)}
        assert {"a", "b", "c"} <= covered, f"{number} sees {covered}"
    assert world.is_whole()


# --- whole nodes --------------------------------------------------------------------------


def views(world: World) -> dict[str, set[str]]:
    """Return whom each host advertises."""
    names = {host.identity.peer: host.name for host in world.hosts}
    return {
        host.name: {names[peer] for peer in host.node.topology.active()}
        for host in world.hosts
        if host.node is not None
    }


def is_one(neighbours: dict[str, set[str]]) -> bool:
    """Return True when the two-sided links make one component."""
    start = min(neighbours)
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        for there in neighbours[here]:
            if there not in seen and here in neighbours.get(there, ()):
                seen.add(there)
                waiting.append(there)
    return seen == set(neighbours)


def test_whole_nodes_start_through_one_seed_and_shed_it():
    world = World(Scenario(seed=1, nodes=14, duration_s=30, command_every_s=0))
    assert not world.run().violations
    seen = views(world)
    assert is_one(seen)
    assert max(map(len, seen.values())) <= ACTIVE_MAX
    for host in world.hosts:
        assert host.node is not None
        assert len(host.node.topology.neighbours()) <= ACTIVE_MAX + PASSING
        assert len(host.node.topology.members()) == 14


def test_a_whole_node_without_addresses_stays_linked():
    def nowhere(host: Host, config: NodeConfig) -> NodeConfig:
        return evolve(config, advertise=()) if host.name == "n10" else config

    world = World(Scenario(seed=2, nodes=10, duration_s=60, command_every_s=0), configure=nowhere)
    assert not world.run().violations
    seen = views(world)
    assert is_one(seen)
    assert seen["n10"]


def test_whole_nodes_in_a_line_without_discovery():
    scenario = Scenario(
        seed=3,
        nodes=10,
        duration_s=60,
        command_every_s=0,
        topology=Topology.LINE,
        discovery=Discovery.OFF,
    )
    world = World(scenario)
    assert not world.run().violations
    for number in range(1, 11):
        expected = {f"n{number - 1}", f"n{number + 1}"} & set(views(world))
        assert views(world)[f"n{number}"] == expected


def test_whole_nodes_in_a_line_relay_nothing_that_is_not_sealed(monkeypatch: pytest.MonkeyPatch):
    relayed: Counter[int] = Counter()
    original = Unicast._relay

    def relay(self: Unicast, came: Arrival, *rest: Any) -> list[Any]:
        relayed[came.kind] += 1
        return original(self, came, *rest)

    monkeypatch.setattr(Unicast, "_relay", relay)
    scenario = Scenario(
        seed=3,
        nodes=5,
        duration_s=30,
        command_every_s=0.3,
        topology=Topology.LINE,
        discovery=Discovery.OFF,
    )
    world = World(scenario)
    assert not world.run().violations
    assert world.hosts[-1].node is not None
    assert world.hosts[-1].node.ipam_entries(), "an address was given over three relays"
    assert relayed[Code.SEALED] > 20
    assert relayed.keys() <= {
        Code.ERROR,
        Code.KEY_ASK,
        Code.KEY,
        Code.SEALED,
        Code.CONFIRM,
        Code.STALE,
    }


def test_two_halves_of_whole_nodes_find_together():
    world = World(Scenario(seed=4, nodes=10, duration_s=60, limits=DEFAULT_LIMITS))
    for index, host in enumerate(world.hosts):
        world.clock.at(0.2 * index, host.start)
    world.clock.run_until(12.0)
    assert is_one(views(world))
    side = {f"n{number}" for number in range(1, 6)}

    def apart(source: str, target: str) -> bool:
        return (source in side) != (target in side)

    world.network.walls.append(apart)
    world.clock.run_until(32.0)
    assert not is_one(views(world))
    world.network.walls.remove(apart)
    while not is_one(views(world)) and world.clock.now < 52.0:
        world.clock.run_until(world.clock.now + 0.1)
    assert world.clock.now <= 32.0 + 6.0, "about two seconds, with room for chance"
    world.clock.run_until(world.clock.now + 15.0)
    bridges = [n for n in sorted(side) for other in views(world)[n] if other not in side]
    assert len(bridges) >= 3
    for host in world.hosts:
        assert host.node is not None
        topology = host.node.topology
        assert {topology.state(peer) for peer in topology.members()} == {PeerState.ALIVE}


@pytest.mark.parametrize("seed", [2, 10])
def test_nobody_stays_in_doubt_after_a_heal_of_a_partial_mesh(seed: int):
    # Members that are no neighbours never refute what nobody says aloud: they have to be asked
    # again as soon as they, or others who reach them, speak.
    report = World(Scenario.swarm(seed, nodes=12, duration_s=150)).run()
    assert not report.violations
