"""One overlay on its own: whom it takes, whom it refuses or gives up, and whom it looks for."""

from __future__ import annotations

from typing import Any

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.contacts import Contact
from meshcrdt.topology.dialer import Discovery, Seeds
from meshcrdt.topology.overlay import FLAP_S, Overlay
from meshcrdt.topology.overlay_terms import Drop, Mode, OverlayOutput, Say, Sight
from meshcrdt.topology.overlay_wire import (
    CONTACTS_MAX,
    Disconnect,
    Neighbour,
    NeighbourReply,
    Priority,
    Shuffle,
    ShuffleReply,
    to_tree,
)
from meshcrdt.topology.seeking import SOUGHT_MAX
from meshcrdt.topology.slots import Purpose

from .conftest import peer_id

ME = 1
LIMITS = Limits()
GRACE_S = LIMITS.overlay_link_grace_s


class Bench:
    """An overlay with a directory of `members`, everybody dialable, and a clock."""

    def __init__(self, members: int = 40, **changes: Any) -> None:
        self.now = 100.0
        self.rtt: dict[PeerId, float] = {}
        self.reached: set[PeerId] = {peer_id(n) for n in range(1, members + 1)}
        self.hidden: set[PeerId] = set()
        given = {"discovery": Discovery.ON, "domain": "", "limits": LIMITS} | changes
        domains = given.pop("domains", {})
        self.overlay = Overlay(
            me=peer_id(ME),
            dice=Dice(b"bench"),
            sight=Sight(
                addresses=lambda p: () if p in self.hidden else (f"mem://{p[0]}",),
                reaches=lambda p: p in self.reached,
                rtt_s=self.rtt.get,
            ),
            **given,
        )
        for number in range(2, members + 1):
            self.overlay.member(peer_id(number), domains.get(number, ""))
        self.act()

    def act(self, seconds: float = 0.0) -> list[OverlayOutput]:
        """Let time pass, with every deadline kept."""
        end, outputs = self.now + seconds, self.overlay.act(self.now)
        while (at := self.overlay.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            outputs += self.overlay.act(self.now)
        self.now = end
        self.overlay.check()
        return outputs

    def accept(
        self, number: int, priority: Priority = Priority.LOW, domain: str = ""
    ) -> NeighbourReply:
        """Take a link that `number` dialled, and its question; return the answer."""
        self.overlay.opened(peer_id(number), dialled=False, now=self.now)
        return self.reply(number, self.hear(number, Neighbour(priority, domain)))

    def dial(self, number: int) -> list[OverlayOutput]:
        said = self.overlay.opened(peer_id(number), dialled=True, now=self.now)
        return said + self.act()

    def hear(self, number: int, message: Any) -> list[OverlayOutput]:
        return self.overlay.received(peer_id(number), to_tree(message), self.now) + self.act()

    def reply(self, number: int, outputs: list[OverlayOutput]) -> NeighbourReply:
        (answer,) = (
            o.message
            for o in outputs
            if isinstance(o, Say) and o.peer == peer_id(number)
            and isinstance(o.message, NeighbourReply)
        )  # fmt: skip
        return answer

    def fill(self) -> None:
        for number in range(2, 2 + LIMITS.overlay_active_max):
            assert self.accept(number).accepted


def said(outputs: list[OverlayOutput], kind: type) -> list[Say]:
    return [o for o in outputs if isinstance(o, Say) and isinstance(o.message, kind)]


def contact(number: int) -> Contact:
    return Contact(peer_id(number), (f"mem://{number}",))


# --- answering --------------------------------------------------------------------------


def test_a_full_view_refuses_low_names_others_and_ends_the_link_after_the_grace():
    bench = Bench()
    bench.fill()
    answer = bench.accept(20)
    assert not answer.accepted
    assert 1 <= len(answer.contacts) <= LIMITS.overlay_contacts_max
    assert peer_id(20) not in {c.peer for c in answer.contacts}
    assert bench.overlay.purpose(peer_id(20)) is Purpose.CONTACT
    assert not [o for o in bench.act(GRACE_S - 0.1) if isinstance(o, Drop)]
    assert Drop(peer_id(20), "it was a contact, no neighbour") in bench.act(0.2)
    assert bench.overlay.purpose(peer_id(20)) is None
    assert len(bench.overlay.neighbours()) == LIMITS.overlay_active_max


@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.PINNED])
def test_nobody_refuses_a_peer_that_may_be_cut_off(priority: Priority):
    bench = Bench()
    bench.fill()
    bench.overlay.opened(peer_id(20), dialled=False, now=bench.now)
    outputs = bench.hear(20, Neighbour(priority, ""))
    assert bench.reply(20, outputs).accepted
    given_up = said(outputs, Disconnect)
    assert peer_id(20) in bench.overlay.neighbours()
    if priority is Priority.HIGH:
        (victim,) = given_up
        assert victim.peer in {peer_id(n) for n in range(2, 9)}
        assert victim.message.contacts
        assert len(bench.overlay.neighbours()) == LIMITS.overlay_active_max
    else:
        assert not given_up, "a pinned neighbour takes nobody's place"


