"""Convergence and no resurrection over arbitrary histories of a small cluster."""

from __future__ import annotations

from gossip_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.gossip import Drop, Over, Put

KEYS = st.sampled_from([b"a", b"b", b"c"])
HOST = st.integers(0, 4)
OVER = st.sampled_from(list(Over))
CHANNEL = st.sampled_from(["c", "c", "c", "d", "~v"])

STEP = st.one_of(
    st.tuples(st.just("put"), HOST, CHANNEL, KEYS, st.binary(max_size=3), OVER),
    st.tuples(st.just("drop"), HOST, CHANNEL, KEYS, OVER),
    st.tuples(st.just("deliver"), st.integers(0, 50), st.integers(1, 12)),
    st.tuples(st.just("deliver"), st.just(0), st.integers(1, 30)),
    st.tuples(st.just("disk"), HOST, st.integers(1, 3)),
    st.tuples(st.just("cut"), HOST, HOST),
    st.tuples(st.just("heal"), HOST, HOST),
    st.tuples(st.just("crash"), HOST),
    st.tuples(st.just("restart"), HOST),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 3.0])),
)


def scope(channel: str, over: Over) -> Over:
    return Over.OWN if channel.startswith("~") else over


def perform(world: World, step: tuple) -> None:
    count = len(world.hosts)
    match step:
        case ("put", host, channel, key, value, over):
            if world.hosts[host % count].replica is not None:
                world.hosts[host % count].write(channel, Put(key, value, scope(channel, over)))
        case ("drop", host, channel, key, over):
            if world.hosts[host % count].replica is not None:
                world.hosts[host % count].write(channel, Drop(key, scope(channel, over)))
        case ("deliver", index, times):
            for _ in range(times):
                world.deliver(index)
        case ("disk", host, transactions):
            world.hosts[host % count].sync_disk(transactions)
        case ("cut" | "heal" as what, a, b):
            a, b = a % count, b % count
            if a != b:
                (world.partition if what == "cut" else world.heal)(a, b)
        case ("crash", host):
            world.crash(host % count)
        case ("restart", host):
            world.restart(host % count)
        case ("snapshot", host):
            world.hosts[host % count].keep_snapshot()
        case ("roll back", host):
            world.crash(host % count)
            world.hosts[host % count].roll_back()
        case ("tick", seconds):
            world.tick(seconds)


def finish(world: World) -> None:
    """Heal everything and let anti-entropy do its work."""
    for number in range(len(world.hosts)):
        world.restart(number)
    for pair in sorted(tuple(sorted(pair)) for pair in world.cut):
        world.heal(*pair)
    world.rounds(8)
    world.check_converged()


def run_history(
    count: int, seed: int, steps: list, *, loss: float = 0.0, repeat: float = 0.0
) -> World:
    world = World(count, seed=seed)
    world.loss, world.repeat = loss, repeat
    for step in steps:
        perform(world, step)
        world.check()
    finish(world)
    return world


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(3, 5),
    seed=st.integers(0, 1_000_000),
    steps=st.lists(STEP, max_size=60),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    repeat=st.sampled_from([0.0, 0.3]),
)
def test_l1_l2_any_history_converges_and_nothing_deleted_comes_back(
    count: int, seed: int, steps: list, loss: float, repeat: float
) -> None:
    run_history(count, seed, steps, loss=loss, repeat=repeat)


ROLLBACK = st.one_of(STEP, st.tuples(st.sampled_from(["snapshot", "roll back", "restart"]), HOST))


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(2, 4),
    seed=st.integers(0, 1_000_000),
    steps=st.lists(ROLLBACK, max_size=60),
    loss=st.sampled_from([0.0, 0.3]),
)
def test_f14_f20_disks_that_go_back_in_time_still_converge(
    count: int, seed: int, steps: list, loss: float
) -> None:
    run_history(count, seed, steps, loss=loss)
