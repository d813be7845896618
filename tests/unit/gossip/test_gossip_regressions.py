"""Faults of other systems in how they spread state, each with the number of its issue."""

from __future__ import annotations

from gossip_graphs import drain, second, sparse, write
from gossip_world import World
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.gossip import Over, Push, Put
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.header import StreamKey
from meshcrdt.wire import decode

KEYS = [b"a", b"b", b"c", b"d"]


@given(
    flushes=st.lists(
        st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=2)), min_size=2, max_size=12
    ),
    data=st.data(),
)
def test_delta_crdt_ex_65_partial_deltas_in_any_order_lose_nothing(
    flushes: list[tuple[bytes, bytes | None]], data: st.DataObject
) -> None:
    """A delta under a context that covers what was not received reads as a delete there."""
    world = World(2)
    world.run()
    writer, reader = world.hosts
    for key in KEYS:
        writer.put(key, b"0", Over.OWN)
    world.run()
    signed = [writer.view()]
    for key, value in flushes:
        if value is None:
            writer.drop(key, Over.OWN)
        else:
            writer.put(key, value, Over.OWN)
        writer.sync_disk()
        signed.append(writer.view())
    sent = [item for _, _, item in world.wire]
    world.wire = []
    for index in data.draw(st.lists(st.integers(0, max(0, len(sent) - 1)), max_size=20)):
        if sent:
            reader.perform(reader.running.received(0, decode(sent[index]), world.now))
            world.wire = []  # nothing that it asks for is answered yet
            assert reader.view() in signed
            world.check()
    world.rounds(4)
    world.check_converged()


def test_weave_1554_a_storm_of_restarts_converges_and_counts_restarts_only() -> None:
    """Versions "in the millions": each meeting with the own ghost bumped a version and was news."""
    restarts = 6
    world = World(5)
    for host in world.hosts:
        host.put(b"%d" % host.number, b"0", Over.OWN)
    world.run()
    flown = 0
    for n in range(restarts):
        for host in world.hosts:
            world.crash(host.number)
            world.restart(host.number)
            host.put(b"%d" % host.number, b"%d" % n, Over.OWN)
            flown += sum(drain(world).values())
    world.rounds(3)
    world.check_converged()
    for host in world.hosts:
        head = host.running.head("c", host.peer)
        assert head is not None
        assert head.epoch.counter == host.boots == restarts + 1
        assert head.seq == 1
    assert flown < restarts * 5 * 60


def test_mesh_65_a_channel_that_nobody_knows_does_not_go_round_in_circles() -> None:
    """Three members that only relayed a channel passed old gossip on to each other for ever."""
    world = World(5, pairs=[(0, 1), (1, 2), (2, 3), (1, 3), (3, 4)])
    drain(world)
    for n in range(3):
        assert sum(write(world, 0, b"%d" % n, "nobody knows this").values()) <= 2 * 5
    second(world)
    assert write(world, 4, b"last", "nobody knows this") == {Code.DELTA: 4}
    assert not second(world, beats=True)[Code.DELTA]
    world.check_converged()


def test_mesh_68_the_backlog_of_a_channel_that_nobody_knows_is_bounded() -> None:
    """What waits for a link is one note a stream, whatever was written meanwhile."""
    world = World(3, pairs=[(0, 1), (1, 2)])
    drain(world)
    write(world, 0, b"first", "nobody knows this")
    relay = world.hosts[1]
    relay.events.clear()
    for n in range(500):
        world.hosts[0].write("nobody knows this", Put(b"%d" % (n % 9), b"%d" % n, Over.OWN))
        world.hosts[0].sync_disk()
        world.wire = [item for item in world.wire if item[1] == 1]
        drain_to(world, 1)
    pushes = [event for event in relay.events if isinstance(event, Push)]
    key = StreamKey("nobody knows this", world.hosts[0].peer)
    assert {push.stream for push in pushes} == {key}
    data = relay.running.render(2, key, pushes[0].since)
    assert data is not None
    assert len(data) < 600, "nine keys, not five hundred writes"
    world.wire = [(1, 2, data)]
    world.rounds(2)
    world.check_converged()


def drain_to(world: World, target: int) -> None:
    """Deliver what goes to one host and lose the rest."""
    while world.wire:
        if world.wire[0][1] == target:
            world.deliver()
            world.hosts[target].sync_disk()
        else:
            world.wire.pop(0)


def test_a_thousand_writes_in_a_sparse_network_cost_one_delta_a_branch() -> None:
    world = World(12, pairs=sparse(12, degree=4))
    drain(world)
    write(world, 0, b"0")
    second(world)
    total = sum(write(world, n % 12, b"%d" % n)[Code.DELTA] for n in range(12, 60))
    assert total <= 48 * 11 + 11
