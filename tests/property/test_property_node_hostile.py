"""Whatever a member sends through the door, nothing raises, and the node goes on serving.

Two kinds of hostile input. Frames of a recorded exchange with one field, or one byte,
changed; and properly signed records with any content in every channel that the node reads.
"""

from __future__ import annotations

from functools import cache

from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from node_bench import Bench, link_of
from trees import TREE, paths, replaced

from meshcrdt.crdt import GCounter
from meshcrdt.gossip.changes import Over, Put
from meshcrdt.node import events, views
from meshcrdt.node.outcomes import Failed, Written
from meshcrdt.wire import decode, decode_frame, encode, encode_frame

CHANNEL = "acme/services"
COUNTS = "acme/counts"
SYSTEM = (
    views.CHANNELS,
    views.DIRECTORY,
    views.ENDPOINTS,
    views.IPAM,
    views.NAMES,
    views.ADJACENCY,
    CHANNEL,
    COUNTS,
)


def pair() -> Bench:
    """Two members that have done a little of everything."""
    bench = Bench()
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.hold_disk.add("n2")
    for number in range(20):
        bench.give("n2", events.Put(100 + number, CHANNEL, b"%d" % number, b"x" * 2_000))
    bench.release_disk("n2")
    bench.link("n1", "n2")
    for name in ("n1", "n2"):
        node = bench.nodes[name]
        bench.give(name, events.SetName(1, f"{name}.web", ("10.32.0.9",)))
        bench.give(name, events.SetWorkload(2, "w", ("10.32.0.9",)))
        bench.give(name, events.Allocate(3, "w", None, bench.now + 5))
        bench.pass_time(0.5)
        written = bench.give(name, events.Put(4, CHANNEL, b"shared", b"v"))
        assert isinstance(written, Written)
        bench.give(name, events.Delete(5, CHANNEL, b"1"))
        bench.give(
            name, events.Mutate(6, COUNTS, GCounter, lambda c, me=node.me: c.increment(me, 1))
        )
        bench.give(
            name,
            events.AwaitReceipt(
                7, CHANNEL, written.epoch.counter, written.epoch.instance, written.seq,
                events.Targets.ALL, events.Durability.DURABLE, bench.now + 3,
            ),
        )  # fmt: skip
    bench.pass_time(4)
    return bench


@cache
def recorded() -> tuple[tuple[str, bytes], ...]:
    """Return (receiver, frame) of the whole exchange, each frame once."""
    other = {"n1": "n2", "n2": "n1"}
    return tuple(dict.fromkeys((other[name], frame) for name, frame in pair().sent))


def still_serves(bench: Bench, *names: str) -> None:
    """Raise unless these nodes answer queries and commands, now and after a while."""
    bench.pass_time(8)
    for name in names:
        node = bench.nodes[name]
        node.check()
        node.statistics()
        node.names()
        node.reverse("10.32.0.9", bench.now)
        node.lookup_name("web", bench.now)
        node.endpoints()
        node.items(CHANNEL)
        node.value(COUNTS, GCounter)
        node.ipam_entries()
        node.core.replica.explain(CHANNEL, b"shared")
        for command in (
            events.Put(900, CHANNEL, b"after", b"v"),
            events.Delete(901, CHANNEL, b"shared"),
            events.SetName(902, "after", ("10.32.0.8",)),
        ):
            outcome = bench.give(name, command)
            if isinstance(outcome, Failed):
                # Types of channels are shared state: a member may declare another one.
                assert "cannot be used as" in outcome.reason
                assert views.declared_type(node.core.replica, CHANNEL) != views.MAP_TYPE
            else:
                assert isinstance(outcome, Written), outcome


@settings(max_examples=examples(80))
@given(st.data())
def test_frames_with_one_changed_field_never_raise(data: st.DataObject) -> None:
    bench = pair()
    for _ in range(data.draw(st.integers(1, 3))):
        name, frame = data.draw(st.sampled_from(recorded()))
        messages = list(decode_frame(frame))
        index = data.draw(st.integers(0, len(messages) - 1))
        path = data.draw(st.sampled_from(paths(messages[index])))
        changed = replaced(messages[index], path, data.draw(TREE))
        if not (isinstance(changed, tuple) and changed and type(changed[0]) is int):
            changed = (data.draw(st.integers(0, 100)), changed)
        messages[index] = changed
        if name in {owner for owner, _ in bench.wires}:
            hostile = events.FrameReceived(link_of(bench, name), encode_frame(messages))
            bench.give(name, hostile)
    still_serves(bench, "n1", "n2")


@settings(max_examples=examples(30))
@given(st.data())
def test_frames_with_one_changed_byte_never_raise(data: st.DataObject) -> None:
    bench = pair()
    name, frame = data.draw(st.sampled_from(recorded()))
    index = data.draw(st.integers(0, len(frame) - 1))
    hostile = frame[:index] + data.draw(st.binary(max_size=3)) + frame[index + 1 :]
    bench.give(name, events.FrameReceived(link_of(bench, name), hostile))
    still_serves(bench, "n1", "n2")


@settings(max_examples=examples(80))
@given(st.data())
def test_signed_records_with_any_content_never_raise(data: st.DataObject) -> None:
    bench = pair()
    liar = bench.nodes["n2"]
    for number in range(data.draw(st.integers(1, 4))):
        channel = data.draw(st.sampled_from(SYSTEM))
        held = [(k, v) for k, v in liar.core.replica.records_of(channel, liar.me)]
        key = data.draw(st.binary(min_size=1, max_size=20))
        value = encode(data.draw(TREE))
        if held and data.draw(st.booleans()):
            key, raw = data.draw(st.sampled_from(held))
            value = _changed(data, raw)
        liar.core.replica.write(channel, [Put(key, value, Over.OWN)])
        bench.give("n2", events.SetName(500 + number, "lie", ("10.32.0.7",)))
    still_serves(bench, "n1")


def _changed(data: st.DataObject, raw: bytes) -> bytes:
    """Change one field of a record that a machine reads."""
    inner = decode(raw) if raw else ()
    path = data.draw(st.sampled_from(paths(inner)))
    return encode(replaced(inner, path, data.draw(TREE)))
