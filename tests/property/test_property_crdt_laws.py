"""Every law, on reachable states of every type: 10,000 histories of each in a soak."""

from __future__ import annotations

import os

import pytest

from meshcrdt import crdt
from meshcrdt.abc import Lattice
from meshcrdt.testing import check_laws, histories_of
from meshcrdt.testing.strategies import OPERATIONS

EXAMPLES = 10_000 if os.environ.get("MESHCRDT_SOAK") else 60


@pytest.mark.parametrize("name", sorted(crdt.types))
def test_type_keeps_every_law(name: str) -> None:
    check_laws(histories_of(crdt.types[name]), examples_max=EXAMPLES)


def test_every_registered_type_has_a_strategy_and_is_a_lattice() -> None:
    ours = {kind for kind in crdt.types.values() if kind.__module__.startswith("meshcrdt.")}
    assert ours == set(OPERATIONS)
    for kind in ours:
        assert isinstance(kind.bottom(), Lattice)
        assert crdt.types[crdt.name_of(kind)] is kind
