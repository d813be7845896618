"""What a world of many hosts costs in memory: hosts that hold the same share it.

A thousand hosts with two thousand streams each are two million streams in one process.
"""

from __future__ import annotations

import gc
import tracemalloc

from meshcrdt.gossip.channels import Kind
from meshcrdt.gossip.holdings import Holdings
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.clockwork import rare_collections

TEN = Scenario(seed=4, nodes=10, duration_s=60.0)
STREAM_BYTES_MAX = 35_000
"""Of all that a small world holds for one stream at one host, what it remembers included."""


def holdings_of(world: World) -> list[Holdings]:
    nodes = [host.node for host in world.hosts]
    return [node.core.replica._context.holdings for node in nodes if node and node.core]


def test_hosts_that_hold_the_same_hold_one_object() -> None:
    world = World(TEN)
    report = world.run()
    assert not report.violations
    every = holdings_of(world)
    assert len(every) == 10
    states = [{id(stream.state) for _, stream in holdings.streams()} for holdings in every]
    assert len(states[0]) > 20
    # Whoever wrote a header built its state itself, and is told of no other: one host in ten.
    assert len(set().union(*states)) <= 2 * len(states[0])
    for kind in Kind:
        tops = [holdings.trees[kind].node(b"") for holdings in every]
        assert len({id(top) for top in tops}) == 1


def test_what_a_small_world_holds_is_bounded() -> None:
    tracemalloc.start()
    try:
        world = World(TEN)
        gc.collect()
        empty = tracemalloc.get_traced_memory()[0]
        world.run()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - empty
        streams = sum(len(list(holdings.streams())) for holdings in holdings_of(world))
    finally:
        tracemalloc.stop()
    assert grown / streams < STREAM_BYTES_MAX


def test_the_garbage_collector_is_as_it_was_after_a_world() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


def test_worlds_that_end_in_the_order_in_which_they_began_leave_nothing_behind() -> None:
    """As those of a sweep on threads do."""
    before = gc.get_threshold()
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] > before[0]
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before