def test_a_pinned_neighbour_is_never_given_up():
    bench = Bench()
    bench.accept(30, Priority.PINNED)
    bench.fill()
    for number in range(9, 29):
        assert bench.accept(number, Priority.HIGH).accepted
        assert peer_id(30) in bench.overlay.neighbours()
    assert bench.overlay.purpose(peer_id(30)) is Purpose.PINNED
    assert len(bench.overlay.neighbours()) == LIMITS.overlay_active_max + 1


def test_the_only_neighbour_of_a_failure_domain_is_given_up_last():
    bench = Bench(domains={2: "cellar"})
    bench.accept(2, domain="cellar")
    for number in range(3, 9):
        bench.accept(number, domain="attic")
    for number in range(9, 30):
        assert bench.accept(number, Priority.HIGH, domain="attic").accepted
        assert peer_id(2) in bench.overlay.neighbours()


def test_a_given_up_node_looks_for_another_among_the_named_ones():
    bench = Bench(members=1)
    bench.dial(2)
    bench.hear(2, NeighbourReply(True, tuple(contact(n) for n in range(3, 11))))
    assert bench.overlay.mode() is Mode.PARTIAL
    bench.hear(2, Disconnect((contact(12),)))
    assert not bench.overlay.neighbours()
    wanted = bench.overlay.wanted()
    assert wanted
    assert peer_id(2) not in wanted, "who gave us up is not asked again at once"
    assert len(wanted) <= SOUGHT_MAX
    assert bench.overlay.heard(wanted).keys() == wanted


def test_small_cluster_links_everybody_and_closes_nothing():
    bench = Bench(members=8)
    assert bench.overlay.mode() is Mode.FULL
    assert bench.overlay.wanted() == {peer_id(n) for n in range(2, 9)}
    for number in range(2, 9):
        bench.overlay.opened(peer_id(number), dialled=False, now=bench.now)
    assert not bench.act(60.0)
    assert len(bench.overlay.neighbours()) == 7
    assert bench.overlay.seeds(bench.now) is Seeds.WANTED


def test_without_discovery_nothing_is_sought_and_configured_links_are_pinned():
    bench = Bench(discovery=Discovery.OFF)
    assert bench.overlay.mode() is Mode.CONFIGURED
    assert not bench.overlay.wanted()
    (question,) = bench.dial(2)
    assert question.message == Neighbour(Priority.PINNED, "")
    bench.act(600.0)
    assert bench.overlay.purpose(peer_id(2)) is Purpose.PINNED
    again = said(bench.hear(2, Disconnect(())), Neighbour)
    assert [o.message.priority for o in again] == [Priority.PINNED]
    assert bench.overlay.neighbours() == {peer_id(2)}


def test_a_question_without_an_answer_is_repeated_and_then_the_link_ends():
    bench = Bench()
    wanted = sorted(bench.overlay.wanted())
    outputs = bench.dial(wanted[0][0])
    outputs += bench.act(10.0)
    asked = [o for o in said(outputs, Neighbour) if o.peer == wanted[0]]
    assert len(asked) == 3
    assert [o for o in outputs if isinstance(o, Drop) and o.peer == wanted[0]]


