"""Own states that come back from peers and wait for their deps; fetches without end."""

from __future__ import annotations

import pytest
from gossip_world import World, forged, identity_of, whole

from meshcrdt.base.ids import Epoch
from meshcrdt.gossip import Over, OwnStreamAhead
from meshcrdt.gossip.header import Dep
from meshcrdt.gossip.messages import Announce, build
from meshcrdt.gossip.repair import ACTIVE_MAX

LATER = Epoch(7, b"instance")


@pytest.fixture
def waiting() -> World:
    """Host 0 was shown an own header of another life that depends on what nobody has yet."""
    world = World(2)
    world.run()
    world.all_honest = False
    needed = forged(5, {b"x": b"1"})
    clone = forged(
        0, {b"k": b"clone"}, epoch=LATER, seq=3, deps=(Dep(identity_of(5).peer, needed.ref),)
    )
    host = world.hosts[0]
    host.perform(host.running.received(1, whole(clone), 0.0))
    assert host.view() == {}
    return world


def show_what_is_needed(world: World) -> list[OwnStreamAhead]:
    host = world.hosts[0]
    start = len(host.events)
    host.perform(host.running.received(1, whole(forged(5, {b"x": b"1"})), 0.0))
    host.settle()
    return [e for e in host.events[start:] if isinstance(e, OwnStreamAhead)]


def test_an_own_header_that_waited_for_its_deps_is_noticed_like_any_other(waiting: World) -> None:
    host = waiting.hosts[0]
    (ahead,) = show_what_is_needed(waiting)
    assert (ahead.epoch, ahead.seq) == (LATER, 3)
    assert host.running.epoch > LATER
    ticket = host.put(b"l", b"after", Over.OWN)
    host.sync_disk()
    assert ticket in host.committed
    assert host.view()[b"k"] == [b"clone"]


def test_an_own_header_never_overtakes_a_flush_at_the_disk(waiting: World) -> None:
    host = waiting.hosts[0]
    ticket = host.put(b"l", b"mine", Over.OWN)
    show_what_is_needed(waiting)
    host.sync_disk()
    host.running.check()
    assert ticket in host.committed
    host.sync_disk()
    assert host.running.epoch > LATER
    assert host.view() == {b"k": [b"clone"], b"l": [b"mine"], b"x": [b"1"]}


def test_who_announces_many_states_has_few_of_them_staged() -> None:
    world = World(2)
    world.run()
    world.all_honest = False
    host = world.hosts[0]
    for number in range(60, 60 + 3 * ACTIVE_MAX):
        state = forged(number, {b"k": b"v"})
        host.perform(host.running.received(1, build(Announce(state.envelope, ())), 0.0))
        host.running.check()
