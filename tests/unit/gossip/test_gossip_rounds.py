"""L1: after any loss replicas agree within c log N rounds; in a round all messages go one hop."""

from __future__ import annotations

import math

import pytest
from gossip_graphs import ripen, sparse
from gossip_world import World

from meshcrdt.gossip import Over
from meshcrdt.gossip.broadcast import Broadcast, Route
from meshcrdt.gossip.sync import Sync

SIZES = (8, 16, 32, 64, 128)
PER_LOG = 4.0
"""Rounds for each doubling of the members."""
SECOND = 4
"""So many rounds take a second: heartbeats show roots so often."""


def one_hop(world: World) -> None:
    """Deliver what is on its way now, and nothing that this causes."""
    for _ in range(len(world.wire)):
        world.deliver()
    for host in world.hosts:
        host.sync_disk()


def rounds(count: int, *, seed: int = 1, writers: int = 1) -> int:
    """Lose all that `writers` write, then count rounds until all replicas hold the same."""
    world = World(count, pairs=sparse(count, seed=seed), seed=seed)
    ripen(world)
    world.loss = 1.0
    for host in world.hosts[:: max(1, count // writers)]:
        host.put(b"k%d" % host.number, b"v", Over.OWN)
        host.sync_disk()
    world.wire.clear()
    world.loss = 0.0
    for number in range(1, 100):
        if number % SECOND == 1:
            world.beat()
        one_hop(world)
        world.tick(1.0 / SECOND)
        if len({host.running.root for host in world.hosts}) == 1:
            return number
    raise AssertionError(f"{count} replicas do not agree")


@pytest.mark.parametrize("writers", [1, 8])
def test_l1_rounds_grow_with_the_logarithm_of_the_members(writers: int) -> None:
    for count in SIZES:
        took = max(rounds(count, seed=seed, writers=writers) for seed in range(3))
        print(f"{count} members, {writers} writers: {took} rounds")
        assert took <= PER_LOG * math.log2(count)


def test_passing_nothing_on_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hop then waits for heartbeats that differ."""
    monkeypatch.setattr(Broadcast, "route", lambda self, key, ref, link, hops: Route((), (), hops))
    with pytest.raises(AssertionError):
        test_l1_rounds_grow_with_the_logarithm_of_the_members(1)


def test_comparing_no_roots_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sync, "root_seen", lambda self, link, prefix: False)
    monkeypatch.setattr(Sync, "handle_timeout", lambda self: None)
    with pytest.raises(AssertionError, match="do not agree"):
        test_l1_rounds_grow_with_the_logarithm_of_the_members(1)
