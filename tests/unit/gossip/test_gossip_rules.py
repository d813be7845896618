"""The schedules that break the obvious alternatives, run against the real machine (F1..F20)."""

from __future__ import annotations

import pytest
from gossip_world import GENESIS, Host, World, forged, identity_of, whole

from meshcrdt.base.ids import Epoch
from meshcrdt.gossip import (
    Alarm,
    Equivocated,
    Over,
    OwnStreamAhead,
    Put,
    Quarantined,
    StreamChanged,
    ToLink,
)
from meshcrdt.gossip.compact import Compact
from meshcrdt.gossip.messages import Announce, Delta, Heads, Nodes, Proof, Refused, Want, parse
from meshcrdt.gossip.tree_messages import Turn, Wish


def messages(world: World, source: int, target: int) -> list[object]:
    from meshcrdt.wire import decode

    return [parse(decode(data), GENESIS) for a, b, data in world.wire if (a, b) == (source, target)]


def feed(host: Host, link: int, message: tuple) -> list[object]:
    start = len(host.events)
    host.perform(host.running.received(link, message, host.world.now))
    host.settle()
    return host.events[start:]


def events(host: Host, kind: type) -> list:
    return [event for event in host.events if isinstance(event, kind)]


def settled_world(count: int, **kwargs: int) -> World:
    world = World(count, **kwargs)
    world.run()
    return world


def test_f1_a_relay_that_leaves_out_a_live_record_changes_nothing() -> None:
    world = settled_world(2)
    world.all_honest = False
    full = forged(5, {b"k": b"1", b"other": b"2"})
    records = tuple(e.value for e in full.tree.entries() if e.key != b"k")
    from meshcrdt.gossip.header import KeyOnWire
    from meshcrdt.gossip.messages import build

    lie = build(Delta(full.envelope, None, records, ()), KeyOnWire.SENT)
    host = world.hosts[0]
    out = feed(host, 1, lie)
    assert not [o for o in out if isinstance(o, StreamChanged)]
    assert host.running.head("c", identity_of(5).peer) is None
    # A miss means "fetch by tree", not "refuse": the header is good, its carrier was not.
    asked = [o.message[0] for o in out if isinstance(o, ToLink)]
    assert asked == [22]
    feed(host, 1, whole(full))
    assert host.view() == {b"k": [b"1"], b"other": [b"2"]}


def test_f1_a_relay_cannot_serve_another_leaf_for_a_hash() -> None:
    world = settled_world(2)
    world.all_honest = False
    host = world.hosts[0]
    real = forged(5, {b"k": b"1"})
    fake = forged(5, {b"k": b"2"})
    from meshcrdt.gossip.fetch import node_parts
    from meshcrdt.gossip.messages import Ending, build

    feed(host, 1, build(Announce(real.envelope, ())))
    (part,) = node_parts(b"", fake.tree.node(b""), bytes_max=10_000)
    from attrs import evolve

    lie = evolve(part, hash=real.header.state_root)
    out = feed(host, 1, build(Nodes(real.header.stream, (lie,), Ending.DONE)))
    assert [o.rule for o in out if isinstance(o, Quarantined)] == ["a leaf does not match its hash"]
    assert host.view() == {}
    assert not host.running.quarantined()


def test_f2_a_transfer_in_pieces_never_shows_or_deletes_anything_on_the_way() -> None:
    world = settled_world(2)
    writer, reader = world.hosts
    writer.put(b"a", b"old")
    world.run()
    world.partition(0, 1)
    big = b"x" * 60_000
    for n in range(40):
        writer.put(b"b%d" % n, big)
        writer.sync_disk()
    writer.put(b"a", b"new")
    writer.sync_disk()
    world.heal(0, 1)
    seen = set()
    world.tick(4)
    while world.wire:
        world.deliver()
        seen.add((reader.view().get(b"a", [None])[0], len(reader.view())))
    assert seen == {(b"old", 1), (b"new", 41)}
    assert reader.running.statistics().trees_fetched >= 1


