"""Bringing much over one link: no answer and no set of answers may outgrow the link's queue."""

from __future__ import annotations

from gossip_world import Host, World, forged, identity_of, whole

from meshcrdt.gossip import Put, ToLink
from meshcrdt.gossip.messages import (
    ANSWER_MESSAGES_MAX,
    MESSAGE_BYTES_MAX,
    Absent,
    Announce,
    Code,
    Head,
    Heads,
    build,
    parse,
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


def test_a_join_of_600_members_needs_few_questions_and_no_large_frame() -> None:
    """The 10 MiB wall: Weave's state of 600 peers outgrew its frame, and nobody could join."""
    world = holder_and_newcomer()
    a, b = world.hosts
    b.note_visible = lambda change: None  # type: ignore[method-assign]
    a.running.link_opened(77, identity_of(4).peer, 0.0)
    for number in range(600):
        for channel, size in (("directory", 250), ("names", 60), ("~adjacency", 96)):
            state = forged(5 + number, {b"k": b"x" * size}, channel=channel)
            a.running.received(77, whole(state), 0.0)
    a.running.link_closed(77, 0.0)
    sizes: list[int] = []
    wants = 0
    original = world.transmit

    def transmit(host: Host, link: int, data: bytes) -> None:
        nonlocal wants
        sizes.append(len(data))
        wants += decode(data)[0] == Code.WANT
        original(host, link, data)

    world.transmit = transmit  # type: ignore[method-assign]
    world.heal(0, 1)
    waiting_max, turn_max = bring_over_a_slow_link(world)
    assert b.running.root_prefix() == a.running.root_prefix()
    assert b.running.statistics().streams == 1_800
    print(f"join of 600: {sum(sizes)} bytes, {wants} wants, largest message {max(sizes)}")
    assert wants <= 20
    assert max(sizes) <= 1.2 * MESSAGE_BYTES_MAX
    assert turn_max <= TURN_BYTES_MAX
    assert waiting_max < world.limits.link_repair_bytes_max
    assert sum(sizes) < 1_800 * 700


def test_what_an_answer_has_no_room_for_is_asked_for_again() -> None:
    world = holder_and_newcomer()
    a, b = world.hosts
    for channel in range(60):
        a.put(b"k", b"x" * 30_000, channel=f"c{channel}")
    a.sync_disk()
    world.heal(0, 1)
    later = 0
    while world.wire:
        source, _, data = world.wire[0]
        message = parse(decode(data), b"g" * 32)
        later += isinstance(message, Absent) and source == 0 and len(message.later) > 0
        world.deliver()
        for host in world.hosts:
            host.sync_disk()
    assert later >= 3
    assert b.running.root == a.running.root
    assert b.running.statistics().requests_under_way == 0


def test_streams_that_nobody_has_are_forgotten_and_come_up_again() -> None:
    world = World(3)
    world.all_honest = False
    world.run()
    a = world.hosts[0]
    states = [forged(5 + number, {b"k": b"v"}) for number in range(300)]
    heads = tuple(Head(state.header.stream, state.ref) for state in states)
    a.perform(a.running.received(1, build(Heads(heads)), 0.0))
    assert a.running.statistics().requests_under_way == 300
    assert len(world.wire) == 2, "300 streams, two questions"
    for _ in range(8):
        world.wire = []
        world.tick(10)
        a.running.check()
    assert a.running.statistics().requests_under_way == 0
