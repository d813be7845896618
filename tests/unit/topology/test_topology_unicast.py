"""Unicast on its own: one machine at a time, messages handed over by the test."""

from __future__ import annotations

import pytest
from unicast_line import peer_id, seals_of

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, InternalError
from meshcrdt.topology.outputs import Acked, Delivered, Failed, Misbehaved, ToPeer
from meshcrdt.topology.unicast import Unicast
from meshcrdt.topology.unicast_wire import Code

from .conftest import epoch

ACK, DATA, ERROR = int(Code.ACK), int(Code.DATA), int(Code.ERROR)

ME = peer_id(1)


def make_unicast(number: int = 1, hops: dict | None = None, **limits) -> Unicast:
    table = {peer_id(d): peer_id(h) for d, h in (hops or {}).items()}
    return Unicast(
        me=peer_id(number),
        epoch=epoch(),
        limits=Limits(**limits),
        dice=Dice(b"u"),
        next_hop=table.get,
        seals=seals_of(number),
    )


def only(outputs: list, kind: type):
    found = [output for output in outputs if isinstance(output, kind)]
    assert len(found) == 1
    return found[0]


def test_one_hop_delivers_and_acknowledges():
    a, b = make_unicast(1, {2: 2}), make_unicast(2, {1: 1})
    message_id, outputs = a.send(peer_id(2), (80, "x"), 0.0)
    at_b = b.received(ME, only(outputs, ToPeer).message, 0.0)
    assert only(at_b, Delivered) == Delivered(ME, (80, "x"))
    answer = only(at_b, ToPeer)
    assert answer.peer == ME
    assert a.received(peer_id(2), answer.message, 0.1) == [Acked(message_id)]
    assert a.received(peer_id(2), answer.message, 0.1) == [], "answered once only"
    assert a.next_deadline() is None
    a.check()


def test_repeats_are_acknowledged_again_but_not_delivered_again():
    a, b = make_unicast(1, {2: 2}), make_unicast(2, {1: 1})
    _, outputs = a.send(peer_id(2), (80,), 0.0)
    message = only(outputs, ToPeer).message
    b.received(ME, message, 0.0)
    again = only(a.handle_timeout(0.5), ToPeer).message
    assert again == message
    assert [type(o) for o in b.received(ME, again, 0.5)] == [ToPeer]
    assert b.statistics().duplicates_total == 1


def test_an_acknowledgement_for_an_earlier_process_acknowledges_nothing():
    a = make_unicast(1, {2: 2})
    a.send(peer_id(2), (80,), 0.0)
    old = (ACK, bytes(peer_id(2)), bytes(ME), (0, b"\x01" * 8), 0, 16, None)
    assert a.received(peer_id(2), old, 0.1) == []
    forged = (ACK, bytes(peer_id(3)), bytes(ME), (1, b"\x01" * 8), 0, 16, None)
    assert a.received(peer_id(3), forged, 0.1) == [], "only the destination acknowledges"
    assert a.statistics().pending == 1


def test_restarted_sender_is_not_taken_for_a_repeat():
    b = make_unicast(2, {1: 1})
    for counter in (1, 2):
        message = (DATA, bytes(ME), bytes(peer_id(2)), (counter, b"\x01" * 8), 0, 16, (80,))
        assert only(b.received(ME, message, 0.0), Delivered)


def test_no_route_fails_at_the_deadline_and_says_so():
    a = make_unicast(1)
    message_id, outputs = a.send(peer_id(9), (80,), 0.0, deadline=2.0)
    assert outputs == []
    found: list = []
    while (at := a.next_deadline()) is not None:
        found += a.handle_timeout(at)
        a.check()
    assert found == [Failed(message_id, peer_id(9), (80,), f"no route to {peer_id(9)}")]


def test_deadline_in_the_past_fails_at_once():
    a = make_unicast(1, {2: 2})
    message_id, outputs = a.send(peer_id(2), (80,), 5.0, deadline=5.0)
    assert outputs == [Failed(message_id, peer_id(2), (80,), "no answer")]


