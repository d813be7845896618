"""Deltas that overtake their base wait for it, within bounds (F27)."""

from __future__ import annotations

import pytest
from gossip_world import Host, Violation, World

from meshcrdt.errors import InternalError
from meshcrdt.gossip import Over, ToLink
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.reordered import FLUSHES_MAX, STREAM_BYTES_MAX, STREAMS_MAX, Reordered
from meshcrdt.wire import decode

Patch = pytest.MonkeyPatch


def flushed(count: int, size: int = 1, *, channels: int = 1) -> tuple[World, Host, list[bytes]]:
    """Return a world and the deltas of some flushes of host 0 that its neighbour has yet to get."""
    world = World(2)
    world.run()
    for channel in range(channels):
        world.hosts[0].put(b"first", b"0", Over.OWN, f"c{channel}")
    world.run()
    for channel in range(channels):
        for n in range(count):
            world.hosts[0].put(b"%d" % n, bytes(size), Over.OWN, f"c{channel}")
            world.hosts[0].sync_disk()
    sent = [data for _, _, data in world.wire]
    world.wire = []
    assert len(sent) == count * channels
    return world, world.hosts[1], sent


def take(host: Host, data: bytes) -> list[int]:
    out = host.running.received(0, decode(data), host.world.now)
    host.running.check()
    asked = [o.message[0] for o in out if isinstance(o, ToLink)]
    host.perform([o for o in out if not isinstance(o, ToLink)])
    return asked


@pytest.mark.parametrize("count", [2, 5, FLUSHES_MAX + 1])
def test_flushes_in_any_order_end_at_the_last_and_nothing_is_asked(count: int) -> None:
    world, reader, sent = flushed(count)
    for data in (*reversed(sent[1:]), sent[0]):
        assert take(reader, data) == []
    assert reader.view("c0") == world.hosts[0].view("c0")
    assert reader.running.statistics().parked == 0
    world.tick(world.limits.graft_timeout_s)
    assert not [data for _, _, data in world.wire if decode(data)[0] == Code.TURN]


def test_what_waits_is_asked_for_when_its_base_does_not_come() -> None:
    world, reader, sent = flushed(3)
    assert take(reader, sent[2]) == []
    world.tick(world.limits.graft_timeout_s)
    assert [decode(data)[0] for source, _, data in world.wire if source == 1] == [Code.TURN]
    world.run()
    assert reader.view("c0") == world.hosts[0].view("c0")
    assert reader.running.statistics().parked == 0


def bounded_in_number() -> None:
    _, reader, sent = flushed(2 * FLUSHES_MAX)
    asked = [code for data in sent[1:] for code in take(reader, data)]
    if reader.running.statistics().parked > FLUSHES_MAX or asked != [Code.WANT]:
        raise Violation("deltas wait without a bound")


def bounded_in_bytes() -> None:
    _, reader, sent = flushed(6, STREAM_BYTES_MAX // 4)
    asked = [code for data in sent[1:] for code in take(reader, data)]
    if asked != [Code.WANT]:
        raise Violation("deltas wait without a bound")


@pytest.mark.parametrize("bound", [bounded_in_number, bounded_in_bytes])
def test_parking_without_bounds_is_caught(bound: object, monkeypatch: Patch) -> None:
    assert callable(bound)
    bound()
    monkeypatch.setattr("meshcrdt.gossip.reordered.FLUSHES_MAX", 10**9)
    monkeypatch.setattr("meshcrdt.gossip.reordered.STREAM_BYTES_MAX", 10**9)
    with pytest.raises(Violation):
        bound()


def test_deltas_of_few_streams_wait_at_once(monkeypatch: Patch) -> None:
    assert STREAMS_MAX == 64
    monkeypatch.setattr("meshcrdt.gossip.reordered.STREAMS_MAX", 20)
    _, reader, sent = flushed(2, channels=30)
    for data in sent[1::2]:
        take(reader, data)
    assert reader.running.statistics().parked == 20
    waiting = Reordered()
    monkeypatch.setattr("meshcrdt.gossip.reordered.STREAMS_MAX", -1)
    with pytest.raises(InternalError):
        waiting.check()


def test_what_a_lost_link_brought_is_forgotten() -> None:
    world, reader, sent = flushed(3)
    take(reader, sent[2])
    assert reader.running.statistics().parked == 1
    world.partition(0, 1)
    assert reader.running.statistics().parked == 0
    world.heal(0, 1)
    world.rounds(2)
    world.check_converged()


def test_an_answer_never_waits() -> None:
    _, reader, sent = flushed(3)
    message = list(decode(sent[2]))
    assert message[0] == Code.COMPACT
    message[6] = 0
    out = reader.running.received(0, tuple(message), 0.0)
    assert [o.message[0] for o in out if isinstance(o, ToLink)] == [Code.WANT]
