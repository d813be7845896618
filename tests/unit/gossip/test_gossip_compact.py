"""Compact deltas: what they cost, that they say the same, and that a lie shows (F1, F8)."""

from __future__ import annotations

import pytest
from attrs import evolve
from gossip_world import World, forged, identity_of, whole
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import Dot, Epoch
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip import Over, Put, Quarantined, Replica, ToLink
from meshcrdt.gossip.compact import Compact, expanded, packed
from meshcrdt.gossip.header import Dep, Envelope, Header, Ref, seal
from meshcrdt.gossip.merkle import changed_keys
from meshcrdt.gossip.messages import Code, build, parse
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State
from meshcrdt.wire import decode, encode

GENESIS = b"g" * 32
KEY, VALUE = b"0123456789", b"0123456789abcdef"
SIGNATURE_BYTES = 64


def pair_with(channel: str = "c") -> World:
    world = World(2)
    world.run()
    world.hosts[0].write(channel, Put(b"first", b"0", Over.OWN))
    world.run()
    return world


@pytest.mark.parametrize(("channel", "most"), [("c", 50), ("endpoints", 58)])
def test_one_put_costs_little_beside_key_value_and_signature(channel: str, most: int) -> None:
    world = pair_with(channel)
    world.hosts[0].write(channel, Put(KEY, VALUE, Over.OWN))
    world.hosts[0].sync_disk()
    ((_, _, data),) = world.wire
    assert decode(data)[0] == Code.COMPACT
    beside = len(data) - len(KEY) - len(VALUE) - SIGNATURE_BYTES
    print(f"one put in {channel!r}: {len(data)} bytes, {beside} beside key, value, signature")
    assert beside <= most <= 88
    world.run()
    assert world.hosts[1].running.root == world.hosts[0].running.root


CHANGES = st.dictionaries(
    st.sampled_from([b"a", b"b", b"c", b"d"]), st.none() | st.binary(max_size=4), min_size=1
)


@given(st.lists(CHANGES, min_size=1, max_size=5), st.booleans(), st.integers(-3, 3))
def test_what_is_left_out_is_what_the_origin_signed(
    flushes: list[dict[bytes, bytes | None]], is_last_only: bool, hops: int
) -> None:
    world = pair_with()
    host = world.hosts[0]
    states = [state_of(host.running)]
    for changes in flushes:
        for key, value in changes.items():
            if value is None:
                host.drop(key, Over.OWN)
            else:
                host.put(key, value, Over.OWN)
        host.sync_disk()
        host.sync_disk()
        if state_of(host.running).ref != states[-1].ref:
            states.append(state_of(host.running))
    if len(states) < 2:
        return
    before, after = states[-2 if is_last_only else 0], states[-1]
    keys = sorted(changed_keys(before.tree, after.tree))
    puts = [record for record in map(after.tree.get, keys) if record is not None]
    drops = tuple(key for key in keys if after.tree.get(key) is None)
    message = packed(before.ref, after, puts, drops, hops)
    assert message is not None
    read = parse(decode(encode(build(message))), GENESIS)
    assert read == message
    made = expanded(before, message)
    assert made.header == after.header
    assert made.tree.root == after.tree.root
    assert made.envelope.signature == after.envelope.signature


def state_of(replica: Replica) -> State:
    (stream,) = (s for key, s in replica._context.holdings.streams() if key.channel == "c")
    return stream.state


def next_of(base: State, records: dict[bytes, bytes], **overrides: object) -> State:
    return forged(5, records, seq=base.ref.seq + 1, previous=base.ref.hash, **overrides)


def delta_of(base: State, after: State) -> Compact:
    message = packed(base.ref, after, [e.value for e in after.tree.entries()], (), 1)
    assert message is not None
    return message


def reader_of(*states: State) -> tuple[World, Replica]:
    world = World(2)
    world.run()
    world.all_honest = False
    for state in states:
        world.hosts[0].perform(world.hosts[0].running.received(1, whole(state), 0.0))
    return world, world.hosts[0].running


BASE = forged(5, {b"a": b"1"})
AFTER = next_of(BASE, {b"a": b"2", b"b": b"3"})
OTHER = forged(6, {b"a": b"1"}).header.origin


