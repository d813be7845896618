"""A workbench with nodes, joined by hand."""

from __future__ import annotations

import pytest
from node_bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
