"""update: one entry (28 bytes of key, 32 of value) written at one peer, until all have it.

    python -m benchmarks.control.update --nodes 50

Bytes are those above what the same cluster sends when idle, a peer and update.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.control.options import SWITCHES, options_of
from benchmarks.lab.cluster import WorkerFailed, cluster, joined
from benchmarks.lab.meter import quantile
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf", "gossipsub", "etcd", "pysyncobj")
RAFT_NODES = 3
"""Clusters of Raft are small: whatever size is asked for, so many vote."""


def measure(
    system: str,
    *,
    nodes: int,
    updates: int = 100,
    gap_s: float = 0.05,
    idle_s: float = 10.0,
    settle_s: float = 10.0,
    warm_up: int = 5,
    switch: str = "",
    profile: str | None = None,
) -> Figures:
    """Join, measure idle, then write entries one by one."""
    if system in ("etcd", "pysyncobj"):
        nodes = RAFT_NODES
    with cluster(system, nodes, profile=profile, **options_of(switch, nodes)) as made:
        (worker,) = made.workers
        found = Figures("update", system, nodes, version=worker.ask("version"))
        found.switches = switch
        if joined(made, [nodes], timeout_s=120) is None:
            raise WorkerFailed(f"{system}: not everyone knew all {nodes} within 120 s")
        time.sleep(settle_s)
        worker.ask("update", count=warm_up, gap_s=gap_s)  # channels are made, trees are built
        made.begin()
        time.sleep(idle_s)
        idle = made.used()
        made.begin()
        taken = worker.ask("update", count=updates, gap_s=gap_s)
        used = made.used()
        share = used.seconds / idle.seconds
        found.values = {
            "p50_ms": quantile(taken, 0.5),
            "p99_ms": quantile(taken, 0.99),
            "max_ms": max(taken),
            "bytes_peer": None,
            "cpu_ms": (used.cpu_s - idle.cpu_s * share) * 1e3 / updates,
        }
        if used.bytes is not None and idle.bytes is not None:
            found.values["bytes_peer"] = (used.bytes - idle.bytes * share) / updates / nodes
        if made.note:
            found.notes.append(made.note)
        return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--gap-s", type=float, default=0.05, dest="gap_s")
    parser.add_argument("--switch", choices=SWITCHES, default="", help="of our peers")
    parser.add_argument("--profile", metavar="FILE", help="of our peers, for pstats")


if __name__ == "__main__":
    main("update", measure, systems=SYSTEMS, nodes=50, options=options)
