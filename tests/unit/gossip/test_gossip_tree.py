"""The broadcast tree: how it forms, what it costs, and how it heals (F27, Plumtree)."""

from __future__ import annotations

import pytest
from attrs import evolve
from gossip_graphs import branches, drain, hops_of, pieces, ripen, second, sparse, tree_of, write
from gossip_world import Violation, World, forged, whole

from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.gossip import Misbehaved, Over, Put, Spread, ToLink, announcer
from meshcrdt.gossip.announcer import Announcer
from meshcrdt.gossip.broadcast import Broadcast
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.context import SOUR_AT, WASTED_MAX
from meshcrdt.gossip.governance import NOTHING, Governance, evict
from meshcrdt.gossip.header import Place, StreamKey
from meshcrdt.gossip.stream import Stream
from meshcrdt.gossip.tree_messages import (
    Branch,
    Have,
    Held,
    Turn,
    Wish,
    build_have,
    build_turn,
)
from meshcrdt.wire import decode

Patch = pytest.MonkeyPatch


def test_a_delta_crosses_each_branch_once_whoever_writes() -> None:
    world = tree_of(40)
    assert (pieces(world), len(branches(world))) == (1, 39)
    for writer in (0, 7, 23, 39):
        assert write(world, writer, b"%d" % writer) == {Code.DELTA: 39}
        assert max(hops_of(world, writer)) <= 8
    assert sum(host.running.statistics().redundant for host in world.hosts) < 240
    world.check_converged()


@pytest.mark.parametrize("count", [2, 5, 8])
def test_a_small_cluster_is_reached_in_one_hop_with_no_delta_too_many(count: int) -> None:
    world = World(count, sees_links=True)
    drain(world)
    for writer in range(count):
        assert write(world, writer, b"v") == {Code.DELTA: count - 1}
        assert max(hops_of(world, writer)) == 1
    for host in world.hosts:
        assert host.running.statistics().lazy_links == 0
        assert host.running.statistics().redundant == 0


def test_a_neighbour_of_the_origin_that_nobody_else_knows_of_is_still_reached() -> None:
    """A line of cliques: relays leave out only who has a link with the origin itself."""
    pairs = [(a, b) for a in range(4) for b in range(a)] + [(3, 4), (4, 5)]
    world = World(6, pairs=pairs, sees_links=True)
    drain(world)
    for writer in range(6):
        write(world, writer, b"v")
    drain(world)
    world.check_converged()
    assert write(world, 0, b"w")[Code.DELTA] == 5


def test_floods_that_cross_leave_one_tree() -> None:
    world = tree_of(24, writers=24)
    assert (pieces(world), len(branches(world))) == (1, 23)
    assert max(hops for writer in range(24) for hops in hops_of(world, writer)) <= 8


def test_pruning_for_each_flood_by_itself_is_caught(monkeypatch: Patch) -> None:
    original = Broadcast.handle_timeout

    def each(self: Broadcast) -> None:
        for flood in set(self._doubled.values()):
            self._window = (self._window[0], flood)
            doubled = dict(self._doubled)
            original(self)
            self._doubled = {link: f for link, f in doubled.items() if f != flood}
            self._due = self._due if not self._doubled else 0.0

    monkeypatch.setattr(Broadcast, "handle_timeout", each)
    with pytest.raises(AssertionError):
        test_floods_that_cross_leave_one_tree()


# --- what prunes, and what does not ----------------------------------------------------------


def duplicates_of_what_anti_entropy_brought() -> None:
    world = World(3, pairs=[(0, 1), (0, 2), (1, 2)])
    drain(world)
    a, b, _ = world.hosts
    a.put(b"k", b"v", Over.OWN)
    a.sync_disk()
    (eager,) = [data for _, target, data in world.wire if target == 1]
    world.wire = [item for item in world.wire if item[1] != 1]
    drain_but(world, target=1)
    world.hosts[2].perform(world.hosts[2].running._sync.start(1) or [])
    world.hosts[2].perform(world.hosts[2].running._outputs())
    drain(world)
    assert b.view() == a.view()
    b.perform(b.running.received(0, decode(eager), world.now))
    world.tick(1.0)
    turns = [data for _, _, data in world.wire if decode(data)[0] == Code.TURN]
    if turns or b.running._context.links[0].branch is Branch.LAZY:
        raise Violation("a branch was pruned for what it was not slower to bring")


