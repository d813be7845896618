"""join: N peers become one cluster through one of them.

    python -m benchmarks.control.join --nodes 50

The clock and the counters start when the first peer listens; for peers that are processes,
when all of them listen. They stop when everybody knows everybody, and once more for us when
every replica holds the same bytes.
"""

from __future__ import annotations

import argparse

from benchmarks.control.options import SWITCHES, options_of
from benchmarks.lab.cluster import cluster, joined
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf", "gossipsub")


def measure(
    system: str,
    *,
    nodes: int,
    timeout_s: float = 120.0,
    switch: str = "",
    profile: str | None = None,
) -> Figures:
    """Join all at once and wait until each knows all."""
    with cluster(system, nodes, profile=profile, **options_of(switch, nodes)) as made:
        (worker,) = made.workers
        found = Figures("join", system, nodes, version=worker.ask("version"))
        found.switches = switch
        taken = joined(made, [nodes], timeout_s)
        used = made.used()
        found.values = {"members_s": taken, "bytes": used.bytes, "cpu_s": used.cpu_s}
        if taken is None:
            found.notes.append(f"not everyone knew all within {timeout_s:g} s")
            found.values |= dict.fromkeys(("converged_s", "bytes_converged", "cpu_s_converged"))
        elif system == "meshcrdt":
            whole = made.wait(timeout_s, agreeing=1)
            used = made.used()
            found.values |= {
                "converged_s": whole,
                "bytes_converged": used.bytes,
                "cpu_s_converged": used.cpu_s,
            }
        if made.note:
            found.notes.append(made.note)
        return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout-s", type=float, default=120.0, dest="timeout_s")
    parser.add_argument("--switch", choices=SWITCHES, default="", help="of our peers")
    parser.add_argument("--profile", metavar="FILE", help="of our peers, for pstats")


if __name__ == "__main__":
    main("join", measure, systems=SYSTEMS, nodes=50, options=options)
