"""A workbench with nodes, joined by hand."""

from __future__ import annotations

import pytest
from node_bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def pair(bench: Bench) -> Bench:
    """Two members of one cluster, n1 and n2, that are linked."""
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    return bench
