"""Messages over relays: what a relay can see, forge, change, replay and hold back (F31)."""

from __future__ import annotations

import pytest
from unicast_line import EPOCH, Line, peer_id, seals_of

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.base.tree import epoch_tree
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.outputs import Acked, Delivered, Failed
from meshcrdt.topology.unicast import Unicast
from meshcrdt.topology.unicast_window import Seen, Window
from meshcrdt.topology.unicast_wire import Code
from meshcrdt.trust.sealing import ROTATE_S, Seals
from meshcrdt.wire import encode

SECRET = b"a payload that nobody else may read"


def delivered(line: Line, number: int) -> list[object]:
    return [out.payload for here, out in line.got if here == number and isinstance(out, Delivered)]


def acked(line: Line) -> int:
    return sum(isinstance(out, Acked) for _, out in line.got)


def test_a_relay_sees_who_and_whom_and_nothing_of_what() -> None:
    line = Line(4)
    line.send(1, 4, (80, SECRET))
    assert delivered(line, 4) == [(80, SECRET)]
    assert acked(line) == 1
    assert {message[0] for _, message in line.passed} == {
        Code.KEY_ASK, Code.KEY, Code.SEALED, Code.CONFIRM,
    }  # fmt: skip
    assert not any(SECRET in encode(message) for _, message in line.passed)


def test_the_key_is_asked_for_once_and_serves_both_ways_and_all_that_waited() -> None:
    line = Line(3)
    held: list[tuple[int, tuple]] = []
    line.relay = lambda number, message: held.append((number, message)) or []
    for number in range(5):
        line.send(1, 3, (80, number))
    assert [message[0] for _, message in held] == [Code.KEY_ASK]
    line.relay = lambda number, message: [message]
    line.do(2, line.nodes[2].received(peer_id(1), held[0][1], line.now))
    assert delivered(line, 3) == [(80, number) for number in range(5)]
    line.passed.clear()
    line.send(1, 3, (80, 9))
    assert [message[0] for _, message in line.passed] == [Code.SEALED, Code.CONFIRM]


def test_on_a_link_of_its_own_a_message_is_not_sealed_again() -> None:
    line = Line(2)
    line.send(1, 2, (80, "x"))
    assert delivered(line, 2) == [(80, "x")]
    assert line.passed == []


def test_what_a_relay_says_in_anothers_name_is_void() -> None:
    line = Line(3)
    ids = (bytes(peer_id(1)), bytes(peer_id(3)), epoch_tree(EPOCH), 7, 9)
    line.do(3, line.nodes[3].received(peer_id(2), (int(Code.DATA), *ids, (80, "forged")), 0.0))
    assert delivered(line, 3) == []
    number = line.send(1, 3, (80, "real"))
    assert line.nodes[1].statistics().pending == 0
    line.relay = lambda number, message: []
    number = line.send(1, 3, (80, "held back"))
    answers = (bytes(peer_id(3)), bytes(peer_id(1)), epoch_tree(EPOCH), number, 9)
    for code, body in ((Code.ACK, None), (Code.CONFIRM, b"x" * 16), (Code.CONFIRM, 5)):
        line.do(1, line.nodes[1].received(peer_id(2), (int(code), *answers, body), 0.0))
    assert line.nodes[1].statistics().pending == 1, "only who opened it can say so"