def drain_but(world: World, *, target: int) -> None:
    """Deliver everything but deltas to one host, which are lost."""
    while world.wire:
        if world.wire[0][1] == target and decode(world.wire[0][2])[0] == Code.DELTA:
            world.wire.pop(0)
        else:
            world.deliver()


def test_f27_duplicates_of_what_anti_entropy_brought_do_not_prune(monkeypatch: Patch) -> None:
    duplicates_of_what_anti_entropy_brought()
    monkeypatch.setattr(Stream, "came_by_push", property(lambda self: True))
    with pytest.raises(Violation):
        duplicates_of_what_anti_entropy_brought()


def test_a_message_that_the_network_repeats_does_not_prune() -> None:
    world = World(2)
    drain(world)
    world.repeat = 1.0
    for n in range(3):
        write(world, 0, b"%d" % n)
    second(world)
    assert branches(world) == {(0, 1)}
    assert world.hosts[1].running.statistics().redundant == 3


def test_a_word_to_prune_that_is_lost_is_said_again() -> None:
    world = World(3)
    ripen(world)
    write(world, 0, b"1")
    world.tick(1.0)
    assert {decode(data)[0] for _, _, data in world.wire} == {Code.TURN}
    world.wire = []
    world.hosts[1].running._context.links[2].branch = Branch.EAGER
    world.hosts[2].running._context.links[1].branch = Branch.EAGER
    write(world, 0, b"2")
    second(world)
    assert branches(world) == {(0, 1), (0, 2)}


def test_nothing_goes_to_who_showed_that_it_has_it() -> None:
    """Back-propagation: what crossed on the way is not sent again."""
    world = World(3)
    drain(world)
    state = forged(5, {b"k": b"v"})
    a = world.hosts[0]
    a.perform(a.running.received(1, have(state.header.stream, state.ref.place), 0.0))
    a.perform(a.running.received(2, whole(state), 0.0))
    assert [target for source, target, _ in world.wire if source == 0] == []


# --- lazy links --------------------------------------------------------------------------------


def have(stream: StreamKey, place: object) -> tuple:
    return build_have(Have((Held(stream, place),)))


def lazy_pair() -> World:
    """Return hosts of which 0 and 1 have a lazy link; 2 is there so that 0 has two neighbours."""
    world = World(3, pairs=[(0, 1), (0, 2)])
    drain(world)
    write(world, 0, b"v")
    for host, link in ((0, 1), (1, 0)):
        world.hosts[host].running._context.links[link].branch = Branch.LAZY
    return world


def test_a_lazy_link_says_the_newest_header_of_each_stream_once_in_a_while() -> None:
    world = lazy_pair()
    for n in range(20):
        assert write(world, 0, b"%d" % n) == {Code.DELTA: 1}
        assert write(world, 0, b"%d" % n, "d") == {Code.DELTA: 1}
    second(world)
    assert not world.hosts[1].running.statistics().requests_under_way
    world.tick(1.0)
    (data,) = [data for source, target, data in world.wire if (source, target) == (0, 1)]
    code, items = decode(data)
    assert (code, len(items)) == (Code.HAVE, 2)
    assert len(data) < 2 * 40
    assert sorted(item[3] for item in items) == [20, 21]


def test_what_was_announced_and_does_not_come_is_grafted() -> None:
    world = lazy_pair()
    write(world, 0, b"w")
    for _ in range(4):
        second(world)
    world.check_converged()
    assert branches(world) == {(0, 1), (0, 2)}
    statistics = world.hosts[1].running.statistics()
    assert (statistics.grafts, statistics.requests_under_way) == (1, 0)


