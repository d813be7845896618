"""What two or three nodes do together: settling, black holes, lines, relays, leaving."""

from __future__ import annotations

import pytest

from meshcrdt.errors import InternalError, UsageError
from meshcrdt.topology.adverts import Advert
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.links import Direction
from meshcrdt.topology.outputs import Advertise, CloseLink, Dial, PeerState, StateChanged

from .conftest import DISCOVERY_OFF, World, epoch, peer_id, record

HEAL_S = 2.5
"""The longest backoff of a known member, and a handshake."""


@pytest.mark.parametrize("delay_s", [0.001, 0.05, 0.4])
def test_nodes_that_dial_each_other_at_once_settle_on_one_link(world: World, delay_s: float):
    world.delay_s = delay_s
    a, b = world.add(1), world.add(2)
    world.connect(1, "mem://2")
    world.connect(2, "mem://1")
    world.run(4)
    assert world.links_between(1, 2) == (1, 1)
    link_a, link_b = a.link_to(peer_id(2)), b.link_to(peer_id(1))
    assert world.wires[(1, link_a)] is world.wires[(2, link_b)]
    assert world.wires[(1, link_a)].dialler == 1, "the one that the lower id dialled"


def test_closing_the_surplus_link_is_no_loss_and_no_reason_to_dial(world: World):
    for number in (1, 2):
        world.add(number)
    world.connect(1, "mem://2")
    world.connect(2, "mem://1")
    world.run(4)
    assert world.outputs(CloseLink), "there was a surplus link"
    settled_at = world.now
    world.run(60)
    assert not world.outputs(Dial, since=settled_at)
    assert not world.outputs(CloseLink, since=settled_at)
    for number in (1, 2):
        assert len(world.outputs(Advertise, here=number)) == 1
        assert [o.new for o in world.outputs(StateChanged, here=number)] == [PeerState.ALIVE]


def test_idle_links_stay_and_are_probed_about_once_an_interval_from_one_side(world: World):
    world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(2)
    before = len(world.log)
    world.run(60)
    assert world.linked(1, 2)
    messages = len(world.log) - before
    assert messages < 60 / 0.75 * 3


@pytest.mark.parametrize("outage_s", [2.0, 4.0, 7.0, 45.0, 120.0, 301.3])
@pytest.mark.parametrize("dialler", ["one side", "both sides"])
def test_black_hole_is_noticed_and_healed_whatever_its_length(
    world: World, outage_s: float, dialler: str
):
    for number in (1, 2):
        world.add(number, **DISCOVERY_OFF)
    world.connect(1, "mem://2")
    if dialler == "both sides":
        world.connect(2, "mem://1")
    world.run(10)
    world.cut = lambda a, b: True
    cut_at = world.now
    world.run(outage_s)
    if outage_s > 3.0:
        assert not world.linked(1, 2)
        lost = [at for at, _, o in world.log if isinstance(o, CloseLink) and at >= cut_at]
        assert lost[0] <= cut_at + 2.6
    world.cut = lambda a, b: False
    world.run(HEAL_S)
    assert world.linked(1, 2)
    world.run(30)
    assert world.links_between(1, 2) == (1, 1)


def test_dials_into_a_black_hole_are_bounded(world: World):
    node = world.add(1)
    world.add(2)
    world.cut = lambda a, b: True
    world.connect(1, "mem://2")
    for _ in range(60):
        world.run(1)
        assert node.statistics().dialer.in_flight <= 4
    assert 25 <= node.statistics().dialer.dials_total <= 65