def test_relay_sends_errors_back_and_the_sender_names_them():
    a, relay = make_unicast(1, {9: 2}), make_unicast(2, {1: 1})
    _, outputs = a.send(peer_id(9), (80,), 0.0, deadline=1.0)
    error = only(relay.received(ME, only(outputs, ToPeer).message, 0.0), ToPeer)
    assert error.message[0] == ERROR
    assert a.received(peer_id(2), error.message, 0.1) == []
    assert "no route from" in only(a.handle_timeout(1.0), Failed).reason
    assert a.statistics().failed_total == 1


def test_hop_budget_ends_loops():
    hops = {9: 3}
    message = (DATA, bytes(ME), bytes(peer_id(9)), (1, b"\x01" * 8), 0, 1, (80,))
    outputs = make_unicast(2, hops).received(ME, message, 0.0)
    assert only(outputs, ToPeer).message[0] == ERROR
    assert "hop limit" in only(outputs, ToPeer).message[6]
    back = (*message[:5], 9, message[6])
    outputs = make_unicast(2, hops).received(peer_id(3), back, 0.0)
    assert only(outputs, ToPeer).message[0] == ERROR, "never back where it came from"


def test_errors_about_answers_are_never_sent():
    answer = (ACK, bytes(peer_id(9)), bytes(ME), (1, b"\x01" * 8), 0, 1, None)
    relay = make_unicast(2)
    assert relay.received(peer_id(3), answer, 0.0) == []
    assert relay.statistics().dropped_total == 1


def test_to_oneself_is_delivered_at_once():
    a = make_unicast(1)
    message_id, outputs = a.send(ME, (80,), 0.0)
    assert outputs == [Delivered(ME, (80,)), Acked(message_id)]


def test_pending_messages_are_bounded_and_refusal_changes_nothing():
    a = make_unicast(1, {2: 2}, unicast_pending_max=3)
    for _ in range(3):
        a.send(peer_id(2), (80,), 0.0)
    before = a.statistics()
    with pytest.raises(CapacityError, match="unicast_pending_max is 3"):
        a.send(peer_id(2), (80,), 0.0)
    assert a.statistics() == before


def test_windows_are_bounded():
    b = make_unicast(2, {}, unicast_sources_max=4)
    for number in range(10, 40):
        source = peer_id(number)
        b.received(source, (DATA, bytes(source), bytes(peer_id(2)), (1, bytes(8)), 0, 3, None), 0.0)
        b.check()
    assert b.statistics().windows == 4


@pytest.mark.parametrize(
    "message",
    [
        (),
        (DATA,),
        (31, bytes(16), bytes(16), (1, bytes(8)), 0, 1, None),
        (40, bytes(16), bytes(16), (1, bytes(8)), 0, 1, None),
        (int(Code.STALE), bytes(16), bytes(16), (1, bytes(8)), 0, 1, b""),
        (DATA, bytes(15), bytes(16), (1, bytes(8)), 0, 1, None),
        (DATA, bytes(16), bytes(16), (1, bytes(8)), 0, 0, None),
        (DATA, bytes(16), bytes(16), (1, bytes(8)), -1, 1, None),
        (ACK, bytes(16), bytes(16), (1, bytes(8)), 0, 1, b"x"),
        (ERROR, bytes(16), bytes(16), (1, bytes(8)), 0, 1, "r" * 300),
    ],
)
def test_malformed_unicast_is_reported_and_never_raises(message: tuple):
    assert [type(o) for o in make_unicast().received(peer_id(2), message, 0.0)] == [Misbehaved]


def test_cancelled_messages_have_no_outcome():
    a = make_unicast(1, {2: 2})
    message_id, _ = a.send(peer_id(2), (80,), 0.0)
    a.cancel(message_id)
    assert a.next_deadline() is None
    assert a.handle_timeout(100.0) == []


def test_check_notices_a_message_that_nobody_would_answer():
    a = make_unicast(1, {2: 2})
    a.send(peer_id(2), (80,), 0.0)
    a._due.clear()
    with pytest.raises(InternalError):
        a.check()
