"""Fetching and comparing: by tree, resumable, bounded, from whoever answers (F2, F23)."""

from __future__ import annotations

from attrs import evolve
from gossip_world import World, forged, whole

from meshcrdt.base.limits import Limits
from meshcrdt.gossip import Alarm, Drop, Misbehaved, Over, Put, Quarantined, Serve, ToLink
from meshcrdt.gossip.context import WASTED_MAX
from meshcrdt.gossip.fetch import node_parts
from meshcrdt.gossip.messages import (
    MESSAGE_BYTES_MAX,
    Absent,
    Announce,
    Code,
    Ending,
    Get,
    Head,
    Heads,
    Nodes,
    Part,
    Wanted,
    build,
)
from meshcrdt.gossip.stream import State
from meshcrdt.wire import decode


def separated_pair(**kwargs: Limits) -> World:
    world = World(2, **kwargs)
    world.run()
    world.partition(0, 1)
    return world


def test_a_large_state_goes_by_tree_in_bounded_messages() -> None:
    world = separated_pair()
    a, b = world.hosts
    for start in range(0, 3_000, 1_000):
        a.write("c", *[Put(b"%d" % n, b"x" * 200) for n in range(start, start + 1_000)])
        a.sync_disk()
    world.heal(0, 1)
    sizes = []
    while world.wire:
        sizes.append(len(world.wire[0][2]))
        world.deliver()
        assert len(b.view()) in (0, 3_000)
    assert len(b.view()) == 3_000
    assert max(sizes) < 1.2 * MESSAGE_BYTES_MAX
    assert b.running.statistics().trees_fetched == 1
    world.run()
    world.check()


def test_leaves_larger_than_a_message_come_in_parts() -> None:
    world = separated_pair()
    a, b = world.hosts
    for n in range(12):
        a.put(b"%d" % n, bytes([n]) * 65_000)
        a.sync_disk()
    world.heal(0, 1)
    world.run()
    assert b.view() == a.view()
    assert len(b.view()) == 12


def test_equal_subtrees_are_not_sent_again() -> None:
    world = separated_pair()
    a, b = world.hosts
    a.write("c", *[Put(b"%d" % n, b"x" * 200) for n in range(1_000)])
    a.sync_disk()
    world.heal(0, 1)
    world.run()
    world.partition(0, 1)
    for _ in range(70):
        a.put(b"7", b"again")
        a.sync_disk()
    world.heal(0, 1)
    sent = 0
    while world.wire:
        sent += len(world.wire[0][2])
        world.deliver()
    assert b.view()[b"7"] == [b"again"]
    assert sent < 30_000, "one leaf and the nodes above it, not 200 kB"


def test_proved_subtrees_stay_proved_when_the_header_moves_on() -> None:
    world = separated_pair()
    a, b = world.hosts
    a.write("c", *[Put(b"%d" % n, b"x" * 900) for n in range(900)])
    a.sync_disk()
    world.heal(0, 1)
    moved = sent = 0
    while world.wire:
        source, _, data = world.wire[0]
        sent += len(data) if source == 0 else 0
        world.deliver()
        if source == 0 and moved < 3:
            moved += 1
            a.put(b"7", b"%d" % moved)
            a.sync_disk()
    world.rounds(2)
    world.check_converged()
    assert b.view()[b"7"] == [b"3"]
    assert sent < 1.3 * 900 * 1_000


def test_a_fetch_goes_on_at_another_holder_when_its_link_closes() -> None:
    world = World(3)
    world.run()
    a, b, c = world.hosts
    for other in (0, 1):
        world.partition(other, 2)
    a.write("c", *[Put(b"%d" % n, b"x" * 900) for n in range(900)])
    world.run()
    world.heal(0, 2)
    for _ in range(6):
        world.deliver()
    assert c.running.statistics().requests_under_way == 1
    world.heal(1, 2)
    world.partition(0, 2)
    world.run()
    assert c.view() == b.view()
    assert c.running.statistics().requests_under_way == 0


def test_a_silent_link_is_given_up_after_a_few_tries() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0]
    a.perform(a.running.received(1, build(Announce(forged(5, {b"k": b"1"}).envelope, ())), 0.0))
    assert a.running.statistics().requests_under_way == 1
    for _ in range(8):
        world.wire = []
        world.tick(10)
    assert a.running.statistics().requests_under_way == 0
    a.running.check()