def test_f3_a_backlog_collapses_to_the_newest_header_and_what_changed() -> None:
    world = settled_world(2)
    writer, reader = world.hosts
    writer.put(b"z", b"0")
    world.run()
    world.wire = []
    for n in range(6):
        writer.put(b"ab"[n % 2 : n % 2 + 1], b"%d" % n)
        writer.sync_disk()
    world.wire = world.wire[-1:]
    assert reader.running.statistics().deltas_missed == 0
    world.deliver()
    assert not world.wire, "its base may be on another link"
    world.tick(world.limits.graft_timeout_s)
    (graft,) = messages(world, 1, 0)
    assert isinstance(graft, Turn)
    world.deliver()
    (delta,) = messages(world, 0, 1)
    assert isinstance(delta, Compact)
    assert delta.seq == 7
    assert sorted(r.key for r in delta.puts) == [b"a", b"b"]
    world.run()
    assert reader.view() == {b"a": [b"4"], b"b": [b"5"], b"z": [b"0"]}


def test_f4_a_new_epoch_rebases_and_nothing_flickers() -> None:
    world = settled_world(2)
    writer, reader = world.hosts
    writer.write("c", *[Put(b"k%d" % n, b"v") for n in range(9)])
    world.run()
    dots = {v.dot for _, (v,) in reader.running.entries("c")}
    world.crash(0)
    world.restart(0)
    writer.put(b"k0", b"new")
    writer.sync_disk()
    delta = next(m for m in messages(world, 0, 1) if isinstance(m, Delta))
    assert delta.envelope.header.base == reader.running.head("c", writer.peer)
    assert [record.key for record in delta.puts] == [b"k0"]
    reader.events.clear()
    while world.wire:
        world.deliver()
        assert len(reader.view()) == 9
    (change,) = events(reader, StreamChanged)
    assert change.keys == {b"k0"}
    kept = {v.dot for _, (v,) in reader.running.entries("c")} & dots
    assert kept == dots, "eight untouched records share the one old dot"


def test_f5_restart_does_not_bring_back_what_another_removed() -> None:
    world = settled_world(3)
    a, b, c = world.hosts
    a.put(b"x", b"1")
    world.run()
    world.partition(0, 1)
    world.partition(0, 2)
    b.drop(b"x")
    world.run()
    assert c.view() == {}
    world.crash(0)
    world.restart(0)
    a.put(b"y", b"2", Over.OWN)
    world.run()
    world.heal(0, 2)
    world.run()
    assert b"x" not in a.view()
    assert b"x" not in c.view()
    world.heal(0, 1)
    world.rounds(4)
    world.check_converged()
    assert a.view() == {b"y": [b"2"]}


def test_f6_removal_by_another_is_a_signed_record_naming_the_dot() -> None:
    world = settled_world(2)
    a, b = world.hosts
    a.put(b"x", b"1")
    world.run()
    (seen,) = b.running.visible("c", b"x")
    world.partition(0, 1)
    b.drop(b"x")
    b.sync_disk()
    cancel = b.running._context.holdings.channels["c"].index[b"x"][b.peer]
    assert cancel.value is None
    assert cancel.supersedes == (seen.dot,)
    # The owner's state is untouched: absence never removes, and nothing was taken from it.
    assert a.view() == {b"x": [b"1"]}
    assert b.running._context.holdings.channels["c"].index[b"x"][a.peer].value == b"1"


def cancel_story() -> tuple[World, Host, Host, Host]:
    """B cancels A's x and has dropped the cancel; C still holds A's old header."""
    world = settled_world(3)
    a, b, c = world.hosts
    a.put(b"x", b"1")
    world.run()
    world.partition(0, 2)
    world.partition(1, 2)
    b.drop(b"x")
    world.run()
    for _ in range(4):
        world.tick(4)
        world.run()
    assert not list(b.running._context.holdings.channels["c"].index)
    return world, a, b, c


