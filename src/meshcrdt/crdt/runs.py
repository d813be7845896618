"""Runs of whole numbers: a set of dots of one actor, as small as its gaps.

A set is a flat tuple (low, high, low, high, ...) in increasing order, with a gap between
any two runs, so equal sets are equal tuples. What an actor wrote in one go is one run,
however much it was: contexts, deltas and their trees cost the number of gaps.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

Runs: TypeAlias = tuple[int, ...]

NO_RUNS: Runs = ()

INSERTED_MAX = 16
"""Bounds that are put in one run after the other; more are merged in one go."""


def runs_of(numbers: Iterable[int]) -> Runs:
    """Return the runs of any whole numbers."""
    ordered = sorted(set(numbers))
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
        return (ordered[0], ordered[-1])
    made: list[int] = []
    for number in ordered:
        if made and number == made[-1] + 1:
            made[-1] = number
        else:
            made += (number, number)
    return tuple(made)


def covers(runs: Runs, number: int) -> bool:
    """Return True when the number is in a run."""
    place = bisect_left(runs, number)
    return place % 2 == 1 or (place < len(runs) and runs[place] == number)


def union(one: Runs, two: Runs) -> Runs:
    """Return the runs of both; the one that already has all is returned itself."""
    if not two or one == two:
        return one
    if not one:
        return two
    if one[0] > two[0]:
        one, two = two, one
    low, last = two[0], one[-1]
    if low > last:
        return one + two if low > last + 1 else one[:-1] + two[1:]
    large, small = (one, two) if len(one) >= len(two) else (two, one)
    if len(small) > INSERTED_MAX:
        return _merged(large, small)
    for low, high in pairs(small):
        large = _inserted(large, low, high)
    return large


def _inserted(runs: Runs, low: int, high: int) -> Runs:
    """Return the runs with one more: a search and a copy, however many there are."""
    # From the first run that ends at `low` - 1 or later to the last that begins by `high` + 1.
    first = bisect_left(runs, low - 1) & ~1
    after = bisect_right(runs, high + 1)
    after += after & 1
    if first < after:
        low, high = min(low, runs[first]), max(high, runs[after - 1])
        if after - first == 2 and runs[first:after] == (low, high):
            return runs
    return (*runs[:first], low, high, *runs[after:])


def _merged(one: Runs, two: Runs) -> Runs:
    made: list[int] = []
    for low, high in sorted((*pairs(one), *pairs(two))):
        if made and low <= made[-1] + 1:
            made[-1] = max(made[-1], high)
        else:
            made += (low, high)
    return tuple(made)


def is_within(small: Runs, large: Runs) -> bool:
    """Return True when every number of `small` is in `large`."""
    if small == large:
        return True
    for low, high in pairs(small):
        place = bisect_left(large, low)
        # The run that `low` lies in must reach `high`: no run goes on across a gap.
        if place % 2 == 0:
            if place >= len(large) or large[place] != low:
                return False
            place += 1
        if large[place] < high:
            return False
    return True


def pairs(runs: Runs) -> Iterator[tuple[int, int]]:
    """Yield (low, high) of each run."""
    return zip(runs[::2], runs[1::2], strict=True)


def size(runs: Runs) -> int:
    """Return how many numbers the runs hold; at once, however many there are."""
    if len(runs) == 2:
        return runs[1] - runs[0] + 1
    return sum(runs[1::2]) - sum(runs[::2]) + len(runs) // 2


def numbers(runs: Runs) -> Iterator[int]:
    """Yield every number, one by one: ask `size` first."""
    for low, high in pairs(runs):
        yield from range(low, high + 1)


def to_steps(runs: Runs) -> tuple[int, ...]:
    """Return the first number and then the distances from each bound to the next."""
    if len(runs) == 2:
        return (runs[0], runs[1] - runs[0])
    return runs[:1] + tuple([high - low for low, high in pairwise(runs)])