def test_a_server_that_adds_nothing_is_not_asked_for_ever() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0]
    state = forged(5, {b"k": b"1"})
    a.perform(a.running.received(1, build(Announce(state.envelope, ())), 0.0))
    empty = build(Nodes(state.header.stream, (), Ending.DONE))
    asked = 0
    for _ in range(50):
        out = a.running.received(1, empty, 0.0)
        asked += sum(o.message[0] == Code.GET for o in out if isinstance(o, ToLink))
    assert asked <= 5
    assert a.running.statistics().requests_under_way == 0


def test_f27_a_link_that_wastes_verifications_is_closed() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0].running
    good = forged(5, {b"k": b"1"})
    bad = evolve(good, envelope=evolve(good.envelope, signature=b"\1" * 64))
    closed = []
    for _ in range(WASTED_MAX):
        out = a.received(1, whole(bad), 0.0)
        assert [o.rule for o in out if isinstance(o, Quarantined)] == ["signature"]
        closed += [o for o in out if isinstance(o, Misbehaved)]
    assert len(closed) == 1
    # A bad signature says nothing about the header: with a good one it is taken.
    a.received(1, whole(good), 0.0)
    assert a.head("c", good.header.origin) == good.ref


def test_f23_one_difference_among_many_streams_costs_little() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    for number in range(4):
        for n in range(60):
            state = forged(5 + number, {b"k": b"v"}, channel=f"c{n}")
            for host, link in ((a, 1), (b, 0)):
                host.running.received(link, whole(state), 0.0)
    assert a.running.root == b.running.root
    b.running.received(0, whole(forged(5, {b"k": b"new"}, channel="c7", seq=2)), 0.0)
    world.wire = []
    world.tick(4)
    sent = 0
    while world.wire:
        sent += len(world.wire[0][2])
        world.deliver()
    assert a.running.root == b.running.root
    assert sent < 10_000
    world.wire = []
    world.tick(4)
    quiet = sum(len(data) for _, _, data in world.wire)
    world.run()
    assert quiet < 200, "equal roots end it"


def test_an_origin_with_too_many_channels_keeps_the_same_ones_everywhere() -> None:
    states = [forged(5, {b"k": b"v"}, channel=f"c{n}") for n in range(6)]
    worlds = []
    for order in (states, states[::-1]):
        world = World(2, limits=Limits(streams_per_origin_max=3))
        world.all_honest = False
        world.run()
        host = world.hosts[0]
        for state in order:
            host.perform(host.running.received(1, whole(state), 0.0))
        host.running.check()
        worlds.append(world)
    first, second = (world.hosts[0].running for world in worlds)
    assert first.channels() == second.channels() == ("c0", "c1", "c2")
    assert first.root == second.root
    assert [e for e in worlds[1].hosts[0].events if isinstance(e, Alarm)]


def test_a_host_that_holds_something_older_is_a_source_when_nobody_else_is() -> None:
    world = World(3)
    world.run()
    a, b, c = world.hosts
    for pair in ((0, 2), (1, 2)):
        world.partition(*pair)
    a.write("c", *[Put(b"%d" % n, b"x" * 500) for n in range(300)])
    world.run()
    world.partition(0, 1)
    a.put(b"1", b"newer")
    a.sync_disk()
    world.heal(0, 2)
    for _ in range(5):
        world.deliver()
    world.heal(1, 2)
    world.partition(0, 2)
    world.crash(0)
    world.rounds(3)
    assert c.view() == b.view()
    assert len(c.view()) == 300


def test_drops_travel_in_deltas_and_trees() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.write("c", *[Put(b"%d" % n, b"x" * 500) for n in range(100)])
    world.run()
    a.drop(b"5", Over.OWN)
    world.run()
    assert b"5" not in b.view()
    world.partition(0, 1)
    for n in range(70):
        a.write("c", Drop(b"%d" % n, Over.OWN))
        a.sync_disk()
    world.heal(0, 1)
    world.run()
    assert sorted(b.view()) == sorted(b"%d" % n for n in range(70, 100))
    assert len(b.disk["record"]) == 30


