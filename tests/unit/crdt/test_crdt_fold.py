"""Joining by halves gives what joining one by one gives."""

from __future__ import annotations

from functools import reduce
from typing import Any

from hypothesis import given

from meshcrdt.crdt import GCounter, ORMap, join_all
from meshcrdt.testing import History, histories_of


@given(histories_of(ORMap, steps_max=20))
def test_join_by_halves_is_join_in_order(history: History[Any]) -> None:
    one_by_one = reduce(lambda a, b: a.join(b), history.deltas, ORMap())
    assert join_all(ORMap, iter(history.deltas)) == one_by_one


def test_nothing_joins_to_bottom() -> None:
    assert join_all(GCounter, []) == GCounter.bottom()
