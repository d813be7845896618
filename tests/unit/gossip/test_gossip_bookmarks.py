"""What a replica says of a channel since a bookmark: all that moved, or that it cannot."""

from __future__ import annotations

from gossip_world import World

from meshcrdt.gossip.bookmarks import Moved
from meshcrdt.gossip.header import StreamKey


def written_by_two() -> World:
    world = World(2)
    world.run()
    for number, key in enumerate((b"a", b"b")):
        world.hosts[number].put(key, b"1")
        world.run()
        world.rounds(2)
    assert world.hosts[0].view() == {b"a": [b"1"], b"b": [b"1"]}
    return world


def test_an_origin_that_is_new_since_is_told_whole() -> None:
    host = written_by_two().hosts[0]
    at = host.running.bookmark("c")
    assert host.running.moved_since("c", at) == Moved(frozenset(), 0)
    for origin, key in ((host.peer, b"a"), (host.world.hosts[1].peer, b"b")):
        rest = {each: short for each, short in at.items() if each != origin}
        assert host.running.moved_since("c", rest) == Moved(frozenset({key}), 0)
    assert host.running.moved_since("c", {}) == Moved(frozenset({b"a", b"b"}), 0)


def test_a_stream_that_vanished_is_counted() -> None:
    world = written_by_two()
    host, origin = world.hosts[0], world.hosts[1].peer
    at = host.running.bookmark("c")
    host.running._adopter.forget(StreamKey("c", origin))
    assert host.running.moved_since("c", at) == Moved(frozenset(), 1)


def test_a_channel_that_vanished_is_counted() -> None:
    host = written_by_two().hosts[0]
    assert host.running.moved_since("none", host.running.bookmark("c")) == Moved(frozenset(), 2)


def test_a_header_that_is_not_remembered_is_counted() -> None:
    host = written_by_two().hosts[0]
    at = {**host.running.bookmark("c"), host.peer: b"unknown!"}
    assert host.running.moved_since("c", at).forgotten == 1