@pytest.mark.parametrize(
    ("part", "is_known"),
    # A signature of a key that was checked before is not looked at again.
    [(part, known) for part in range(7) for known in (False, True) if (part, known) != (5, True)],
)
def test_what_a_relay_changes_is_not_believed_and_the_rest_arrives(
    part: int, is_known: bool
) -> None:
    """Any part of the head but the hops, and any byte of the body."""
    line = Line(3)
    line.send(1 if is_known else 3, 3 if is_known else 1, (80, "first"))
    line.got.clear()
    changed = {
        0: lambda m: (int(Code.DATA), *m[1:]),
        1: lambda m: (*m[:1], bytes(peer_id(2)), *m[2:]),
        3: lambda m: (*m[:3], (2, b"\x01" * 8), *m[4:]),
        4: lambda m: (*m[:4], m[4] + 1, *m[5:]),
        6: lambda m: (*m[:6], (*m[6][:4], m[6][4][:-1] + bytes([m[6][4][-1] ^ 1]))),
        2: lambda m: (*m[:6], (m[6][0], m[6][1], bytes(32), *m[6][3:])),
        5: lambda m: (*m[:6], (*m[6][:3], bytes(64), m[6][4])),
    }[part]
    line.relay = lambda number, m: [changed(m) if m[0] == Code.SEALED else m]
    line.send(1, 3, (80, "second"))
    assert delivered(line, 3) == []
    assert acked(line) == 0
    line.relay = lambda number, message: [message]
    line.tick(1.0)
    assert delivered(line, 3) == [(80, "second")]
    assert acked(line) == 1


def replayed_late() -> list[object]:
    """Let a relay keep a message until its id has left the window, then bring it again."""
    line = Line(3, unicast_window=8)
    line.send(1, 3, (80, "kept"))
    (kept,) = [message for number, message in line.passed if message[0] == Code.SEALED]
    for number in range(20):
        line.send(1, 3, (80, number))
    line.got.clear()
    line.do(3, line.nodes[3].received(peer_id(2), kept, line.now))
    return delivered(line, 3)


def test_what_a_relay_kept_is_not_delivered_again() -> None:
    assert replayed_late() == []


def test_delivering_what_fell_out_of_the_window_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Window.note

    def forgetful(self: Window, number: int) -> Seen:
        seen = original(self, number)
        return Seen.NEW if seen is Seen.TOO_OLD else seen

    monkeypatch.setattr(Window, "note", forgetful)
    assert replayed_late() == [(80, "kept")]


def test_after_a_restart_of_either_end_messages_go_on() -> None:
    line = Line(3)
    line.send(1, 3, (80, "a"))
    line.start(3, counter=2)
    line.send(1, 3, (80, "b"))
    assert delivered(line, 3) == [(80, "a")], "sealed to a key that is gone"
    line.tick(1.0)
    line.tick(1.0)
    assert delivered(line, 3) == [(80, "a"), (80, "b")]
    line.start(1, counter=2)
    line.send(1, 3, (80, "c"))
    assert delivered(line, 3)[-1] == (80, "c")
    assert acked(line) == 3


def test_what_was_sealed_for_a_process_that_is_gone_opens_no_more() -> None:
    line = Line(3)
    line.send(1, 3, (80, "a"))
    (kept,) = [message for number, message in line.passed if message[0] == Code.SEALED]
    line.start(3, counter=2)
    line.got.clear()
    line.do(3, line.nodes[3].received(peer_id(2), kept, line.now))
    assert delivered(line, 3) == []


def test_keys_are_replaced_and_what_is_on_its_way_still_opens() -> None:
    line = Line(3)
    line.send(1, 3, (80, "a"))
    first = next(m for _, m in line.passed if m[0] == Code.SEALED)
    for _ in range(3):
        line.tick(ROTATE_S + 1)
        line.send(3, 1, (80, "x"))
        line.send(1, 3, (80, "b"))
        for _ in range(3):
            line.tick(1.0)
    last = [m for _, m in line.passed if m[0] == Code.SEALED][-1]
    assert last[6][2] != first[6][2]
    assert delivered(line, 3).count((80, "b")) == 3
    assert acked(line) == 7
    line.got.clear()
    line.do(3, line.nodes[3].received(peer_id(2), first, line.now))
    assert delivered(line, 3) == []


def halves(line: Line, number: int) -> set[bytes]:
    return set(line.nodes[number]._seals._vault._pairs)


