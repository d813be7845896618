"""What a world remembers for all hosts costs nothing but memory: it changes no run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshcrdt.base.memo import NO_MEMO
from meshcrdt.errors import InternalError
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.memo import WorldMemo


@pytest.mark.parametrize("seed", [1, 5, 11])
def test_a_run_is_the_same_whether_its_world_remembers_much_little_or_nothing(seed: int) -> None:
    scenario = Scenario.swarm(seed, duration_s=120.0)
    traces = [
        World(scenario, memo=memo).run().trace_hash
        for memo in (NO_MEMO, WorldMemo(), WorldMemo(generation_entries_max=7))
    ]
    assert len(set(traces)) == 1


def test_a_memo_that_gives_another_answer_makes_another_run() -> None:
    # The comparison above can fail: a memo that mixes up two functions' results is seen.
    class Confused(WorldMemo):
        def one(self, key: object, made: object) -> object:
            return super().one(type(made), made)

    scenario = Scenario(seed=1, duration_s=20.0)
    honest = World(scenario).run().trace_hash
    try:
        confused = World(scenario, memo=Confused()).run().trace_hash
    except (AttributeError, InternalError, TypeError):
        return
    assert confused != honest


def test_what_is_equal_is_worked_out_once() -> None:
    calls = []

    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    memo = WorldMemo()
    assert [memo.of_equal(double, number) for number in (1, 2, 1, 1)] == [2, 4, 2, 2]
    assert calls == [1, 2]


def test_what_is_remembered_of_the_same_objects_is_not_given_for_equal_ones() -> None:
    memo = WorldMemo()
    one, other = ([1], [1])

    def first(items: list[int]) -> int:
        return items[0]

    assert memo.of_same(first, one) == 1
    other[0] = 2
    assert memo.of_same(first, other) == 2


def test_an_address_that_is_used_again_is_not_taken_for_what_was_there() -> None:
    memo = WorldMemo(generation_entries_max=4)

    def size(text: bytearray) -> int:
        return len(text)

    # Without the entry holding its arguments, a new object would soon have an old one's address.
    assert [memo.of_same(size, bytearray(n)) for n in range(200)] == list(range(200))


def test_none_is_an_answer_like_others() -> None:
    calls = []

    def nothing(number: int) -> None:
        calls.append(number)

    memo = WorldMemo()
    for call in (memo.of_equal, memo.of_same):
        call(nothing, 5)
        call(nothing, 5)
    assert calls == [5, 5]


def test_what_fails_is_tried_again() -> None:
    memo = WorldMemo()

    def fails(_number: int) -> int:
        raise ValueError("as ever")

    for call in (memo.of_equal, memo.of_same, memo.of_equal):
        with pytest.raises(ValueError, match="as ever"):
            call(fails, 1)
    assert memo.statistics().entries == 0


def test_a_memo_forgets_what_nobody_asks_for_and_keeps_what_is_asked_for() -> None:
    calls: list[int] = []

    def note(number: int) -> int:
        calls.append(number)
        return number

    memo = WorldMemo(generation_entries_max=10)
    for number in range(100):
        memo.of_equal(note, number)
        memo.of_equal(note, -1)
        memo.check()
    assert memo.statistics().entries <= 20
    assert calls.count(-1) == 1
    memo.of_equal(note, 0)
    assert calls.count(0) == 2


@pytest.mark.parametrize("make", [WorldMemo, lambda: NO_MEMO])
def test_one_object_stands_for_a_key_where_anything_is_remembered(
    make: Callable[[], WorldMemo],
) -> None:
    memo = make()
    first, second = object(), object()
    assert memo.one("key", first) is first
    assert memo.one("key", second) is (first if memo.remembers else second)
    assert memo.known("key") is (first if memo.remembers else None)
