"""A workbench with nodes, joined by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from node_bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