def test_no_private_half_is_older_than_two_hours_whoever_is_silent() -> None:
    """One end only sends, the other only receives; then both say nothing for a day."""
    line = Line(3)
    line.send(1, 3, (80, "a"))
    first = halves(line, 1) | halves(line, 3)
    for minute in range(150):
        line.tick(60.0)
        if minute % 10 == 0:
            line.send(1, 3, (80, minute))
            line.tick(1.0)
    assert not (halves(line, 1) | halves(line, 3)) & first
    assert acked(line) == 16
    for _ in range(3):
        line.tick(ROTATE_S)
    assert halves(line, 1) == halves(line, 3) == set()
    assert line.nodes[3].next_deadline() is None
    line.send(1, 3, (80, "z"))
    for _ in range(3):
        line.tick(1.0)
    assert delivered(line, 3)[-1] == (80, "z")


def second_copy() -> tuple[Line, list[object]]:
    """Two copies of node 1 go on from one moment; each takes an epoch of its own and writes."""
    line = Line(3)
    line.send(1, 3, (80, "before"))
    one = line.nodes[1]
    line.start(1)
    other = line.nodes[1]
    other._next_id = one._next_id
    other._seals._vault.entropy = Dice(b"the system's, and so another").raw
    for number, (twin, text) in enumerate(((one, "one"), (other, "other")), start=2):
        line.nodes[1] = twin
        twin.copied()
        twin.reepoch(Epoch(2, bytes([number]) * 8))
        line.send(1, 3, (80, text))
        for _ in range(3):
            line.tick(1.0)
    return line, delivered(line, 3)


def test_what_a_copy_of_a_process_sends_is_no_repeat_of_what_the_other_sent() -> None:
    line, got = second_copy()
    assert got == [(80, "before"), (80, "one"), (80, "other")]
    assert acked(line) == 3


def test_going_on_under_the_same_epoch_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unicast, "reepoch", lambda self, epoch: None)
    line, got = second_copy()
    assert (80, "other") not in got
    assert acked(line) == 3, "acknowledged, and lost"


def test_without_an_answer_to_the_question_for_a_key_it_fails_in_time_and_says_so() -> None:
    line = Line(3)
    line.relay = lambda number, message: []
    line.send(1, 3, (80, "x"), wait_s=2.0)
    for _ in range(9):
        line.tick(0.25)
    ((_, failed),) = line.got
    assert isinstance(failed, Failed)
    assert "key" in failed.reason
    assert str(peer_id(3)) in failed.reason


def test_a_hint_that_a_key_is_gone_costs_a_question_and_nothing_else() -> None:
    """A relay may lie that way: what is sealed again goes to a key that was asked for anew."""
    line = Line(3)
    line.send(1, 3, (80, "a"))
    line.relay = lambda number, message: []
    number = line.send(1, 3, (80, "b"))
    hint = (
        int(Code.STALE),
        bytes(peer_id(3)),
        bytes(peer_id(1)),
        epoch_tree(EPOCH),
        number,
        9,
        None,
    )
    line.do(1, line.nodes[1].received(peer_id(2), hint, line.now))
    line.relay = lambda number, message: [message]
    line.tick(1.0)
    assert delivered(line, 3) == [(80, "a"), (80, "b")]


def test_a_key_that_was_not_asked_for_is_not_taken() -> None:
    """Nor an answer of earlier: who has stolen an old key could else be written to."""
    asker, owner = seals_of(1), seals_of(3)
    question = asker.ask(peer_id(3), 0.0)
    answer = owner.answer(peer_id(1), question, 0.0)
    assert asker.told(peer_id(3), answer)
    assert not asker.told(peer_id(3), answer)
    assert asker.ask(peer_id(3), 10.0) != question
    assert not asker.told(peer_id(3), answer)
    assert not asker.told(peer_id(2), answer)


def test_the_same_question_is_asked_again_until_it_is_answered() -> None:
    """On a long way the answer to the first may come after the second was asked."""
    asker, owner = seals_of(1), seals_of(3)
    question = asker.ask(peer_id(3), 0.0)
    assert asker.ask(peer_id(3), 0.1) is None
    assert asker.ask(peer_id(3), 5.0) == question
    assert asker.told(peer_id(3), owner.answer(peer_id(1), question, 0.0))


