"""All interleavings of up to six operations on three replicas, for every type.

Exhaustive, not sampled: after each operation the replica that it touched shows what the
model says, and at the end all deltas, and all states in two orders, join to one value.
"""

from __future__ import annotations

import os

import pytest
from crdt_models import CASES
from crdt_walk import Walk

from meshcrdt import crdt

OPERATIONS = 6
IS_SOAK = bool(os.environ.get("MESHCRDT_SOAK"))


def test_every_type_has_a_model() -> None:
    ours = {n for n, kind in crdt.types.items() if kind.__module__.startswith("meshcrdt.")}
    assert ours == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_order_of_six_operations_shows_what_the_model_says(name: str) -> None:
    case = CASES[name]
    walk = Walk(case, names=() if IS_SOAK else case.core)
    walk.run(OPERATIONS)
    assert walk.orders > 1_000


@pytest.mark.parametrize("name", sorted(name for name, case in CASES.items() if case.core))
def test_every_order_of_five_with_more_kinds_of_operations(name: str) -> None:
    walk = Walk(CASES[name])
    walk.run(OPERATIONS - 1)
    assert walk.orders > 10_000


def test_the_quota_walk_meets_refusals() -> None:
    walk = Walk(CASES["bounded_counter"])
    walk.run(OPERATIONS - 2)
    assert walk.refused > 100
