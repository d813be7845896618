"""Pushes: what a link is told of a stream is made when the link asks, out of all that moved."""

from gossip_world import Host, World
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.gossip import Push
from meshcrdt.gossip.compact import Compact
from meshcrdt.gossip.header import StreamKey
from meshcrdt.gossip.messages import Refused, build, parse
from meshcrdt.gossip.outputs import Output
from meshcrdt.gossip.stream import JOURNAL_STEPS_MAX
from meshcrdt.wire import decode

GENESIS = b"g" * 32


def held_back(world: World, writer: Host) -> list[Push]:
    """Return the pushes of a writer whose link carries nothing, oldest first."""
    world.wire = []
    return [event for event in writer.events if isinstance(event, Push)]


def flush(host: Host, key: bytes, value: bytes | None) -> None:
    if value is None:
        host.drop(key)
    else:
        host.put(key, value)
    host.sync_disk()


def start() -> tuple[World, Host, Host, StreamKey]:
    world = World(2)
    writer, reader = world.hosts
    writer.put(b"first", b"0")
    world.run()
    writer.events.clear()
    return world, writer, reader, StreamKey("c", writer.peer)


def test_a_thousand_flushes_of_one_stream_are_one_delta() -> None:
    world, writer, reader, key = start()
    for number in range(1_000):
        flush(writer, b"k%d" % (number % 7), b"%d" % number)
    pushes = held_back(world, writer)
    assert len(pushes) == 1_000
    data = writer.running.render(1, key, pushes[0].since)
    message = parse(decode(data), GENESIS)
    assert isinstance(message, Compact)
    assert len(message.puts) == 7
    reader.perform(reader.running.received(0, decode(data), 1.0))
    assert reader.view() == writer.view()
    assert not world.wire, "the one delta was not enough"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=3)),
        min_size=1,
        max_size=JOURNAL_STEPS_MAX + 30,
    ),
    known=st.integers(0, JOURNAL_STEPS_MAX + 30),
)
def test_what_is_made_of_many_pushes_ends_where_each_alone_would(
    steps: list[tuple[bytes, bytes | None]], known: int
) -> None:
    world, writer, reader, key = start()
    for number, step in enumerate(steps):
        flush(writer, *step)
        if number == known:
            world.run()
            writer.events.clear()
    pushes = held_back(world, writer)
    if not pushes:
        return
    data = writer.running.render(1, key, pushes[0].since)
    reader.perform(reader.running.received(0, decode(data), 1.0))
    assert reader.running.head("c", writer.peer) == writer.running.head("c", writer.peer)
    assert not world.wire
    world.check_converged()


def test_one_making_serves_all_links() -> None:
    world = World(4)
    world.run()
    writer = world.hosts[0]
    writer.put(b"k", b"v")
    writer.sync_disk()
    made = [writer.running.render(p.link, p.stream, p.since) for p in held_back(world, writer)]
    assert len(made) == 3
    assert len({id(data) for data in made}) == 1


def test_nothing_is_made_for_a_link_that_is_gone_or_refused_the_header() -> None:
    _, writer, reader, key = start()
    assert writer.running.render(77, key, None) is None
    assert writer.running.render(1, StreamKey("no such", writer.peer), None) is None
    assert writer.running.render(1, key, None) is not None
    header_hash = writer.running.head("c", writer.peer).hash
    no: list[Output] = writer.running.received(1, build(Refused(key, header_hash, "bad")), 1.0)
    assert no == []
    assert writer.running.render(1, key, None) is None
    assert reader.view() == writer.view()
