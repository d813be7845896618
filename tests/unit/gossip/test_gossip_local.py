"""Local writes: bounds, group commit, atomicity, over own and over all."""

from __future__ import annotations

import pytest
from gossip_world import World

from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.gossip import Committed, Drop, Over, Put, Store, StreamChanged


def alone(**limits: int) -> World:
    return World(1, limits=Limits(**limits))


@pytest.mark.parametrize(
    ("channel", "changes", "reason"),
    [
        ("", [Put(b"k", b"v")], "channel ''"),
        ("c" * 129, [Put(b"k", b"v")], "129 bytes"),
        ("é" * 65, [Put(b"k", b"v")], "130 bytes"),
        ("c", [], "at least one change"),
        ("c", [Put(b"", b"v")], "0 bytes"),
        ("c", [Put(b"k" * 1025, b"v")], "1025 bytes"),
        ("c", [Put(b"k", b"v" * 65_537)], "65537 bytes"),
        ("c", [Put(b"good", b"v"), Drop(b"")], "0 bytes"),
        ("~v", [Put(b"k", b"v", Over.ALL)], "owned"),
    ],
)
def test_misuse_raises_and_changes_nothing(channel: str, changes: list, reason: str) -> None:
    world = alone()
    replica = world.hosts[0].running
    with pytest.raises(UsageError, match=reason):
        replica.write(channel, changes)
    assert replica.flush(0.0) == []
    assert replica.own_value("c", b"good") is None
    replica.check()


def test_published_limits_are_named_and_hold() -> None:
    world = alone(flush_records_max=2, write_queue_max=3, stream_keys_max=4, stream_bytes_max=400)
    replica = world.hosts[0].running
    with pytest.raises(CapacityError, match="flush_records_max is 2"):
        replica.write("c", [Put(b"%d" % n, b"") for n in range(3)])
    replica.write("c", [Put(b"1", b""), Put(b"2", b"")])
    replica.write("c", [Put(b"3", b""), Put(b"4", b"")])
    with pytest.raises(CapacityError, match="stream_keys_max is 4"):
        replica.write("c", [Put(b"5", b"")])
    replica.write("c", [Put(b"4", b"again")])
    with pytest.raises(CapacityError, match="write_queue_max"):
        replica.write("c", [Put(b"4", b"")])
    world.hosts[0].settle()
    world.hosts[0].sync_disk()
    with pytest.raises(CapacityError, match="stream_bytes_max is 400"):
        replica.write("c", [Put(b"4", b"x" * 300)])
    replica.check()
    world.check()


def test_an_origin_has_a_bounded_number_of_channels() -> None:
    world = alone(streams_per_origin_max=2)
    host = world.hosts[0]
    for name in ("a", "b"):
        host.put(b"k", b"v", channel=name)
    with pytest.raises(CapacityError, match="streams_per_origin_max"):
        host.put(b"k", b"v", channel="c")


def test_writes_during_a_flush_go_into_the_next_one_together() -> None:
    world = alone()
    host = world.hosts[0]
    first = host.put(b"k", b"1")
    later = [host.put(b"k", b"%d" % n) for n in range(2, 6)]
    assert len(host.unsynced) == 1
    assert host.running.own_value("c", b"k") == b"5"
    host.sync_disk(1)
    assert host.committed.keys() == {first}
    assert len(host.unsynced) == 1
    host.sync_disk()
    assert {host.committed[ticket].seq for ticket in later} == {2}
    assert host.view() == {b"k": [b"5"]}
    assert host.running.statistics().flushes == 2


def test_a_change_is_shown_before_it_is_answered() -> None:
    world = alone()
    host = world.hosts[0]
    host.put(b"k", b"1")
    host.sync_disk()
    kinds = [type(e) for e in host.events if isinstance(e, StreamChanged | Committed)]
    assert kinds == [StreamChanged, Committed]


def test_volatile_writes_are_shown_at_once_and_never_stored() -> None:
    world = alone()
    host = world.hosts[0]
    ticket = host.put(b"k", b"1", Over.OWN, channel="~v")
    assert ticket in host.committed
    assert host.view("~v") == {b"k": [b"1"]}
    assert not [e for e in host.events if isinstance(e, Store)]
    assert host.running.digests() == {}


def test_dropping_what_is_absent_is_answered_without_a_flush() -> None:
    world = alone()
    host = world.hosts[0]
    ticket = host.drop(b"k")
    assert host.committed[ticket].seq == 0
    host.put(b"k", b"1")
    host.sync_disk()
    again = host.drop(b"other")
    assert host.committed[again].seq == 1
    assert host.unsynced == []