def test_refusals_and_needless_addresses_back_off_further(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(60)
    # Host 3 names an address where nobody answers, and 2 reaches it all the same.
    world.do(1, node.member_changed(peer_id(3), record(3, addresses=("mem://nobody",)), world.now))
    for number, neighbours in ((2, {1, 3}), (3, {2})):
        told = Advert(neighbours=frozenset(map(peer_id, neighbours)))
        world.do(1, node.advertised(peer_id(number), epoch(), told, world.now))
    world.run(60)
    since = world.now
    world.run(160)
    dials = [o for o in world.outputs(Dial, here=1, since=since) if o.address == "mem://nobody"]
    assert 9 <= len(dials) <= 22, "every 8 to 16 s"
    assert node.state(peer_id(2)) is PeerState.ALIVE


def test_a_configured_address_that_has_not_answered_since_a_restart_is_dialled_promptly(
    world: World,
):
    # 3 restarts while it is cut off from 1 and reaches 2: it never saw 1 answer.
    world.delay_s = 0.001
    for number in (1, 2, 3):
        world.add(number, **DISCOVERY_OFF)
    world.connect(3, "mem://1", "mem://2")
    world.cut = lambda a, b: {a, b} == {1, 3}
    world.restart(3, **DISCOVERY_OFF)
    world.connect(3, "mem://1", "mem://2")
    world.run(31)
    assert world.linked(2, 3)
    world.cut = lambda a, b: False
    world.run(HEAL_S)
    assert world.linked(1, 3)


def test_line_knows_and_reaches_both_ends(world: World):
    a, b, c = (world.add(number, **DISCOVERY_OFF) for number in (1, 2, 3))
    world.cut = lambda one, other: {one, other} == {1, 3}
    world.connect(1, "mem://2")
    world.connect(3, "mem://2")
    world.run(1)
    world.know_each_other()
    for node in (a, b, c):
        others = {peer_id(n) for n in (1, 2, 3)} - {node._me}
        assert all(node.state(peer) is PeerState.ALIVE for peer in others)
        assert not node.minority()
    assert a.next_hop(peer_id(3)) == peer_id(2)
    assert c.next_hop(peer_id(1)) == peer_id(2)
    assert a.next_hop(peer_id(2)) == peer_id(2)
    assert a.adjacent(peer_id(2), peer_id(3))
    assert not a.adjacent(peer_id(1), peer_id(3))


def test_directory_addresses_are_dialled_only_with_discovery(world: World):
    world.add(1, **DISCOVERY_OFF)
    world.add(2)
    world.do(1, world.nodes[1].member_changed(peer_id(2), record(2), world.now))
    world.run(10)
    assert not world.outputs(Dial)
    world.do(2, world.nodes[2].member_changed(peer_id(1), record(1), world.now))
    world.run(1)
    assert world.linked(1, 2)


def test_behind_relays_without_discovery_nobody_keeps_dialling(world: World):
    world.homes |= {"mem://relay-of-1": 1, "mem://relay-of-2": 2}
    for number in (1, 2):
        world.add(number, own_addresses=(f"mem://relay-of-{number}",), **DISCOVERY_OFF)
    world.connect(1, "mem://relay-of-2")
    world.connect(2, "mem://relay-of-1")
    world.run(5)
    for here, there in ((1, 2), (2, 1)):
        about = record(there, addresses=(f"mem://relay-of-{there}",))
        world.do(here, world.nodes[here].member_changed(peer_id(there), about, world.now))
    since = world.now
    world.run(60)
    assert world.linked(1, 2)
    assert world.links_between(1, 2) == (1, 1)
    assert not world.outputs(Dial, since=since + 5)


def test_own_address_is_dialled_at_most_once(world: World):
    node = world.add(1, own_addresses=())
    world.connect(1, "mem://1")
    opened = node.link_opened(
        1, peer_id(1), direction=Direction.DIALLED, address="mem://1", transport="mem",
        encrypted=True, now=world.now,
    )  # fmt: skip
    assert any(isinstance(output, CloseLink) and output.link == 1 for output in opened)
    assert not node.neighbours()
    world.homes.pop("mem://1")
    world.run(30)
    assert len(world.outputs(Dial)) == 1


def test_forget_stops_dialling_and_leaves_the_live_link(world: World):
    node = world.add(1)
    world.add(2, **DISCOVERY_OFF)
    world.connect(1, "mem://2")
    world.run(1)
    world.know_each_other()
    assert node.addresses_of(peer_id(2)) == {"mem://2"}
    world.do(1, node.forget(node.addresses_of(peer_id(2)), world.now))
    world.run(5)
    assert world.linked(1, 2), "a live link is not cut"
    world.cut = lambda a, b: True
    world.run(10)
    world.cut = lambda a, b: False
    since = world.now
    world.run(30)
    assert not world.outputs(Dial, since=since)
    assert node.configured() == ()
    world.connect(1, "mem://2")
    world.run(1)
    assert world.linked(1, 2), "connect takes a forgotten address back"


def test_first_link_after_total_loss_and_nudge_reset_backoffs(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://nobody")
    world.run(30)
    since = world.now
    world.connect(1, "mem://2")
    world.run(0.4)
    assert "mem://nobody" in {o.address for o in world.outputs(Dial, here=1, since=since + 0.001)}
    world.run(60)
    since = world.now
    world.do(1, node.nudge(world.now))
    world.run(0.3)
    assert world.outputs(Dial, here=1, since=since)


def test_a_peer_that_drops_us_at_once_is_not_dialled_in_a_tight_loop(world: World):
    node = world.add(1)
    world.do(1, node.add_targets(["mem://2"], world.now))
    link = 0
    answered = 0
    for _ in range(200):
        dials = len(world.outputs(Dial))
        while answered < dials:
            answered += 1
            link += 1
            opened = node.link_opened(
                link,
                peer_id(2),
                direction=Direction.DIALLED,
                address="mem://2",
                transport="mem",
                encrypted=True,
                now=world.now,
            )
            world.do(1, opened)
            world.do(1, node.link_closed(link, "go away", world.now))
        world.now += 0.1
        world.do(1, node.handle_timeout(world.now))
    assert 10 <= len(world.outputs(Dial)) <= 26, "20 s, one or two seconds apart"


def test_states_follow_loss_with_reasons_and_times(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(1)
    world.know_each_other()
    world.cut = lambda a, b: True
    cut_at = world.now
    world.run(20)
    changes = [(at, o) for at, n, o in world.log if n == 1 and isinstance(o, StateChanged)]
    suspect, dead = changes[-2:]
    assert (suspect[1].old, suspect[1].new) == (PeerState.ALIVE, PeerState.SUSPECT)
    assert "silent for 2.5 s" in suspect[1].reason
    assert suspect[0] <= cut_at + 2.6
    assert (dead[1].old, dead[1].new) == (PeerState.SUSPECT, PeerState.DEAD)
    assert dead[0] == pytest.approx(suspect[0] + 5.0)
    assert "unreachable for 5 s" in node.reason(peer_id(2))
    failed = [c for c in node.connections() if c.address == "mem://2"]
    assert failed
    assert failed[0].reason == "timeout"


def test_left_is_terminal_for_its_epoch(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(1)
    world.know_each_other()
    gone = record(2, standing=Standing.LEFT, epoch=epoch(3))
    world.do(1, node.member_changed(peer_id(2), gone, world.now))
    assert node.state(peer_id(2)) is PeerState.LEFT
    world.do(1, node.member_changed(peer_id(2), record(2, epoch=epoch(3)), world.now))
    assert node.state(peer_id(2)) is PeerState.LEFT
    assert not node.minority()
    world.do(1, node.member_changed(peer_id(2), record(2, epoch=epoch(4)), world.now))
    assert node.state(peer_id(2)) is PeerState.ALIVE


def test_a_node_that_left_dials_nobody(world: World):
    node = world.add(1)
    world.do(1, node.member_changed(peer_id(1), record(1, standing=Standing.LEFT), world.now))
    world.connect(1, "mem://2")
    world.run(20)
    assert not world.outputs(Dial)
    assert node.state(peer_id(1)) is PeerState.LEFT


def test_a_stall_of_this_process_is_blamed_on_nobody(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(5)
    world.log.clear()
    world.now += 20.0
    world.do(1, node.handle_timeout(world.now))
    assert not world.outputs(CloseLink, here=1)
    assert world.nodes[1].neighbours()


def test_a_stall_ends_no_link_whose_answer_was_not_read_yet(world: World):
    """A host that starts many nodes at once would else dial for ever: no answer is in time."""
    node = world.add(1)
    for number in range(1, 13):
        node.member_changed(peer_id(number), record(number), world.now)
    node.link_opened(1, peer_id(2), direction=Direction.DIALLED, address="mem://2", epoch=epoch(1),
                     transport="mem", encrypted=True, now=world.now)  # fmt: skip
    world.now += 20.0
    outputs = node.saw_traffic(1, world.now)
    outputs += node.handle_timeout(world.now)
    assert not [o for o in outputs if isinstance(o, CloseLink)]
    assert node.neighbours() == {peer_id(2)}


def test_restarted_peer_replaces_its_old_link_at_once():
    world = World()
    a = world.add(1)
    ports = {"transport": "mem", "encrypted": True}
    a.link_opened(1, peer_id(2), direction=Direction.DIALLED, address="mem://2", epoch=epoch(1),
                  now=world.now, **ports)  # fmt: skip
    accepted = Direction.ACCEPTED
    a.link_opened(2, peer_id(2), direction=accepted, address="mem://x", epoch=epoch(2),
                  now=world.now, **ports)  # fmt: skip
    outputs = a.saw_traffic(2, world.now + 0.1)
    assert [o.link for o in outputs if isinstance(o, CloseLink)] == [1]
    assert a.link_to(peer_id(2)) == 2


def test_malformed_ping_closes_the_link_and_nothing_raises(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(1)
    link = node.link_to(peer_id(2))
    assert link is not None
    outputs = node.received(link, (0, "now"), world.now)
    assert any(isinstance(output, CloseLink) for output in outputs)
    assert any(isinstance(output, Advertise) for output in outputs)
    assert node.received(link, (0, 1), world.now) == []
    assert node.link_closed(link, "late", world.now) == []


def test_resolve_takes_ids_prefixes_names_and_addresses(world: World):
    node = world.add(1)
    world.know_each_other()
    for number in (2, 3):
        node.member_changed(peer_id(number), record(number), world.now)
    twin = record(4, name="host3", addresses=("tcp://10.0.0.9:6783",))
    node.member_changed(peer_id(4), twin, world.now)
    assert node.resolve("02" * 16) == (peer_id(2),)
    assert node.resolve("020202") == (peer_id(2),)
    assert node.resolve("host2") == (peer_id(2),)
    assert node.resolve("mem://3") == (peer_id(3),)
    assert node.resolve("10.0.0.9") == (peer_id(4),)
    for text in ("nobody", "02020", "host3", "0a0b0c", "", "10.0.0.1"):
        with pytest.raises(UsageError, match=repr(text)):
            node.resolve(text)


def test_a_record_under_another_key_does_not_count(world: World):
    node = world.add(1)
    assert node.member_changed(peer_id(2), record(3), world.now) == []
    assert not node.members()


def test_opening_a_link_number_twice_is_refused_and_changes_nothing(world: World):
    node = world.add(1)
    world.add(2)
    world.connect(1, "mem://2")
    world.run(1)
    link = node.link_to(peer_id(2))
    assert link is not None
    before = node.statistics()
    with pytest.raises(UsageError, match=f"link {link}"):
        node.link_opened(
            link, peer_id(3), direction=Direction.DIALLED, address="mem://3", transport="mem",
            encrypted=True, now=world.now,
        )  # fmt: skip
    assert node.statistics() == before


def test_a_link_that_this_node_gives_up_counts_as_gone_and_blames_nobody(world: World):
    node = world.add(1)
    for number in range(2, 13):
        world.do(1, node.member_changed(peer_id(number), record(number), world.now))
    world.add(2)
    opened = node.link_opened(
        1, peer_id(2), direction=Direction.ACCEPTED, address="mem://from-2", transport="mem",
        encrypted=True, now=world.now,
    )  # fmt: skip
    world.do(1, opened)
    assert node.state(peer_id(2)) is PeerState.ALIVE
    closed: list[object] = []
    while not closed and world.now < 110:
        world.now += 0.25
        world.do(1, node.saw_traffic(1, world.now))
        outputs = node.handle_timeout(world.now)
        closed = [o for o in outputs if isinstance(o, CloseLink) and o.link == 1]
    assert closed, "nobody asked on it, so it was a contact"
    assert not node.neighbours()
    node.check()
    node._detector.liveness.linked(peer_id(3), epoch())
    with pytest.raises(InternalError, match="linked"):
        node.check()