@pytest.mark.parametrize(
    "body", [None, (), (b"",) * 5, (bytes(32), bytes(32), bytes(32), b"", b"")]
)
def test_malformed_bodies_raise_nothing(body: object) -> None:
    line = Line(3)
    line.send(1, 3, (80, "a"))
    before = line.nodes[3].statistics().dropped_total
    for code in (Code.SEALED, Code.KEY, Code.KEY_ASK):
        ids = (bytes(peer_id(1)), bytes(peer_id(3)), epoch_tree(EPOCH), 99, 9)
        line.do(3, line.nodes[3].received(peer_id(2), (int(code), *ids, body), 0.0))
    assert line.nodes[3].statistics().dropped_total >= before + 2


def test_not_checking_who_signed_a_key_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay answers in the destination's name with a key of its own."""

    def impostor(line: Line) -> list[object]:
        relay = seals_of(2)

        def answer(_number: int, message: tuple) -> list[tuple]:
            if message[0] != Code.KEY_ASK:
                return []
            identity, key, _ = relay.answer(peer_id(1), message[6], 0.0)
            ids = (bytes(peer_id(3)), bytes(peer_id(1)), *message[3:6])
            line.do(1, line.nodes[1].received(
                peer_id(2), (int(Code.KEY), *ids, (identity, key, bytes(64))), 0.0))  # fmt: skip
            return []

        line.relay = answer
        line.send(1, 3, (80, SECRET))
        return [m for _, m in line.passed if m[0] == Code.SEALED]

    assert impostor(Line(3)) == []
    monkeypatch.setattr(Seals, "told", _told_anything)
    assert impostor(Line(3)) != [], "it would be sealed for the relay"


def _told_anything(self: Seals, source: object, body: tuple) -> bool:
    self._theirs[source] = body[1]
    return True


def test_opening_what_was_sealed_for_another_purpose_raises() -> None:
    a, b = seals_of(1), seals_of(3)
    b_question = a.ask(peer_id(3), 0.0)
    a.told(peer_id(3), b.answer(peer_id(1), b_question, 0.0))
    sealed = a.seal(peer_id(3), b"head", 5, (80,), 0.0)
    assert b.open(peer_id(1), EPOCH, b"head", 5, sealed.body)[0] == (80,)
    for head, number in ((b"other", 5), (b"head", 6)):
        with pytest.raises(MalformedTree):
            b.open(peer_id(1), EPOCH, head, number, sealed.body)


def sealed_by_a_copy(instance: bytes) -> tuple[object, ...]:
    """Return the two keys and the number that one of two copies of a process seals with."""
    line = Line(3)
    line.send(1, 3, (80, b"before the snapshot"))
    copied = line.nodes[1]
    copied._seals._vault.entropy = Dice(instance).raw  # what a copy draws is its own
    copied.copied()
    line.passed.clear()
    line.send(1, 3, (80, instance))
    assert delivered(line, 3) == [(80, b"before the snapshot"), (80, instance)]
    assert acked(line) == 2
    sealed = next(message for _, message in line.passed if message[0] == Code.SEALED)
    return sealed[6][0], sealed[6][2], sealed[4]


def test_no_two_copies_of_a_process_seal_under_one_key_and_number() -> None:
    assert sealed_by_a_copy(b"first") != sealed_by_a_copy(b"second")


def test_copies_that_keep_their_keys_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unicast, "copied", lambda self: None)
    assert sealed_by_a_copy(b"first") == sealed_by_a_copy(b"second")


def test_what_waits_while_keys_are_dropped_is_sealed_anew_and_arrives() -> None:
    line = Line(3)
    line.send(1, 3, (80, "first"))
    line.relay = lambda number, message: []
    line.send(1, 3, (80, "waits"))
    line.nodes[1].copied()
    line.nodes[3].copied()
    line.relay = lambda number, message: [message]
    for _ in range(4):
        line.tick(0.6)
    assert delivered(line, 3) == [(80, "first"), (80, "waits")]
    assert acked(line) == 2
