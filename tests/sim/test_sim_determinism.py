"""Determinism first: a seed proves nothing before this passes."""

import os
import subprocess
import sys

import pytest

from meshcrdt.sim import Scenario, World

PROGRAM = """
from meshcrdt.sim import Scenario, World
print(World(Scenario.swarm({seed}, duration_s=120.0)).run().trace_hash)
"""


@pytest.mark.parametrize("seed", [2, 3, 17])
def test_one_seed_gives_one_trace_in_any_process(seed: int) -> None:
    traces = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(seed=seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout.strip())
    traces.add(World(Scenario.swarm(seed, duration_s=120.0)).run().trace_hash)
    assert len(traces) == 1, traces


def test_different_seeds_give_different_traces() -> None:
    traces = [World(Scenario.swarm(seed, duration_s=30.0)).run().trace_hash for seed in range(4)]
    assert len(set(traces)) == len(traces)