def test_in_a_cluster_at_rest_lazy_links_say_nothing() -> None:
    world = tree_of(12)
    for n in range(10):
        assert write(world, n, b"x") == {Code.DELTA: 11}
        codes = second(world, beats=True) + second(world, beats=True)
        assert set(codes) <= {Code.ROOT}
    assert not sum(host.running.statistics().announced for host in world.hosts)


def test_a_list_that_grows_too_long_becomes_a_comparison_of_roots(monkeypatch: Patch) -> None:
    most = 20
    monkeypatch.setattr(announcer, "ANNOUNCED_MAX", most)
    world = World(3, pairs=[(0, 1), (0, 2)])
    drain(world)
    a, b, _ = world.hosts
    a.running._context.links[1].branch = Branch.LAZY
    for n in range(most + 9):
        a.perform(a.running.received(1, whole(forged(5, {}, channel=f"c{n}")), 0.0))
    for n in range(most + 9):
        a.write(f"d{n}", Put(b"k", b"v"))
    a.sync_disk()
    a.running.check()
    world.tick(2.0)
    drained = {decode(data)[0] for _, target, data in world.wire if target == 1}
    assert drained == {Code.ROOT}
    drain(world)
    assert b.running.root == a.running.root


def lost_graft() -> World:
    """Host 2 hears of a write from both others, and its first question is lost."""
    world = World(3, limits=Limits(anti_entropy_blind_interval_s=60.0))
    ripen(world)
    write(world, 0, b"1")
    second(world)
    c = world.hosts[2]
    for n in (0, 1):
        world.hosts[n].running._context.links[2].branch = Branch.LAZY
        c.running._context.links[n].branch = Branch.LAZY
    write(world, 0, b"2")
    for _ in range(20):
        world.tick(0.25)
        grafts = [n for n, item in enumerate(world.wire) if decode(item[2])[0] == Code.TURN]
        if any(world.wire[n][0] == 2 for n in grafts):
            break
        drain(world)
    first = [target for source, target, _ in world.wire if source == 2]
    world.wire = []
    world.now += world.limits.fetch_timeout_s
    c.perform(c.running.handle_timeout(world.now))
    again = [
        target
        for source, target, data in world.wire
        if source == 2 and decode(data)[0] == Code.TURN
    ]
    assert len(first) == len(again) == 1
    if first == again:
        raise Violation("the same silent link was asked again")
    drain(world)
    return world


def test_a_graft_that_is_lost_is_asked_of_another_announcer() -> None:
    world = lost_graft()
    assert world.hosts[2].view() == world.hosts[0].view()


def test_forgetting_what_was_announced_is_caught(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Announcer, "expect", lambda self, key, place, link: None)
    with pytest.raises(AssertionError):
        lost_graft()


# --- losing branches ---------------------------------------------------------------------------


def cut_branch() -> World:
    """Cut a branch while a delta is on it, and let no time pass."""
    world = tree_of(12, degree=4)
    one, other = sorted(branches(world))[3]
    world.hosts[one].write("c", Put(b"k", b"late", Over.OWN))
    world.hosts[one].sync_disk()
    world.partition(one, other)
    drain(world)
    if len({host.running.root for host in world.hosts}) != 1:
        raise Violation("the write waits for a timer")
    assert pieces(world) == 1
    return world


def test_a_lost_branch_is_replaced_at_once_and_roots_are_compared() -> None:
    world = cut_branch()
    world.check_converged()
    write(world, 3, b"next")
    second(world)
    assert (pieces(world), len(branches(world))) == (1, 11)


def test_forgetting_lazy_links_when_a_branch_is_lost_is_caught(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Broadcast, "link_closed", lambda *_, **__: [])
    with pytest.raises(Violation):
        cut_branch()


def test_losing_a_lazy_link_moves_nothing() -> None:
    world = tree_of(12, degree=4)
    lazy = sorted({tuple(sorted(pair)) for pair in world.pairs} - branches(world))
    world.partition(*lazy[0])
    assert not world.wire