def test_f7_a_cancel_goes_only_with_a_dep_on_the_owners_header_without_the_dot() -> None:
    world, a, b, c = cancel_story()
    assert c.view() == {b"x": [b"1"]}
    (state,) = [s.state for k, s in b.running._context.holdings.streams() if k.origin == b.peer]
    (dep,) = state.header.deps
    assert (dep.origin, dep.ref) == (a.peer, b.running.head("c", a.peer))
    # B's newest header overtakes A's: it must wait, or x would stay visible without a cancel.
    assert not c.running._context.links
    world.heal(1, 2)
    while world.wire:
        world.deliver()
        if c.running.head("c", b.peer) is not None:
            assert c.view() == {}
    world.run()
    assert c.view() == {}


def test_f7_the_dep_stands_in_every_later_header_because_backlogs_collapse() -> None:
    world, a, b, _ = cancel_story()
    for n in range(3):
        b.put(b"later", b"%d" % n)
        b.sync_disk()
    (state,) = [s.state for k, s in b.running._context.holdings.streams() if k.origin == b.peer]
    assert [dep.origin for dep in state.header.deps] == [a.peer]
    world.crash(1)
    world.restart(1)
    b.put(b"later", b"after restart")
    b.sync_disk()
    (state,) = [s.state for k, s in b.running._context.holdings.streams() if k.origin == b.peer]
    assert [dep.origin for dep in state.header.deps] == [a.peer]


def test_f7_headers_that_wait_for_each_other_are_merged_together() -> None:
    from meshcrdt.gossip.header import Dep

    world = settled_world(2)
    world.all_honest = False
    host = world.hosts[0]
    host.world.signed = {}
    b_old = forged(6, {b"b": b"1"})
    a_new = forged(5, {b"a": b"2"}, seq=8, deps=(Dep(b_old.header.origin, b_old.ref),))
    b_new = forged(6, {b"b": b"2"}, seq=9, deps=(Dep(a_new.header.origin, a_new.ref),))
    feed(host, 1, whole(a_new))
    assert host.view() == {}
    assert host.running.statistics().parked == 1
    feed(host, 1, whole(b_new))
    assert host.view() == {b"a": [b"2"], b"b": [b"2"]}
    assert host.running.statistics().parked == 0


def test_f7_a_liars_deps_block_only_its_own_stream() -> None:
    from meshcrdt.gossip.header import Dep, Ref

    world = settled_world(2)
    host = world.hosts[0]
    ghost = Dep(identity_of(7).peer, Ref(Epoch(9, b"instance"), 9, b"h" * 32))
    feed(host, 1, whole(forged(5, {b"a": b"1"}, deps=(ghost,))))
    assert host.view() == {}
    feed(host, 1, whole(forged(6, {b"b": b"1"})))
    assert host.view() == {b"b": [b"1"]}
    feed(host, 1, whole(forged(5, {b"a": b"2"}, seq=2)))
    assert host.view() == {b"a": [b"2"], b"b": [b"1"]}


