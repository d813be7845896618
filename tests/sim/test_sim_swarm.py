"""Swarm: many seeds, each with its own random faults; no invariant may be violated.

`make test` runs 200 seeds of five nodes for ten virtual minutes; `make soak` runs more.
A failure prints its seed: `Scenario.swarm(seed)` replays it exactly.
"""

import os

import pytest

from meshcrdt.sim import Scenario, World

SEEDS = range(2_000 if os.environ.get("MESHCRDT_SOAK") else 200)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_violated(seed: int) -> None:
    report = World(Scenario.swarm(seed, nodes=5, duration_s=600.0)).run()
    assert not report.violations, report
    assert report.acknowledged > 20, f"the run showed nothing: {report}"
    assert report.converged_after_s is not None