def test_shuffles_are_answered():
    bench = Bench(members=12)
    bench.accept(2)
    (answer,) = said(bench.hear(2, Shuffle((contact(77),))), ShuffleReply)
    assert answer.message.contacts
    bench.hear(2, ShuffleReply((contact(78),)))
    assert bench.overlay.members() == 12 + 2


def test_a_thin_directory_is_shuffled_a_few_times_and_a_full_one_never():
    for members, most in ((12, 5), (40, 0)):
        bench = Bench(members=members)
        bench.accept(2)
        assert len(said(bench.act(600.0), Shuffle)) == most


def test_a_full_view_takes_a_newcomer_in_between_and_names_whom_it_gave_up():
    bench = Bench()
    bench.fill()
    outputs = bench.overlay.opened(peer_id(20), dialled=False, now=bench.now)
    outputs += bench.hear(20, Neighbour(Priority.BETWEEN, ""))
    answer = bench.reply(20, outputs)
    (given_up,) = said(outputs, Disconnect)
    assert (answer.accepted, answer.between) == (True, True)
    assert answer.contacts[0].peer == given_up.peer
    assert peer_id(20) in bench.overlay.neighbours()
    assert given_up.peer not in bench.overlay.neighbours()
    assert len(bench.overlay.neighbours()) == LIMITS.overlay_active_max


def test_with_room_nobody_is_given_up_for_a_newcomer():
    bench = Bench()
    answer = bench.accept(20, Priority.BETWEEN)
    assert (answer.accepted, answer.between) == (True, False)


def test_pinned_neighbours_are_given_up_for_nobody_who_asks_to_go_between():
    bench = Bench()
    for number in range(2, 2 + LIMITS.overlay_active_max):
        assert bench.accept(number, Priority.PINNED).accepted
    bench.accept(19)
    pinned = bench.overlay.neighbours() - {peer_id(19)}
    bench.accept(20, Priority.BETWEEN)
    assert pinned <= bench.overlay.neighbours()


def test_who_was_given_up_for_this_node_is_asked_next():
    bench = Bench()
    first, *others = sorted(bench.overlay.wanted())
    bench.dial(first[0])
    bench.hidden = {peer_id(n) for n in range(2, 41)} - {peer_id(33)}
    for peer in others:
        bench.overlay.dial_failed(peer, bench.now)
    told = tuple(contact(n) for n in (33, 30, 31))
    bench.hear(first[0], NeighbourReply(True, told, between=True))
    assert bench.overlay.wanted() == {peer_id(33)}


# --- looking ----------------------------------------------------------------------------


