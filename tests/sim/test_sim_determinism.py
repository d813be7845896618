"""Determinism first: a seed proves nothing before this passes."""

import os
import subprocess
import sys

import pytest

from meshcrdt.sim import Draw, Scenario, World

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


FULL_SEEDS = range(200 if os.environ.get("MESHCRDT_SOAK") else 12)
FULL_PROGRAM = """
from meshcrdt.sim import Draw, Scenario, World
for seed in range({count}):
    scenario = Scenario.swarm(seed, nodes=3, duration_s=20.0, which=Draw.FULL)
    print(World(scenario).run().trace_hash)
"""


def test_the_full_list_of_faults_gives_one_trace_a_seed_in_any_process() -> None:
    here = []
    for seed in FULL_SEEDS:
        scenario = Scenario.swarm(seed, nodes=3, duration_s=20.0, which=Draw.FULL)
        here.append(World(scenario).run().trace_hash)
    assert len(set(here)) == len(here)
    for hash_seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", FULL_PROGRAM.format(count=len(FULL_SEEDS))],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == here
