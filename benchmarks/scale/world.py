"""scale: N nodes in the simulator, by scenario.

python -m benchmarks.scale.world --scenario deliver --nodes 1000 --loss 0.2
python -m benchmarks.scale.world --scenario churn-1000 --nodes 1000
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys

import meshcrdt
from benchmarks.lab.cluster import WorkerFailed
from benchmarks.lab.row import Figures, guarded, shown
from benchmarks.lab.systems import ROOT, SYSTEMS
from benchmarks.scale.worlds import DELIVER

SHOWN = (
    "delivery",
    "missed",
    "redundancy",
    "hops",
    "hops_worst",
    "seconds_mean",
    "seconds_p99",
    "seconds",
    "joined_seconds",
    "connected_rounds",
    "converged_seconds",
    "false_deaths",
    "bytes_per_node_second",
    "violations",
    "cpu_s",
    "rss_mib",
    "virtual_s",
)


def measure(
    scenario: str, *, nodes: int, seed: int = 1, loss: float = 0.2, timeout_s: float = 1_800.0
) -> Figures:
    """Live through one world in a process of its own."""
    found = Figures("scale", "meshcrdt", nodes, version=f"meshcrdt {meshcrdt.__version__}")
    found.switches = scenario + (f", loss {loss:g}" if scenario == DELIVER else "")
    command = [sys.executable, "-m", "benchmarks.scale.worlds", scenario]
    command += [str(nodes), str(seed), str(loss)]
    try:
        out = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=timeout_s
        ).stdout
    except subprocess.TimeoutExpired:
        raise WorkerFailed(f"{scenario} did not end within {timeout_s:g} s") from None
    except subprocess.CalledProcessError as error:
        raise WorkerFailed(f"{scenario}: {error.stderr.strip().splitlines()[-1]}") from None
    told = json.loads(out)
    for name in SHOWN:
        value = told.get(name)
        if value is not None:
            found.values[name] = float(value) if math.isfinite(value) else None
    found.notes += [f"violated: {line}" for line in told["first_violations"]]
    found.notes += [f"missed: {line}" for line in told["verdicts"]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.world")
    parser.add_argument("--scenario", default=DELIVER, help="`meshcrdt sim list` names them")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loss", type=float, default=0.2, help="of deliver: share of frames")
    parser.add_argument("--timeout-s", type=float, default=1_800.0, dest="timeout_s")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    given = parser.parse_args()

    def once() -> Figures:
        return measure(
            given.scenario,
            nodes=given.nodes,
            seed=given.seed,
            loss=given.loss,
            timeout_s=given.timeout_s,
        )

    shown([guarded("scale", SYSTEMS["meshcrdt"], given.nodes, once)], given.json)


if __name__ == "__main__":
    main()