def test_get_of_what_is_not_held_is_answered_with_moved() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0].running
    stream = forged(5, {}).header.stream
    (out,) = a.received(1, build(Get(stream, (Wanted(b"", b"h" * 32),))), 0.0)
    assert isinstance(out, Serve)
    (data,) = a.serve(1, out.request)
    assert decode(data) == build(Nodes(stream, (), Ending.MOVED))


def test_f27_forged_equivocation_counts_as_waste_and_known_one_costs_nothing() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0].running
    held, other = (forged(5, {b"k": value}) for value in (b"1", b"2"))
    a.received(1, whole(held), 0.0)
    bad = evolve(other, envelope=evolve(other.envelope, signature=b"\1" * 64))
    out = a.received(1, whole(bad), 0.0)
    assert "signature" in [o.rule for o in out if isinstance(o, Quarantined)]
    a.received(1, whole(other), 0.0)
    assert len(a.equivocations()) == 1
    verified = a.statistics().verified
    for state in (held, other):
        a.received(1, whole(state), 0.0)
    assert a.statistics().verified == verified


def two_part_leaf() -> tuple[State, Part, Part, Part]:
    """Return a state of one leaf, its two honest parts, and a lie in place of the first."""
    state = forged(5, {b"k": b"x" * 60_000, b"l": b"x" * 60_000})
    top = state.tree.node(b"")
    assert top is not None
    first, second = node_parts(b"", top, bytes_max=MESSAGE_BYTES_MAX // 2)
    lie = evolve(first, records=(evolve(first.records[0], value=b"lie"),))
    return state, first, second, lie


def test_who_was_not_asked_cannot_spoil_a_fetch() -> None:
    world = World(3)
    world.run()
    a = world.hosts[0].running
    state, first, second, lie = two_part_leaf()
    stream = state.header.stream
    a.received(1, build(Announce(state.envelope, ())), 0.0)
    a.received(2, build(Nodes(stream, (lie,), Ending.DONE)), 0.0)
    out = a.received(1, build(Nodes(stream, (first, second), Ending.DONE)), 0.0)
    assert not [o for o in out if isinstance(o, Quarantined)], "the honest server is not blamed"
    assert a.head("c", state.header.origin) == state.ref


def test_the_half_of_a_leaf_that_a_lost_link_brought_is_not_believed_at_the_next() -> None:
    world = World(3)
    world.run()
    a = world.hosts[0].running
    state, first, second, lie = two_part_leaf()
    stream = state.header.stream
    a.received(1, build(Announce(state.envelope, ())), 0.0)
    a.received(1, build(Nodes(stream, (lie,), Ending.MORE)), 0.0)
    asked = [o for o in a.link_closed(1, 0.0) if isinstance(o, ToLink)]
    assert [(o.link, o.message) for o in asked] == [
        (2, build(Get(stream, (Wanted(b"", state.header.state_root),))))
    ]
    out = a.received(2, build(Nodes(stream, (first, second), Ending.DONE)), 0.0)
    assert not [o for o in out if isinstance(o, Quarantined)]
    assert a.head("c", state.header.origin) == state.ref


def test_a_stream_that_waits_to_be_asked_for_and_is_announced_is_not_asked_for_again() -> None:
    world = World(2)
    world.run()
    a = world.hosts[0].running
    states = [forged(5 + n, {b"k": b"x" * 40_000}) for n in range(40)]
    states += [forged(5 + n, {b"k": b"x" * 40_000}, channel="d") for n in range(40)]
    heads = tuple(Head(state.header.stream, state.ref) for state in states)
    a.received(1, build(Heads(heads)), 0.0)
    for state in states[-4:]:
        a.received(1, build(Announce(state.envelope, ())), 0.0)
        a.check()
    for state in states:
        a.received(1, build(Absent((state.header.stream,))), 0.0)
        a.check()


def test_channels_that_were_given_up_leave_nothing_behind() -> None:
    world = World(2, limits=Limits(streams_per_origin_max=3))
    world.all_honest = False
    world.run()
    host = world.hosts[0]
    for number in reversed(range(100)):
        state = forged(5, {b"k": b"v"}, channel=f"c{number:03}")
        host.perform(host.running.received(1, whole(state), 0.0))
    host.running.check()
    assert host.running.channels() == ("c000", "c001", "c002")
    assert set(host.running._context.holdings.channels) == set(host.running.channels())
