"""Whatever a peer sends, the machine neither raises nor breaks its invariants."""

from __future__ import annotations

import pytest
from depth import examples
from gossip_world import GENESIS, World, forged, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREE, paths, replaced

from meshcrdt.errors import MalformedTree
from meshcrdt.gossip import Misbehaved, Over, Put
from meshcrdt.gossip.compact import packed
from meshcrdt.gossip.messages import Absent, Announce, Root, Want, build, parse
from meshcrdt.gossip.tree_messages import Branch, Have, Held, Turn, Wish


def quiet_world() -> World:
    world = World(2)
    world.run()
    world.hosts[0].put(b"k", b"v", Over.ALL)
    world.run()
    world.all_honest = False
    return world


def compact_samples() -> list[tuple]:
    """Return compact deltas on what host 0 of the quiet world holds of its own, and of none."""
    base = forged(5, {b"a": b"1"})
    one = forged(5, {b"a": b"1", b"b": b"2"}, seq=2, previous=base.ref.hash)
    puts = [entry.value for entry in one.tree.entries()]
    found = [packed(base.ref, one, puts, (b"gone",), hops) for hops in (0, 1, -2)]
    return [build(message) for message in found if message is not None]


def samples() -> list[tuple]:
    state = forged(5, {b"a": b"1", b"b": b"2"})
    return [
        whole(state),
        build(Announce(state.envelope, ())),
        build(Root(b"r" * 16, b"s" * 16)),
        build(Want((Wish(state.header.stream, None), Wish(state.header.stream, state.ref)))),
        build(Absent((state.header.stream,), (state.header.stream,))),
        build(Have((Held(state.header.stream, state.ref.place),))),
        build(Turn(Branch.EAGER, (Wish(state.header.stream, state.ref),))),
        *compact_samples(),
    ]


@settings(max_examples=examples(300))
@given(st.integers(15, 30), st.lists(TREE, max_size=5))
def test_arbitrary_trees_never_raise(code: int, rest: list) -> None:
    world = quiet_world()
    host = world.hosts[0]
    root = host.running.root
    host.running.received(1, (code, *rest), 0.0)
    host.running.check()
    assert host.running.root == root


@settings(max_examples=examples(400))
@given(st.data())
def test_messages_with_one_changed_field_never_raise_or_show_anything(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(samples()))
    path = data.draw(st.sampled_from(paths(message)))
    changed = replaced(message, path, data.draw(TREE))
    if not isinstance(changed, tuple) or changed == message:
        return
    world = quiet_world()
    host = world.hosts[0]
    host.perform(
        [o for o in host.running.received(1, changed, 0.0) if not isinstance(o, Misbehaved)]
    )
    host.running.check()
    shown = host.view()
    assert shown in ({b"k": [b"v"]}, {b"k": [b"v"], b"a": [b"1"], b"b": [b"2"]})


@pytest.mark.parametrize("message", [(), (None,), (99,), (16,), (17, 0, b"\x10", None, ())])
def test_malformed_messages_close_the_link(message: tuple) -> None:
    world = quiet_world()
    (out,) = world.hosts[0].running.received(1, message, 0.0)
    assert isinstance(out, Misbehaved)


def test_messages_of_a_closed_link_are_ignored() -> None:
    world = quiet_world()
    assert world.hosts[0].running.received(99, samples()[0], 0.0) == []


def test_reading_inverts_building() -> None:
    for message in samples():
        assert build(parse(message, GENESIS)) == message
    with pytest.raises(MalformedTree):
        parse((12,), GENESIS)


def test_a_write_survives_hostile_neighbours() -> None:
    world = quiet_world()
    for message in samples():
        world.hosts[0].running.received(1, message, 0.0)
    ticket = world.hosts[0].write("c", Put(b"mine", b"1"))
    world.hosts[0].sync_disk()
    assert ticket in world.hosts[0].committed