def test_f8_a_delta_applies_only_on_the_header_that_it_names() -> None:
    left = forged(5, {b"p": b"left"}, seq=10)
    right = forged(5, {b"p": b"right"}, seq=10)
    world = settled_world(2)
    world.all_honest = False
    one, other = world.hosts
    feed(one, 1, whole(left))
    feed(other, 0, whole(right))
    assert one.running.digests() != other.running.digests(), "the header hash is in the digest"
    assert one.running.root != other.running.root
    after = forged(5, {b"p": b"left", b"q": b"same"}, seq=11)
    from meshcrdt.gossip.header import KeyOnWire
    from meshcrdt.gossip.messages import build

    step = tuple(e.value for e in after.tree.entries() if e.key == b"q")
    delta = build(Delta(after.envelope, left.ref, step, ()), KeyOnWire.OMITTED)
    out = feed(other, 0, delta)
    assert [o.message[0] for o in out if isinstance(o, ToLink)] == [19]
    assert other.view() == {b"p": [b"right"]}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_f9_evidence_never_changes_which_header_wins(order: tuple[int, ...]) -> None:
    from meshcrdt.gossip.messages import build

    left = forged(5, {b"p": b"left"}, seq=51)
    right = forged(5, {b"p": b"right"}, seq=51)
    first, second = sorted((left, right), key=lambda s: s.header.hash)
    proof = build(Proof(first.envelope, second.envelope))
    inputs = [whole(left), whole(right), proof]
    world = settled_world(2)
    world.all_honest = False
    host = world.hosts[0]
    for index in order:
        feed(host, 1, inputs[index])
    assert host.running.head("c", identity_of(5).peer) == second.ref
    assert host.running.equivocations() == (Proof(first.envelope, second.envelope),)
    assert len(events(host, Equivocated)) == 1
    host.sync_disk()
    world.crash(0)
    world.restart(0)
    assert len(host.running.equivocations()) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0), (2, 0, 1)])
def test_f10_an_invalid_header_is_skipped_whatever_came_first(order: tuple[int, ...]) -> None:
    states = [
        forged(5, {b"a": b"1"}, seq=1),
        forged(5, {b"a": b"2"}, seq=2, live_keys=7),
        forged(5, {b"a": b"3"}, seq=3),
    ]
    world = settled_world(2)
    world.all_honest = False
    host = world.hosts[0]
    for index in order:
        feed(host, 1, whole(states[index]))
    assert host.view() == {b"a": [b"3"]}


def test_f10_validity_ignores_local_limits() -> None:
    from meshcrdt.base.limits import Limits

    world = settled_world(2)
    small = World(2, limits=Limits(stream_keys_max=1, value_bytes_max=1))
    small.run()
    state = forged(5, {b"a": b"long value", b"b": b"1"})
    for host in (world.hosts[0], small.hosts[0]):
        feed(host, 1, whole(state))
    assert world.hosts[0].running.root == small.hosts[0].running.root


def test_f11_a_refused_header_is_told_once_and_not_offered_again() -> None:
    from meshcrdt.gossip.messages import Head, build

    world = settled_world(2)
    world.all_honest = False
    host = world.hosts[0]
    bad = forged(5, {b"a": b"1"}, live_keys=7)
    world.wire = []
    feed(host, 1, whole(bad))
    feed(host, 1, whole(bad))
    feed(host, 1, build(Heads((Head(bad.header.stream, bad.ref),))))
    assert [m for m in messages(world, 0, 1) if isinstance(m, Refused)] == [
        Refused(bad.header.stream, bad.header.hash, "counts of the state")
    ]
    assert [o.rule for o in host.running.quarantined()] == ["counts of the state"]
    verified = host.running.statistics().verified
    feed(host, 1, whole(bad))
    assert host.running.statistics().verified == verified
    # The other side: what a peer refused is not offered to it again.
    good = forged(6, {b"a": b"1"})
    feed(host, 1, whole(good))
    feed(host, 1, build(Refused(good.header.stream, good.header.hash, "new rule")))
    world.wire = []
    feed(host, 1, build(Want((Wish(good.header.stream, None),))))
    assert [type(m).__name__ for m in messages(world, 0, 1)] == ["Absent"]


def test_f12_no_rule_bounds_the_step_of_an_own_seq() -> None:
    world = settled_world(2)
    feed(world.hosts[0], 1, whole(forged(5, {b"a": b"1"}, seq=1)))
    feed(world.hosts[0], 1, whole(forged(5, {b"a": b"2"}, seq=(1 << 63) - 1)))
    assert world.hosts[0].view() == {b"a": [b"2"]}


