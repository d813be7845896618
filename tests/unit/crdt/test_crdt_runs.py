"""Runs of numbers against sets of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.tree import INT_MAX
from meshcrdt.crdt.runs import (
    INSERTED_MAX,
    NO_RUNS,
    covers,
    is_within,
    numbers,
    pairs,
    runs_of,
    size,
    to_steps,
    union,
)

SETS = st.frozensets(st.integers(1, 60), max_size=40)
FEW = st.frozensets(st.integers(1, 60), max_size=3)


@given(SETS)
def test_runs_are_a_set_in_its_smallest_form(members: frozenset[int]) -> None:
    runs = runs_of(members)
    assert list(numbers(runs)) == sorted(members)
    assert size(runs) == len(members)
    bounds = list(pairs(runs))
    assert all(low <= high for low, high in bounds)
    assert all(one[1] + 1 < two[0] for one, two in pairwise(bounds))
    assert {number for number in range(62) if covers(runs, number)} == members
    assert sum(to_steps(runs)) == (runs[-1] if runs else 0)


@given(SETS, SETS | FEW)
def test_union_and_inclusion_are_those_of_sets(one: frozenset[int], two: frozenset[int]) -> None:
    a, b = runs_of(one), runs_of(two)
    assert union(a, b) == union(b, a) == runs_of(one | two)
    assert is_within(a, b) == (one <= two)
    assert is_within(a, union(a, b))


def test_union_with_what_is_there_is_the_same_object() -> None:
    runs = runs_of([1, 2, 3, 7, 9])
    assert union(runs, (2, 3)) is runs
    assert union(runs, (9, 9)) is runs
    assert union(runs, NO_RUNS) is runs
    assert union(NO_RUNS, runs) is runs


def test_many_runs_merge_as_few_do() -> None:
    odd, even = runs_of(range(1, 99, 2)), runs_of(range(2, 99, 2))
    assert min(len(odd), len(even)) > INSERTED_MAX
    assert union(odd, even) == (1, 98)


def test_a_run_of_every_number_costs_nothing() -> None:
    every = (1, INT_MAX)
    assert size(every) == INT_MAX
    assert union(every, (5, 9)) == every
    assert is_within((7, INT_MAX), every)
    assert not is_within(every, (2, INT_MAX))