def test_over_own_leaves_others_alone_and_over_all_goes_over_what_was_seen() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.put(b"k", b"a")
    world.run()
    b.put(b"k", b"b", Over.OWN)
    world.run()
    assert a.view() == {b"k": [b"a", b"b"]}
    b.put(b"k", b"b2", Over.ALL)
    world.run()
    assert a.view() == {b"k": [b"b2"]}
    assert a.running.explain("c", b"k")[-1].value == b"b2"
    a.drop(b"k", Over.OWN)
    world.run()
    assert b.view() == {b"k": [b"b2"]}


def test_what_arrives_after_the_call_is_concurrent_and_stays() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.put(b"k", b"1")
    world.run()
    b.put(b"busy", b"")
    b.drop(b"k")
    a.put(b"k", b"2")
    a.sync_disk()
    while world.deliver():
        pass
    world.run()
    assert a.view()[b"k"] == b.view()[b"k"] == [b"2"]


def test_an_overwrite_of_anothers_key_never_shows_a_gap() -> None:
    world = World(3)
    world.run()
    a, b, c = world.hosts
    a.put(b"k", b"1")
    world.run()
    b.put(b"k", b"2")
    b.sync_disk()
    world.wire = [item for item in world.wire if item[:2] != (1, 2)]
    a_hears = [item for item in world.wire if item[1] == 0]
    assert len(a_hears) == 1
    world.deliver(world.wire.index(a_hears[0]))
    a.sync_disk()
    while world.wire:
        # A's header without the key reaches C before B's header with it.
        world.deliver(len(world.wire) - 1)
        assert b"k" in c.view()
    world.rounds(3)
    world.check_converged()
    assert c.view() == {b"k": [b"2"]}


def test_a_second_epoch_must_be_higher() -> None:
    world = alone()
    host = world.hosts[0]
    host.put(b"k", b"1")
    host.sync_disk()
    with pytest.raises(UsageError, match="not above"):
        host.running.reepoch(host.running.epoch)
    stored = {table: dict(rows) for table, rows in host.disk.items()}
    low = World(1)
    with pytest.raises(UsageError, match="not above the stored"):
        low.hosts[0].running.load(stored, 0.0)
    host.running.reepoch(Epoch(9, b"instance"))
    host.put(b"k", b"2")
    host.sync_disk()
    assert host.running.head("c", host.peer).epoch == Epoch(9, b"instance")
    world.check()


def test_reads_of_what_is_not_there() -> None:
    replica = alone().hosts[0].running
    assert replica.visible("no", b"k") == ()
    assert list(replica.entries("no")) == []
    assert list(replica.records_of("no", replica.me)) == []
    assert replica.head("no", replica.me) is None
    assert not replica.holds("no", replica.me, replica.epoch, 1)
    assert not replica.held_durably("no", replica.me, replica.epoch, 1)
    assert replica.origins("no") == replica.channels() == replica.explain("no", b"k") == ()
    assert replica.next_deadline() is None


def test_an_owner_that_tidies_does_not_forget_that_it_was_superseded() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    b.put(b"k", b"1")
    world.run()
    a.put(b"k", b"2")
    world.run()
    a.put(b"other", b"at the disk")
    b.put(b"k", b"3")
    b.sync_disk()
    while world.wire:
        world.deliver()
    world.tick(4.0)  # time to drop the answered cancel, while the superseded record waits to go
    world.run()
    assert a.view() == {b"k": [b"3"], b"other": [b"at the disk"]}
    assert a.running.own_value("c", b"k") is None
    head = a.running.head("c", a.peer)
    assert head is not None
    assert head.seq == 3, "one flush drops the record and its cancel"
    world.check_converged()


def test_deletes_in_channels_that_nobody_wrote_to_take_no_place_for_ever() -> None:
    world = alone(streams_per_origin_max=2)
    host = world.hosts[0]
    for number in range(5):
        host.drop(b"k", channel=f"empty{number}")
        assert host.running.own_channels() == frozenset()
    for name in ("c1", "c2"):
        host.put(b"k", b"v", channel=name)
    assert host.running.own_channels() == {"c1", "c2"}
    with pytest.raises(CapacityError, match="streams_per_origin_max"):
        host.put(b"k", b"v", channel="c3")
    host.sync_disk()
    host.drop(b"k", channel="c1")
    host.sync_disk()
    assert host.running.own_channels() == {"c1", "c2"}, "its empty state is one that it signed"
    assert host.running.channels() == ("c1", "c2")
    assert set(host.running._local._channels) == {"c1", "c2"}
    world.check()