def test_f13_volatile_writes_do_not_make_a_crash_look_like_a_rollback() -> None:
    world = settled_world(2)
    a, b = world.hosts
    for n in range(4):
        a.put(b"edge", b"%d" % n, Over.OWN, channel="~v")
    a.put(b"k", b"1")
    world.run()
    assert "table" not in a.disk
    assert not [key for table in a.disk.values() for key in table if b"~v" in key]
    world.crash(0)
    assert b.view("~v") == {b"edge": [b"3"]}, "the old epoch stays visible"
    world.restart(0)
    world.run()
    assert a.running.head("c", a.peer) == b.running.head("c", a.peer)
    assert not events(a, OwnStreamAhead)
    a.put(b"other", b"1", Over.OWN, channel="~v")
    world.run()
    assert b.view("~v") == {b"other": [b"1"]}, "a volatile channel opens empty"
    assert "~v" not in b.running.digests()


def test_f14_a_clone_is_noticed_and_the_lower_one_stops_until_it_has_a_new_epoch() -> None:
    world = settled_world(2)
    host = world.hosts[0]
    host.put(b"k", b"mine")
    host.sync_disk()
    clone = forged(0, {b"k": b"clone"}, epoch=Epoch(7, b"instance"), seq=3)
    start = len(host.events)
    host.perform(host.running.received(1, whole(clone), 0.0))
    ahead = [e for e in host.events[start:] if isinstance(e, OwnStreamAhead)]
    assert [(e.channel, e.epoch, e.seq) for e in ahead] == [("c", Epoch(7, b"instance"), 3)]
    assert host.running.epoch > Epoch(7, b"instance"), "the node of this world re-epochs at once"
    host.put(b"l", b"after")
    host.sync_disk()
    header = host.running._local.held("c").header
    assert header.base == clone.ref
    assert host.view() == {b"k": [b"clone"], b"l": [b"after"]}


def test_f14_without_a_new_epoch_nothing_is_written_over_a_clone() -> None:
    world = settled_world(2)
    host = world.hosts[0]
    clone = forged(0, {b"k": b"clone"}, epoch=Epoch(7, b"instance"), seq=3)
    host.running.received(1, whole(clone), 0.0)
    host.running.write("c", [Put(b"k", b"mine", Over.ALL)])
    assert host.running.flush(0.0) == []
    host.running.reepoch(Epoch(8, b"instance"))
    assert host.running.flush(0.0) != []


def test_f15_own_writes_are_nowhere_until_the_disk_has_them() -> None:
    world = settled_world(2)
    a, b = world.hosts
    before = a.running.root
    ticket = a.put(b"k", b"1")
    assert ticket not in a.committed
    assert a.running.own_value("c", b"k") == b"1"
    assert a.view() == {}
    assert a.running.root == before
    assert a.running.digests() == {}
    world.tick(4)
    world.deliver()
    while world.wire:
        world.deliver()
    assert b.view() == {}
    a.sync_disk()
    assert (a.committed[ticket].epoch, a.committed[ticket].seq) == (a.running.epoch, 1)
    assert a.view() == {b"k": [b"1"]}
    assert a.running.held_durably("c", a.peer, a.running.epoch, 1)


def test_f16_a_stream_whose_rows_do_not_match_drops_to_bottom_and_comes_back() -> None:
    world = settled_world(2)
    a, b = world.hosts
    a.write("c", Put(b"k", b"1"), Put(b"l", b"2"))
    world.run()
    world.crash(1)
    lost = next(iter(b.disk["record"]))
    del b.disk["record"][lost]
    world.restart(1)
    alarms = events(b, Alarm)
    assert len(alarms) == 1
    assert "do not match the root" in alarms[0].text
    assert b.view() == {}
    world.run()
    assert b.view() == a.view() == {b"k": [b"1"], b"l": [b"2"]}
    world.crash(1)
    world.restart(1)
    assert b.view() == {b"k": [b"1"], b"l": [b"2"]}
    assert len(events(b, Alarm)) == 1


