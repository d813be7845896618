"""The parts on their own: records, views, dialer and links."""

from __future__ import annotations

from itertools import pairwise

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.dialer import (
    ATTEMPTS_MAX,
    ATTEMPTS_PER_ADDRESS_MAX,
    Dialer,
    Discovery,
    Surroundings,
)
from meshcrdt.topology.directory import MemberRecord, Standing
from meshcrdt.topology.links import LINKS_PER_PEER_MAX, Direction, Links
from meshcrdt.topology.outputs import CloseLink, ToLink

from .conftest import peer_id, record

ME = peer_id(1)

# --- directory --------------------------------------------------------------------------


def test_member_record_round_trip():
    full = record(
        2,
        addresses=("tcp://10.0.0.2:6783", "mem://2"),
        standing=Standing.LEFT,
        trusted=("10.0.0.0/8",),
        underlay=("10.0.0.2",),
        roles=("guardian",),
    )
    assert MemberRecord.from_tree(full.to_tree()) == full


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (0, 2, "version"),
        (1, b"short", "peer"),
        (2, bytes(31), "public"),
        (3, "n" * 256, "name"),
        (3, "\x1b]0;title\x07", "name"),
        (4, ("tcp://\x1b[2J:1",), "addresses"),
        (4, ("a" * 513,), "addresses"),
        (4, ("a",) * 65, "addresses"),
        (5, (1, b""), "epoch"),
        (6, 2, "standing"),
        (7, (1,), "trusted"),
        (8, "10.0.0.2", "underlay"),
        (9, None, "roles"),
    ],
)
def test_malformed_member_record_names_the_field(place: int, value: object, field: str):
    tree = list(record(2).to_tree())  # type: ignore[arg-type]
    tree[place] = value
    with pytest.raises(MalformedTree, match=field):
        MemberRecord.from_tree(tuple(tree))


# --- dialer -----------------------------------------------------------------------------


def make_dialer(discovery: Discovery = Discovery.ON) -> Dialer:
    return Dialer(me=ME, limits=Limits(), dice=Dice(b"d"), discovery=discovery)


def test_dials_in_flight_are_bounded_and_lost_answers_do_not_hold_a_place():
    dialer = make_dialer()
    dialer.add([f"mem://{n}" for n in range(200)], 0.0)
    assert len(dialer.poll(0.0)) == ATTEMPTS_MAX
    assert dialer.poll(0.5) == []
    dialer.check()
    deadline = dialer.next_deadline()
    assert deadline == 10.0
    assert len(dialer.poll(deadline)) == ATTEMPTS_MAX
    dialer.check()


def test_hanging_dials_do_not_hold_the_address():
    dialer = make_dialer()
    dialer.add(["mem://2"], 0.0)
    starts: list[float] = []
    now = 0.0
    while now < 9.9:
        starts.extend(now for _ in dialer.poll(now))
        now = round(now + 0.05, 2)
    assert len(starts) == ATTEMPTS_PER_ADDRESS_MAX
    assert all(1.0 <= b - a <= 2.05 for a, b in pairwise(starts))


def test_late_failures_never_push_the_next_attempt_back():
    dialer = make_dialer()
    dialer.add(["mem://2"], 0.0)
    now, starts = 0.0, 0
    while now < 20.0:
        starts += len(dialer.poll(now))
        dialer.failed("mem://2", "timeout", now, refused=False)
        now += 0.05
    assert starts >= 9, "at least one in two seconds"


def dials_in(dialer: Dialer, seconds: float, *, refused: bool) -> int:
    """Dial what is due for so long; each attempt fails at once. Only the last half counts."""
    now, count = 0.0, 0
    while now < 2 * seconds:
        for address in dialer.poll(now):
            count += now >= seconds
            dialer.failed(address, "no", now, refused=refused)
        dialer.check()
        later = dialer.next_deadline()
        now = 2 * seconds if later is None else max(now, later)
    return count


def test_a_configured_address_that_refuses_backs_off_further():
    dialer = make_dialer()
    dialer.add(["mem://2"], 0.0)
    dialer.look(Surroundings(linked=frozenset(peers(3))), 0.0)
    assert 9 <= dials_in(dialer, 160.0, refused=True) <= 22, "every 8 to 16 s"


def test_a_long_list_of_dead_seeds_costs_no_more_dials_than_a_short_one():
    for seeds in (1, 8, 64, 200):
        dialer = make_dialer()
        dialer.add([f"mem://{number}" for number in range(seeds)], 0.0)
        dialer.look(Surroundings(linked=frozenset(peers(3))), 0.0)
        dials = dials_in(dialer, 160.0, refused=False)
        each = min(seeds, 8) if seeds <= 64 else seeds / 8
        assert 80 * each <= dials <= 160 * each, f"{dials} dials of {seeds} seeds"


