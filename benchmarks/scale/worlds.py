"""The worlds of the scale rows, and one child process that lives through one of them.

A scenario is one of the files that `meshcrdt sim list` names, where this version ships them,
or `deliver`, which is made here: updates from random members while a share of all frames is
lost. The child prints one line of JSON with what was measured and what it cost.

    python -m benchmarks.scale.worlds deliver 64 1 0.2
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import resources
from typing import Any

from attrs import asdict, evolve

from meshcrdt.sim import Faults, Scenario, World

DELIVER = "deliver"
ROUNDS = 60
CHANNEL = "sim/services"
"""The channel whose promises the checkers of every version can read."""


def scenario(name: str, nodes: int, seed: int, loss: float) -> Scenario:
    """Return a scenario by name, at a size."""
    if name != DELIVER:
        from meshcrdt.sim.scenario_file import read_scenario

        text = resources.files("meshcrdt.sim").joinpath("scenarios", f"{name}.toml").read_text()
        return read_scenario(text, name=name).sized(seed=seed, nodes=nodes)
    from meshcrdt.sim.scenario import Traffic

    return Scenario(
        seed=seed,
        nodes=nodes,
        duration_s=60.0 + ROUNDS,
        warm_up_s=60.0,
        command_every_s=0.0,
        latency_max_s=0.05,
        traffic=Traffic(rounds=ROUNDS, channel=CHANNEL),
        faults=Faults(loss=loss),
        start_every_s=20.0 / nodes,
    )


def untraced(made: Scenario) -> Scenario:
    """Return a scenario without the hash of its trace, where this version can do without."""
    from meshcrdt.sim import clockwork

    trace: Any = getattr(clockwork, "Trace", None)
    none = getattr(trace, "NONE", None) or getattr(trace, "OFF", None)
    return made if none is None else evolve(made, trace=none)


def main() -> None:
    name, nodes, seed, loss = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    made = untraced(scenario(name, nodes, seed, loss))
    start = time.process_time()
    report = World(made).run()
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = asdict(report.measured)
    found |= {
        "violations": len(report.violations),
        "first_violations": report.violations[:3],
        "verdicts": [str(verdict) for verdict in report.verdicts if not verdict.held],
        "cpu_s": time.process_time() - start,
        "rss_mib": used.ru_maxrss / 1024,
        "virtual_s": made.duration_s,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