def test_f16_header_and_state_of_a_foreign_stream_are_one_transaction() -> None:
    world = settled_world(2)
    a, b = world.hosts
    a.write("c", Put(b"k", b"1"), Put(b"l", b"2"))
    a.sync_disk()
    world.deliver()
    (store,) = b.unsynced
    assert [table for table, _, _ in store.rows] == ["record", "record", "stream"]


def test_f17_a_write_of_several_keys_is_one_change() -> None:
    world = settled_world(2)
    a, b = world.hosts
    b.events.clear()
    a.write("c", Put(b"k", b"1"), Put(b"l", b"2"))
    world.run()
    assert [e.keys for e in events(b, StreamChanged)] == [{b"k", b"l"}]


def rolled_back(world: World) -> Host:
    """Host 0 restarts from a disk that lacks its last two writes."""
    world.disks_roll_back = True
    a = world.hosts[0]
    a.put(b"old", b"1")
    a.put(b"gone", b"1")
    world.run()
    snapshot = {table: dict(rows) for table, rows in a.disk.items()}
    a.put(b"late", b"2")
    world.run()
    a.drop(b"gone")
    world.run()
    world.crash(0)
    a.disk = snapshot
    return a


def test_f20_a_rolled_back_origin_goes_on_from_what_its_peers_hold() -> None:
    world = settled_world(2)
    a = rolled_back(world)
    world.restart(0)
    world.run()
    assert a.view() == {b"old": [b"1"], b"late": [b"2"]}
    assert len(events(a, OwnStreamAhead)) == 1
    a.put(b"new", b"3")
    world.rounds(2)
    world.check_converged()
    assert world.hosts[1].view() == {b"old": [b"1"], b"late": [b"2"], b"new": [b"3"]}


def test_f20_what_an_epoch_was_opened_without_comes_back_with_its_dots() -> None:
    world = settled_world(2)
    a = rolled_back(world)
    b = world.hosts[1]
    (late,) = b.running.visible("c", b"late")
    world.partition(0, 1)
    world.restart(0)
    a.put(b"new", b"3")
    a.sync_disk()
    assert a.view() == {b"old": [b"1"], b"gone": [b"1"], b"new": [b"3"]}
    world.heal(0, 1)
    world.rounds(3)
    world.check_converged()
    assert b.running.visible("c", b"late") == (late,)
    assert b.view() == {b"old": [b"1"], b"late": [b"2"], b"new": [b"3"]}
    assert events(a, OwnStreamAhead)


def test_f33_channels_that_nobody_declared_are_kept_and_relayed() -> None:
    world = settled_world(3)
    world.partition(0, 2)
    world.hosts[0].put(b"k", b"\xff not of any type", channel="unheard/of")
    world.run()
    assert world.hosts[2].view("unheard/of") == {b"k": [b"\xff not of any type"]}


def test_f14_two_live_clones_do_not_outbid_each_other_for_ever() -> None:
    """Schedule 8: every header answers only what it did not know, so the exchange ends."""
    world = World(3)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        world.partition(one, other)
    world.disks_roll_back = True  # what a clone overwrites comes back: no resurrection
    first, second, witness = world.hosts
    world.crash(1)
    second.identity, second.peer, second.starts = first.identity, first.peer, 50
    world.restart(1)
    first.put(b"a", b"1")
    second.put(b"b", b"2")
    first.sync_disk()
    second.sync_disk()
    world.heal(0, 2)
    world.heal(1, 2)
    world.rounds(6)
    flushes = [host.running.statistics().flushes for host in world.hosts]
    world.rounds(6)
    assert [host.running.statistics().flushes for host in world.hosts] == flushes
    assert witness.view() == first.view() == second.view() == {b"a": [b"1"], b"b": [b"2"]}
    assert events(first, OwnStreamAhead) or events(second, OwnStreamAhead)
    world.check()
