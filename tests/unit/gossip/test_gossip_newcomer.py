"""Bringing much over one link: no answer and no set of answers may outgrow the link's queue."""

from __future__ import annotations

from gossip_world import World, forged

from meshcrdt.gossip import Put, ToLink
from meshcrdt.gossip.messages import (
    ANSWER_MESSAGES_MAX,
    MESSAGE_BYTES_MAX,
    Announce,
    Code,
    Head,
    Heads,
    build,
)
from meshcrdt.wire import decode

TURN_BYTES_MAX = ANSWER_MESSAGES_MAX * 1.2 * MESSAGE_BYTES_MAX


def holder_and_newcomer() -> World:
    world = World(2)
    world.run()
    world.partition(0, 1)
    return world


def bring_over_a_slow_link(world: World) -> tuple[int, int]:
    """Deliver what host 1 asks at once and what host 0 answers one by one.

    Returns the most bytes that ever waited at host 0, and the most that one event added.
    """
    waiting_max = turn_max = 0
    while world.wire:
        before = sum(len(data) for source, _, data in world.wire if source == 0)
        asked = [index for index, item in enumerate(world.wire) if item[0] == 1]
        world.deliver(asked[0] if asked else 0)
        waiting = sum(len(data) for source, _, data in world.wire if source == 0)
        waiting_max = max(waiting_max, waiting)
        turn_max = max(turn_max, waiting - before)
        for host in world.hosts:
            host.sync_disk()
    return waiting_max, turn_max


def test_many_large_streams_never_fill_the_queue_of_the_one_link_that_brings_them() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    for channel in range(12):
        puts = [Put(b"%d" % n, b"x" * 4_000) for n in range(250)]
        a.write(f"c{channel}", *puts)
        a.sync_disk()
    world.heal(0, 1)
    waiting_max, turn_max = bring_over_a_slow_link(world)
    assert waiting_max < world.limits.link_repair_bytes_max
    assert turn_max <= TURN_BYTES_MAX
    assert b.running.root == a.running.root
    assert b.running.statistics().trees_fetched == 12


def test_many_small_streams_never_fill_the_queue_either() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    for channel in range(62):
        a.put(b"k", b"x" * 1_000, channel=f"c{channel}")
    world.run()
    world.heal(0, 1)
    world.run()
    world.partition(0, 1)
    for channel in range(62):  # known there, so that each is answered by one large delta
        a.put(b"l", b"x" * 64_000, channel=f"c{channel}")
        a.put(b"m", b"x" * 60_000, channel=f"c{channel}")
    for channel in range(2):  # and two that go by tree beside them
        for n in range(20):
            a.put(b"%d" % n, b"x" * 60_000, channel=f"d{channel}")
            a.sync_disk()
    world.run()
    world.heal(0, 1)
    waiting_max, _ = bring_over_a_slow_link(world)
    assert waiting_max < world.limits.link_repair_bytes_max
    assert b.running.root == a.running.root


def test_a_leaf_larger_than_a_whole_queue_is_fetched_from_offset_to_offset() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    for n in range(64):
        a.put(b"%d" % n, bytes([n]) * 65_500)
    world.run()
    world.heal(0, 1)
    waiting_max, turn_max = bring_over_a_slow_link(world)
    assert turn_max <= TURN_BYTES_MAX
    assert waiting_max <= TURN_BYTES_MAX
    assert b.view() == a.view()
    assert len(b.view()) == 64


def test_what_was_fetched_survives_the_loss_of_the_only_link() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    a.write("c", *[Put(b"%d" % n, b"x" * 3_900) for n in range(1_000)])
    a.sync_disk()
    world.heal(0, 1)
    sent = 0
    for cut_after in (15, 15, 10_000):
        for _ in range(cut_after):
            if not world.wire:
                break
            source, _, data = world.wire[0]
            sent += len(data) if source == 0 else 0
            world.deliver()
        if cut_after == 15:
            assert world.wire, "the cut comes in the middle"
            world.partition(0, 1)
            world.heal(0, 1)
    assert b.view() == a.view()
    assert sent < 1.4 * 1_000 * 4_000


def test_a_slow_link_is_not_taken_for_a_silent_one_while_it_brings_answers() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    for channel in range(4):
        a.write(f"c{channel}", *[Put(b"%d" % n, b"x" * 4_000) for n in range(250)])
        a.sync_disk()
    world.heal(0, 1)
    gets = 0
    for _ in range(200):
        if not world.wire:
            break
        asked = [index for index, item in enumerate(world.wire) if item[0] == 1]
        index = asked[0] if asked else 0
        gets += decode(world.wire[index][2])[0] == Code.GET
        world.deliver(index)
        if not asked:
            world.now += 0.8
            if (due := b.running.next_deadline()) is not None and due <= world.now:
                b.perform(b.running.handle_timeout(world.now))
    assert b.running.root == a.running.root
    assert gets < 4 * 6, "nothing was asked for twice"


def test_a_link_that_announces_much_and_serves_nothing_leaves_room_for_the_others() -> None:
    world = World(3)
    world.all_honest = False
    world.run()
    a = world.hosts[0].running
    large = {b"%d" % n: b"x" * 40_000 for n in range(2)}
    for channel in range(64):
        state = forged(5, large, channel=f"c{channel:02}")
        a.received(1, build(Announce(state.envelope, ())), 0.0)
        a.check()
    good = forged(6, large)
    wants = a.received(2, build(Heads((Head(good.header.stream, good.ref),))), 0.0)
    assert [(o.link, o.message[0]) for o in wants if isinstance(o, ToLink)] == [(2, Code.WANT)]
    gets = a.received(2, build(Announce(good.envelope, ())), 0.0)
    assert [(o.link, o.message[0]) for o in gets if isinstance(o, ToLink)] == [(2, Code.GET)]
