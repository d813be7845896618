"""Knowing that two replicas are equal: what it costs, and when roots are compared (F23)."""

from __future__ import annotations

import pytest
from gossip_world import World, forged, whole

from meshcrdt.gossip import Put, ToLink
from meshcrdt.gossip.messages import Code
from meshcrdt.gossip.sync import MISMATCHES_MAX, PREFIX_BYTES, Sync
from meshcrdt.wire import encode


def show_roots(world: World, one: int, other: int) -> None:
    """Let both ends of a link see what the other's heartbeat carries."""
    for here, there in ((one, other), (other, one)):
        prefix = world.hosts[there].running.root_prefix()
        host = world.hosts[here]
        host.perform(host.running.root_seen(there, prefix, world.now))


def apart(world: World) -> None:
    """Let host 0 write something whose delta is lost."""
    world.hosts[0].put(b"k", b"v%d" % len(world.hosts[0].events))
    world.hosts[0].sync_disk()
    world.wire = []


def pair() -> World:
    world = World(2)
    world.run()
    world.hosts[0].put(b"k", b"v")
    world.run()
    return world


def test_a_prefix_covers_durable_and_volatile_streams() -> None:
    world = pair()
    a, b = (host.running for host in world.hosts)
    assert a.root_prefix() == b.root_prefix()
    assert len(a.root_prefix()) == PREFIX_BYTES == 8
    seen = {a.root_prefix()}
    for channel in ("c", "~v"):
        world.hosts[0].write(channel, Put(b"k", b"w"))
        world.hosts[0].sync_disk()
        assert a.root_prefix() not in seen
        assert a.root_prefix() != b.root_prefix()
        seen.add(a.root_prefix())
    world.run()
    assert a.root_prefix() == b.root_prefix()


def test_the_second_mismatch_in_a_row_starts_a_comparison_and_repairs() -> None:
    world = pair()
    apart(world)
    show_roots(world, 0, 1)
    assert not world.wire, "one mismatch may be a delta on its way"
    show_roots(world, 0, 1)
    assert {data[1] for _, _, data in world.wire} == {Code.ROOT}
    world.run()
    world.check_converged()
    assert world.hosts[1].view() == world.hosts[0].view()


def test_a_match_in_between_begins_the_count_anew() -> None:
    world = pair()
    b = world.hosts[1]
    for _ in range(3):
        assert b.running.root_seen(0, b"x" * 8, 0.0) == []
        assert b.running.root_seen(0, b.running.root_prefix(), 0.0) == []


def test_a_cluster_that_never_rests_is_compared_ever_more_rarely() -> None:
    world = pair()
    b = world.hosts[1].running
    started = [n for n in range(1, 200) if b.root_seen(0, b"%8d" % n, 0.0)]
    gaps = [later - sooner for sooner, later in zip([0, *started], started, strict=False)]
    assert gaps[:6] == [2, 4, 8, 16, 32, 32]
    assert max(gaps) == MISMATCHES_MAX
    b.root_seen(0, b.root_prefix(), 0.0)
    assert [bool(b.root_seen(0, b"x" * 8, 0.0)) for _ in range(2)] == [False, True]


def test_nothing_is_compared_while_something_is_on_its_way() -> None:
    world = pair()
    world.all_honest = False
    b = world.hosts[1]
    state = forged(5, {b"k": b"x"}, seq=2)
    code, envelope, _, puts, drops, hops = whole(state)
    since = (envelope[0][2], 1, b"h" * 32)
    b.running.received(0, (code, envelope, since, puts, drops, hops), 0.0)
    assert b.running.statistics().requests_under_way == 1
    assert not any(b.running.root_seen(0, b"x" * 8, 0.0) for _ in range(8))


def test_the_timer_is_rare_where_heartbeats_show_roots() -> None:
    world = pair()
    assert world.hosts[0].running.next_deadline() < 4.0
    show_roots(world, 0, 1)
    world.tick(4.0)
    for host in world.hosts:
        due = host.running.next_deadline()
        assert due is not None
        assert 20.0 < due - world.now < 40.0


@pytest.mark.parametrize("writers", [1, 60, 200])
def test_in_sync_costs_the_same_whatever_the_number_of_writers(writers: int) -> None:
    world = pair()
    for number in range(writers):
        state = forged(5 + number, {b"k": b"v"})
        for host, link in ((world.hosts[0], 1), (world.hosts[1], 0)):
            host.running.received(link, whole(state), 0.0)
    sent = [o for o in world.hosts[0].running.handle_timeout(10.0) if isinstance(o, ToLink)]
    size = sum(len(encode(o.message)) for o in sent)
    print(f"in sync with {writers} writers: {size} bytes")
    assert size <= 48
    assert not [
        o
        for out in sent
        for o in world.hosts[1].running.received(0, out.message, 10.0)
        if isinstance(o, ToLink)
    ]


def test_heartbeats_that_are_not_looked_at_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sync, "root_seen", lambda self, link, prefix: None)
    with pytest.raises(AssertionError):
        test_the_second_mismatch_in_a_row_starts_a_comparison_and_repairs()
