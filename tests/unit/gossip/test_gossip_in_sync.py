"""Knowing that two replicas are equal: what it costs, and when roots are compared (F23)."""

from __future__ import annotations

import pytest
from attrs import evolve
from gossip_world import Host, World, forged, identity_of, whole

from meshcrdt.gossip import Put, ToLink
from meshcrdt.gossip.header import seal
from meshcrdt.gossip.messages import Code
from meshcrdt.gossip.record import records_root
from meshcrdt.gossip.stream import State
from meshcrdt.gossip.sync import MISMATCHES_MAX, PREFIX_BYTES, Sync
from meshcrdt.wire import decode, encode


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


def who_begins(world: World) -> tuple[Host, int]:
    """Return the host that compares roots at the second mismatch, and its link."""
    host = min(world.hosts, key=lambda host: host.peer)
    return host, 1 - host.number


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
    host, link = who_begins(world)
    for _ in range(3):
        assert host.running.root_seen(link, b"x" * 8, 0.0) == []
        assert host.running.root_seen(link, host.running.root_prefix(), 0.0) == []


def test_a_cluster_that_never_rests_is_compared_ever_more_rarely() -> None:
    world = pair()
    host, link = who_begins(world)
    replica = host.running
    started = [n for n in range(1, 200) if replica.root_seen(link, b"%8d" % n, 0.0)]
    gaps = [later - sooner for sooner, later in zip([0, *started], started, strict=False)]
    assert gaps[:6] == [2, 4, 8, 16, 32, 32]
    assert max(gaps) == MISMATCHES_MAX
    replica.root_seen(link, replica.root_prefix(), 0.0)
    assert [bool(replica.root_seen(link, b"x" * 8, 0.0)) for _ in range(2)] == [False, True]
    other = world.hosts[link].running
    found = [bool(other.root_seen(host.number, b"x" * 8, 0.0)) for _ in range(3)]
    assert found == [False, False, True], "the other end leaves it to this one at first"


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


def test_one_changed_key_of_100_000_costs_no_more_than_the_change() -> None:
    """Two replicas of 100,000 keys in two streams; one key changes and its delta is lost."""
    world = pair()
    world.all_honest = False
    a, b = world.hosts
    records = {b"key%05d" % n: b"value" for n in range(50_000)}
    many, more = (forged(number, records) for number in (5, 6))
    for host, link in ((a, 1), (b, 0)):
        for state in (many, more):
            host.running._context.holdings.adopt(state, frozenset(records))
            host.running._context.publics[state.header.origin] = state.envelope.public
        assert host.running.root_seen(link, host.running.root_prefix(), 0.0) == []
    changed = forged(5, {b"key00007": b"other"}, seq=2).tree.get(b"key00007")
    assert changed is not None
    tree = many.tree.updated([(changed.key, changed.hash, changed)])
    header = evolve(
        many.header,
        seq=2,
        previous=many.ref.hash,
        state_root=tree.root,
        records_root=records_root([changed], []),
    )
    after = State(seal(header, identity_of(5)), tree)
    a.running._adopter.enter(after, frozenset((changed.key,)), link=None)
    a.running._outputs()
    show_roots(world, 0, 1)
    show_roots(world, 0, 1)
    sizes: dict[str, int] = {}
    while world.wire:
        data = world.wire[0][2]
        name = Code(decode(data)[0]).name
        sizes[name] = sizes.get(name, 0) + len(data)
        world.deliver()
    assert b.running.root == a.running.root
    print(f"one changed key of 100,000: {sizes}, a signature of 64 bytes in it")
    assert sizes["WANT"] + sizes["COMPACT"] - 64 <= 250
    assert sum(sizes.values()) - 64 <= 500