def test_a_thin_view_seeks_few_at_a_time_and_gives_the_turn_of_the_silent_to_others():
    bench = Bench()
    first = bench.overlay.wanted()
    assert len(first) == -(-LIMITS.overlay_active_min // 2), "each brings two"
    bench.act(LIMITS.overlay_seek_s + 0.01)
    second = bench.overlay.wanted()
    assert second
    assert second != first


@pytest.mark.parametrize("forgives", [True, False])
def test_a_stall_of_this_very_process_is_held_against_nobody(forgives: bool):
    """Else an overloaded host ends each link before the answer is read, and dials again."""
    bench = Bench()
    first, other, *_ = sorted(bench.overlay.wanted())
    bench.dial(first[0])
    bench.now += 10.0
    if forgives:
        bench.overlay.forgive(10.0)
    dropped = [o for o in bench.overlay.act(bench.now) if isinstance(o, Drop)]
    bench.overlay.check()
    assert (dropped == []) is forgives
    assert (other in bench.overlay.wanted()) is forgives


def test_the_first_question_is_high_and_the_others_go_between():
    bench = Bench()
    priorities = [
        o.message.priority
        for peer in sorted(bench.overlay.wanted())
        for o in said(bench.dial(peer[0]), Neighbour)
    ]
    assert priorities[0] is Priority.HIGH
    assert set(priorities[1:]) == {Priority.BETWEEN}


def test_the_dead_are_sought_only_by_who_has_no_neighbour():
    bench = Bench(members=10)
    for number in range(2, 11):
        bench.overlay.state_changed(peer_id(number), dead=number != 5, now=bench.now)
    bench.accept(11)
    bench.act(5.0)
    sought = bench.overlay.wanted()
    bench.overlay.lost(peer_id(11), bench.now)
    bench.act()
    assert len(bench.overlay.wanted()) > len(sought)


def test_who_has_no_address_is_not_sought():
    bench = Bench(members=20)
    bench.hidden = {peer_id(n) for n in range(2, 20)}
    bench.act(60.0)
    assert bench.overlay.wanted() <= {peer_id(20)}


def test_seeds_rest_while_the_view_is_full_and_come_back_when_it_stays_thin():
    bench = Bench()
    assert bench.overlay.seeds(bench.now) is Seeds.WANTED, "no neighbour at all"
    bench.accept(2)
    bench.act()
    assert bench.overlay.seeds(bench.now) is Seeds.RESTING
    bench.act(LIMITS.overlay_seed_after_s + 0.1)
    assert bench.overlay.seeds(bench.now) is Seeds.WANTED, "thin for too long"
    bench.fill()
    assert bench.overlay.seeds(bench.now) is Seeds.RESTING


def test_each_failure_domain_gets_a_link():
    domains = {n: "ab"[n % 2] for n in range(2, 33)} | dict.fromkeys(range(33, 41), "rare")
    bench = Bench(domains=domains)
    for number in (3, 4, 5, 6, 7):
        bench.accept(number, domain=domains[number])
    bench.act(LIMITS.overlay_seek_s)  # what was sought for the view before it was full
    question = None
    while question is None and bench.now < 140:
        bench.act(1.0)
        for peer in sorted(bench.overlay.wanted()):
            if domains[peer[0]] == "rare":
                (question,) = said(bench.dial(peer[0]), Neighbour)
    assert question is not None
    assert question.message.priority is Priority.HIGH
    outputs = bench.hear(question.peer[0], NeighbourReply(True, ()))
    assert question.peer in bench.overlay.neighbours()
    assert not said(outputs, Disconnect), "there was room"


def test_out_of_view_dials_are_about_one_a_second_for_the_whole_cluster():
    bench = Bench(members=40)
    bench.fill()
    bench.act(4000.0)
    assert 60 <= bench.overlay.statistics().probes_total <= 140, "4000 s among 40 members"


def test_the_living_of_a_small_rest_dial_more_often_and_dial_the_dead():
    bench = Bench(members=40)
    bench.fill()
    bench.reached = {peer_id(n) for n in range(1, 9)}
    for number in range(9, 41):
        bench.overlay.state_changed(peer_id(number), dead=True, now=bench.now)
    before = bench.overlay.statistics().probes_total
    bench.act(80.0)
    assert 5 <= bench.overlay.statistics().probes_total - before <= 20, "80 s among 8 living"


def probing(bench: Bench) -> int:
    """Let time pass until the overlay dials out of view; return whom."""
    bench.act(LIMITS.overlay_seek_s)  # what was sought for the view before it was full
    for _ in range(4000):
        bench.act(0.25)
        if bench.overlay.wanted():
            return min(bench.overlay.wanted())[0]
    raise AssertionError("nobody is dialled out of view")


def test_a_probe_ends_after_the_grace_and_changes_nothing():
    bench = Bench()
    bench.fill()
    number = probing(bench)
    assert not bench.dial(number), "no question, no answer"
    assert bench.overlay.purpose(peer_id(number)) is Purpose.PROBE
    before = bench.overlay.neighbours()
    outputs = bench.act(GRACE_S + 0.1)
    assert Drop(peer_id(number), "it was a probe, no neighbour") in outputs
    assert bench.overlay.neighbours() == before


def test_a_probe_that_finds_another_component_makes_it_a_neighbour():
    bench = Bench()
    bench.fill()
    bench.reached = set()
    number = probing(bench)
    (question,) = said(bench.dial(number), Neighbour)
    assert question.message.priority is Priority.HIGH
    outputs = bench.hear(number, NeighbourReply(True, ()))
    assert peer_id(number) in bench.overlay.neighbours()
    assert len(said(outputs, Disconnect)) == 1
    assert len(bench.overlay.neighbours()) == LIMITS.overlay_active_max


@pytest.mark.parametrize(("probe_s", "swapped"), [(0.005, True), (0.06, False)])
def test_a_much_faster_probe_takes_the_place_of_the_slowest_neighbour(
    probe_s: float, swapped: bool
):
    bench = Bench()
    bench.fill()
    bench.rtt |= {peer_id(n): 0.010 * n for n in range(2, 9)}
    number = probing(bench)
    bench.dial(number)
    bench.rtt[peer_id(number)] = probe_s
    asked = said(bench.act(GRACE_S + 0.1), Neighbour)
    assert bool(asked) is swapped
    if swapped:
        outputs = bench.hear(number, NeighbourReply(True, ()))
        assert [o.peer for o in said(outputs, Disconnect)] == [peer_id(8)]
        assert bench.overlay.statistics().swaps_total == 1
        assert bench.overlay.statistics().evicted_total == 0


def test_a_neighbour_that_keeps_falling_off_is_left_alone_longer_each_time():
    bench = Bench(members=9)
    bench.accept(2)
    pauses = []
    for _ in range(6):
        bench.accept(3)
        bench.now += FLAP_S / 2
        assert not bench.overlay.lost(peer_id(3), bench.now)
        begin = bench.now
        while not bench.overlay._candidates.damping.allows(peer_id(3), bench.now):
            bench.now += 0.5
        pauses.append(bench.now - begin)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert pauses[-1] >= 30.0
    assert max(pauses) <= LIMITS.overlay_penalty_max_s + 0.5


def test_the_loss_of_a_neighbour_is_a_loss_and_that_of_a_contact_is_not():
    bench = Bench()
    bench.fill()
    bench.accept(20)
    assert bench.overlay.lost(peer_id(20), bench.now), "expected"
    assert not bench.overlay.lost(peer_id(2), bench.now)


def test_a_node_that_left_looks_for_nobody():
    bench = Bench()
    bench.overlay.retire(retired=True)
    bench.act(60.0)
    assert not bench.overlay.wanted()


# --- hostile ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        (4,),
        (4, 4, ""),
        (4, True, ""),
        (4, 0, "x" * 129),
        (4, 0, "a\nb"),
        (4, 0, "", 0),
        (5, 2, (), 0),
        (5, 1, (), 2),
        (5, 1, ()),
        (5, 1, ((b"short", ()),), 0),
        (5, 1, ((bytes(16), ("a",) * 5),), 0),
        (6, ((bytes(16), ("a" * 513,)),)),
        (6, None),
        (7, tuple((bytes([n]) * 16, ()) for n in range(CONTACTS_MAX + 1))),
        (8, ((bytes(16),),)),
    ],
)
def test_malformed_messages_are_refused_and_change_nothing(tree: Any):
    bench = Bench()
    bench.fill()
    before = bench.overlay.statistics()
    with pytest.raises(MalformedTree):
        bench.overlay.received(peer_id(2), tree, bench.now)
    assert bench.overlay.statistics() == before


def test_a_flood_of_contacts_is_bounded_and_says_nothing_about_members():
    bench = Bench(members=12)
    bench.accept(2)
    for number in range(13, 250, 8):
        bench.hear(2, Shuffle(tuple(contact(n) for n in range(number, min(number + 8, 256)))))
    assert bench.overlay.members() == 12 + LIMITS.overlay_passive_max
    bench.hear(2, Shuffle((Contact(peer_id(5), ("mem://elsewhere",)),)))
    assert not bench.overlay.heard([peer_id(5)]), "the directory says where a member is"


def test_messages_of_unlinked_peers_say_nothing():
    bench = Bench()
    assert bench.hear(33, Neighbour(Priority.HIGH, "")) == []
