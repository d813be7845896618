"""Whole nodes that start at once through one seed: what that costs, in links, bytes and copies."""

from __future__ import annotations

from functools import partial

import pytest

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.gossip import broadcast
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.clockwork import Trace
from meshcrdt.sim.scenario import Faults

NODES = 30
ACTIVE_MAX = DEFAULT_LIMITS.overlay_active_max


def cold_start(seed: int = 1) -> World:
    """Start nodes 20 ms apart, and run until all know all and all roots are equal."""
    scenario = Scenario(
        seed=seed,
        nodes=NODES,
        duration_s=60.0,
        faults=Faults(jitter_s=0.002),
        command_every_s=0.0,
        trace=Trace.OFF,
    )
    world = World(scenario)
    world.network.faultless = True
    for number, host in enumerate(world.hosts):
        world.clock.at(0.02 * number, partial(world.start, host))
    for step in range(1, 40):
        world.clock.run_until(0.25 * step)
        nodes = [host.node for host in world.hosts]
        if all(node and node.core and len(node.topology.members()) == NODES for node in nodes):
            break
    return world


def copies(world: World) -> tuple[int, int]:
    """Return how many deltas brought something, and how many were there already."""
    counts = [host.node.core.replica.statistics() for host in world.hosts]
    return sum(c.deltas_applied for c in counts), sum(c.redundant for c in counts)


def links_opened(world: World) -> int:
    return sum(host.node.topology.statistics().links.opened_total for host in world.hosts) // 2


def test_a_cluster_that_starts_at_once_joins_soon_and_says_little_twice() -> None:
    worlds = [cold_start(seed) for seed in range(3)]
    news, redundant = map(sum, zip(*map(copies, worlds), strict=True))
    assert redundant <= news
    for world in worlds:
        assert world.clock.now <= 2.0
        assert links_opened(world) <= ACTIVE_MAX * NODES
    assert sum(world.network.bytes_sent for world in worlds) <= 3 * 110_000 * NODES


def test_links_that_are_eager_from_the_start_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RIPE_S", 0.0)
    news, redundant = copies(cold_start())
    assert redundant > 3 * news