def broken_tree() -> World:
    """Take a branch out of the tree at both ends, as a fault in it would."""
    world = tree_of(12, degree=4)
    one, other = sorted(branches(world))[3]
    for here, there in ((one, other), (other, one)):
        world.hosts[here].running._context.links[there].branch = Branch.LAZY
    assert pieces(world) == 2
    return world


@pytest.mark.parametrize("beats", [False, True])
def test_a_tree_in_two_pieces_becomes_one_again(beats: bool) -> None:
    world = broken_tree()
    for n in range(8):
        write(world, 0, b"%d" % n)
        second(world, beats=beats)
    for _ in range(4):
        second(world, beats=beats)
    world.check_converged()
    assert pieces(world) == 1


def test_comparisons_that_do_the_work_of_a_branch_for_ever_are_caught(monkeypatch: Patch) -> None:
    from meshcrdt.gossip.repair import Repair

    def want(self: Repair, key: StreamKey, announcers: list[int]) -> None:
        self.want(key, announcers[0] if announcers else None)

    monkeypatch.setattr(Repair, "graft", want)
    with pytest.raises(AssertionError):
        test_a_tree_in_two_pieces_becomes_one_again(True)


# --- links that waste our time --------------------------------------------------------------------


def test_f27_a_link_that_wastes_verifications_goes_lazy_and_then_closes() -> None:
    world = World(2)
    drain(world)
    a = world.hosts[0].running
    good = forged(5, {b"k": b"1"})
    bad = whole(evolve(good, envelope=evolve(good.envelope, signature=b"\1" * 64)))
    said: list[object] = []
    for n in range(1, WASTED_MAX + 1):
        out = a.received(1, bad, 0.0)
        said += [(n, o.message) for o in out if isinstance(o, ToLink)]
        said += [n for o in out if isinstance(o, Misbehaved)]
        assert (a.statistics().lazy_links == 1) == (n >= SOUR_AT)
        a.received(1, turn(Branch.EAGER), 0.0)
    assert said == [(SOUR_AT, turn(Branch.LAZY)), WASTED_MAX]


def turn(branch: Branch, *wishes: Wish) -> tuple:
    return build_turn(Turn(branch, wishes))


def test_a_graft_is_answered_and_a_prune_needs_no_answer() -> None:
    world = World(2)
    drain(world)
    write(world, 0, b"v")
    a = world.hosts[0]
    assert a.running.received(1, turn(Branch.LAZY), 0.0) == []
    assert a.running.statistics().lazy_links == 1
    (out,) = a.running.received(1, turn(Branch.EAGER, Wish(StreamKey("c", a.peer), None)), 0.0)
    (data,) = a.running.serve(1, out.request)
    assert decode(data)[0] == Code.DELTA
    assert a.running.statistics().lazy_links == 0


# --- what it is measured against ------------------------------------------------------------------


def test_flooding_is_kept_to_measure_what_the_tree_saves() -> None:
    pairs = sparse(12)
    world = World(12, pairs=pairs, spread=Spread.FLOOD, sees_links=True)
    drain(world)
    for n in range(3):
        codes = write(world, n, b"v")
        assert codes[Code.DELTA] == 2 * len(pairs) - 11
    assert not second(world)[Code.TURN]
    assert len(branches(world)) == len(pairs)


def test_what_is_announced_of_an_evicted_member_is_not_asked_for() -> None:
    """Its header would not count: to graft for it would cost an answer each time it is told."""
    world = lazy_pair()
    b = world.hosts[1]
    gone = bytes(range(16))
    decided = evict(NOTHING, stamp=1, peer=PeerId(gone), epoch_counter=3, adopter=None)
    assert isinstance(decided, Governance)
    b.perform(b.running.govern(decided, 1, world.now))
    drain(world)
    old = have(StreamKey("c", PeerId(gone)), Place(3, 7, bytes(8)))
    back = have(StreamKey("c", PeerId(gone)), Place(decided.evicted[0].floor, 1, bytes(8)))
    for told, expected in ((old, 0), (back, 1)):
        b.perform(b.running.received(0, told, world.now))
        assert len(b.running._announcer._missing) == expected