@pytest.mark.parametrize(
    "lie",
    [
        {"puts": ()},
        {"drops": (b"a",), "puts": delta_of(BASE, AFTER).puts[1:]},
        {"seq": 3},
        {"deps": (Dep(OTHER, BASE.ref),)},
        {"rest": (b"p" * 32, b"r" * 32)},
        {"signature": b"s" * 64},
    ],
    ids="+".join,
)
def test_a_lie_about_anything_is_a_bad_signature(lie: dict[str, object]) -> None:
    _, replica = reader_of(BASE)
    fields = lie | ({"rest": tuple(lie["rest"])} if "rest" in lie else {})
    bad = build(evolve(delta_of(BASE, AFTER), **fields))
    out = replica.received(1, bad, 0.0)
    assert [o.rule for o in out if isinstance(o, Quarantined)] == ["signature"]
    assert [o.message[0] for o in out if isinstance(o, ToLink)] == [Code.WANT]
    assert replica.head("c", BASE.header.origin) == BASE.ref
    replica.received(1, build(delta_of(BASE, AFTER)), 0.0)
    assert replica.head("c", BASE.header.origin) == AFTER.ref


def test_a_signed_record_that_breaks_a_rule_is_the_fault_of_its_origin() -> None:
    bad = next_of(BASE, {b"a": b"2"}, dot_seq=9)
    _, replica = reader_of(BASE)
    out = replica.received(1, build(delta_of(BASE, bad)), 0.0)
    assert [o.rule for o in out if isinstance(o, Quarantined)] == ["dot beyond its header"]
    assert replica.head("c", BASE.header.origin) == BASE.ref
    out = replica.received(1, build(delta_of(BASE, bad)), 0.0)
    assert not [o for o in out if isinstance(o, Quarantined)], "each header is judged once"


def test_counts_that_an_origin_signed_wrongly_are_found_by_the_whole_header() -> None:
    wrong = next_of(BASE, {b"a": b"2"}, live_keys=9)
    _, replica = reader_of(BASE)
    out = replica.received(1, build(delta_of(BASE, wrong)), 0.0)
    assert [o.rule for o in out if isinstance(o, Quarantined)] == ["signature"]
    replica.received(1, whole(wrong), 0.0)
    assert replica.head("c", BASE.header.origin) == BASE.ref
    assert "counts of the state" in [offence.rule for offence in replica.quarantined()]


def test_two_headers_for_one_place_are_told_by_whole_ones() -> None:
    left, right = (next_of(BASE, {b"a": value}) for value in (b"left", b"right"))
    world, replica = reader_of(BASE, left)
    out = replica.received(1, build(delta_of(BASE, right)), 0.0)
    assert [o.message[0] for o in out if isinstance(o, ToLink)] == [Code.WANT]
    replica.received(1, whole(right), 0.0)
    assert len(replica.equivocations()) == 1
    assert replica.head("c", BASE.header.origin) == max(left.ref, right.ref)
    world.hosts[0].running.check()


def test_a_duplicate_costs_no_signature_and_no_tree() -> None:
    _, replica = reader_of(BASE, AFTER)
    before = replica.statistics()
    for message in (delta_of(BASE, AFTER), evolve(delta_of(BASE, AFTER), seq=2)):
        assert replica.received(1, build(message), 0.0) == []
    after = replica.statistics()
    assert after.verified == before.verified
    assert after.duplicates == before.duplicates + 2
    assert after.redundant == before.redundant + 2


def test_other_epochs_other_origins_and_capabilities_go_as_whole_headers() -> None:
    old = Ref(Epoch(0, b"instance"), 3, b"h" * 32)
    assert packed(old, AFTER, [], (), 0) is None
    adopted = Record(b"k", Dot(OTHER, AFTER.header.epoch, 1), b"v")
    assert packed(BASE.ref, AFTER, [adopted], (), 0) is None
    capable = resealed(AFTER, capability=b"c" * 32)
    assert packed(BASE.ref, capable, [], (), 0) is None
    rebased = resealed(AFTER, base=BASE.ref)
    assert packed(BASE.ref, rebased, [], (), 0) is None


def resealed(state: State, **changes: object) -> State:
    header: Header = evolve(state.header, **changes)
    envelope: Envelope = seal(header, identity_of(5))
    return State(envelope, state.tree)


@pytest.mark.parametrize(
    "put",
    [
        (b"k", None),
        (b"k", None, None, None, ()),
        (b"k", b"v", None, None, ()),
        (b"k", b"v", (1, b"instance"), None, ()),
        (b"k", b"v", None, 0, ()),
        (b"k" * 2_000, b"v"),
        (b"k", b"v", None),
    ],
)
def test_a_put_has_one_form(put: tuple[object, ...]) -> None:
    message = list(build(delta_of(BASE, AFTER)))
    message[7] = (put,)
    with pytest.raises(MalformedTree):
        parse(tuple(message), GENESIS)
