"""When a machine wants to be called, and how late its own process was."""

from __future__ import annotations

from meshcrdt.base.limits import Limits
from meshcrdt.topology.promise import STALL_SHARE, Promise

LIMITS = Limits(link_silence_s=4.0)
LATE_S = STALL_SHARE * LIMITS.link_silence_s


class Part:
    """Counts how often it is asked."""

    def __init__(self, due: float | None) -> None:
        self.due = due
        self.asked = 0

    def next_deadline(self) -> float | None:
        self.asked += 1
        return self.due


def made(*dues: float | None) -> tuple[Promise, list[Part]]:
    parts = [Part(due) for due in dues]
    return Promise((part.next_deadline for part in parts), LIMITS), parts


def test_the_first_part_counts_and_is_asked_once_until_an_event_comes() -> None:
    promise, parts = made(7.0, None, 5.0)
    assert [promise.due(), promise.due()] == [5.0, 5.0]
    assert [part.asked for part in parts] == [1, 1, 1]
    parts[2].due = 6.0
    assert promise.due() == 5.0
    promise.stalled_s(1.0)
    assert promise.due() == 6.0


def test_an_event_in_time_is_no_stall_and_a_little_late_neither() -> None:
    promise, _ = made(5.0)
    assert promise.stalled_s(4.0) == 0.0
    assert promise.stalled_s(5.0 + LATE_S) == 0.0


def test_a_stall_is_told_with_all_of_its_length() -> None:
    promise, _ = made(5.0)
    assert promise.stalled_s(6.5 + LATE_S) == 1.5 + LATE_S


def test_one_stall_is_told_once_however_much_one_turn_brings() -> None:
    promise, _ = made(5.0)
    assert promise.stalled_s(20.0) == 15.0
    assert promise.stalled_s(20.0) == 0.0


def test_what_an_event_did_to_the_deadline_is_seen_after_a_second_one_of_its_turn() -> None:
    promise, parts = made(5.0)
    promise.stalled_s(1.0)
    assert promise.due() == 5.0
    promise.stalled_s(1.0)
    parts[0].due = 2.0
    assert promise.due() == 2.0


def test_who_waits_for_nothing_is_never_late() -> None:
    promise, _ = made(None)
    assert promise.stalled_s(1_000.0) == 0.0