def test_addresses_of_one_peer_are_tried_one_after_the_other():
    dialer = make_dialer()
    dialer.directory_changed(peer_id(2), ["mem://a", "mem://b"], 0.0)
    dialer.look(Surroundings(wanted=frozenset(peers(2))), 0.0)
    assert dialer.poll(0.0) == ["mem://a"]
    assert dialer.next_deadline() == 0.25
    assert dialer.poll(0.25) == ["mem://b"]


def test_an_address_claimed_by_many_is_not_dialled_while_it_leads_to_a_linked_peer():
    dialer = make_dialer()
    for number in (2, 3):
        dialer.directory_changed(peer_id(number), ["mem://shared"], 0.0)
    dialer.look(Surroundings(wanted=frozenset(peers(2, 3))), 0.0)
    assert dialer.poll(0.0) == ["mem://shared"]
    dialer.opened("mem://shared", peer_id(2))
    dialer.look(Surroundings(frozenset(peers(2)), frozenset(peers(2, 3))), 0.0)
    assert dialer.poll(60.0) == []
    assert dialer.leads_to("mem://shared") == peers(2, 3)


def test_a_member_that_withdraws_its_addresses_is_not_dialled():
    dialer = make_dialer()
    dialer.directory_changed(peer_id(2), ["mem://2"], 0.0)
    dialer.look(Surroundings(wanted=frozenset(peers(2))), 0.0)
    dialer.directory_changed(peer_id(2), [], 0.0)
    assert dialer.poll(0.0) == []
    assert dialer.known() == frozenset()


def test_answers_for_unknown_addresses_change_nothing():
    dialer = make_dialer()
    dialer.opened("mem://x", peer_id(2))
    dialer.failed("mem://x", "no", 0.0, refused=False)
    assert dialer.known() == frozenset()
    assert dialer.next_deadline() is None


# --- links ------------------------------------------------------------------------------


def open_link(links: Links, link: int, number: int = 2, **changes) -> list:
    given = {
        "direction": Direction.DIALLED,
        "address": "mem://2",
        "transport": "mem",
        "encrypted": True,
        "now": 0.0,
    }
    return links.opened(link, peer_id(number), **(given | changes))


def peers(*numbers: int) -> set:
    return {peer_id(n) for n in numbers}


def make_links(**limits) -> Links:
    return Links(me=ME, limits=Limits(**limits), dice=Dice(b"l"))


def test_links_are_bounded_in_all_and_per_peer():
    links = make_links(links_max=6)
    for link in range(1, 10):
        open_link(links, link)
        links.check()
    assert links.statistics().open == LINKS_PER_PEER_MAX
    for number in (3, 4, 5):
        outputs = open_link(links, 100 + number, number)
    assert [type(o) for o in outputs] == [CloseLink]
    assert "links_max is 6" in outputs[0].reason


def test_round_trip_is_measured_and_smoothed():
    links = make_links()
    ping = open_link(links, 1)[-1]
    assert isinstance(ping, ToLink)
    links.received(1, (1, ping.message[1]), 0.1)
    entry = links.entry(1)
    assert entry is not None
    assert entry.rtt_s == pytest.approx(0.1)
    _, outputs = links.handle_timeout(1.7)
    links.received(1, (1, outputs[0].message[1]), 2.0)
    assert entry.rtt_s == pytest.approx(0.15)
    links.received(1, (1, 12345), 2.1)
    assert entry.rtt_s == pytest.approx(0.15), "an answer nobody asked for"


def test_a_working_link_is_not_closed_for_one_that_is_not_proven():
    links = make_links()
    open_link(links, 1, direction=Direction.DIALLED)
    open_link(links, 2, direction=Direction.ACCEPTED)
    assert [o for o in links.heard(2, 0.1) if isinstance(o, CloseLink)] == []
    assert links.link_to(peer_id(2)) == 2, "the one that is heard speaks for the peer"
    assert [o.link for o in links.heard(1, 0.2) if isinstance(o, CloseLink)] == [2]
    assert links.link_to(peer_id(2)) == 1


def test_only_the_dialler_judges_links_of_one_dialler():
    links = make_links()
    for link in (1, 2):
        open_link(links, link, direction=Direction.ACCEPTED)
    assert links.heard(1, 0.1) == []
    assert links.heard(2, 0.1) == []
    assert links.statistics().open == 2
