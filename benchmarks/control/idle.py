"""idle: bytes and CPU of a cluster to which nothing happens.

python -m benchmarks.control.idle --nodes 50
python -m benchmarks.control.idle --nodes 50 --systems meshcrdt --switch detection=probe
"""

from __future__ import annotations

import argparse
import time

from benchmarks.control.options import SWITCHES, options_of
from benchmarks.lab.cluster import WorkerFailed, cluster, joined
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf", "gossipsub")


def measure(
    system: str,
    *,
    nodes: int,
    seconds: float = 30.0,
    settle_s: float = 20.0,
    switch: str = "",
) -> Figures:
    """Join, let it come to rest, and count for a while."""
    with cluster(system, nodes, **options_of(switch, nodes)) as made:
        (worker,) = made.workers
        found = Figures("idle", system, nodes, version=worker.ask("version"))
        found.switches = switch
        if joined(made, [nodes], timeout_s=120) is None:
            raise WorkerFailed(f"{system}: not everyone knew all {nodes} within 120 s")
        time.sleep(settle_s)
        made.begin()
        time.sleep(seconds)
        used = made.used()
        per_peer = nodes * used.seconds
        found.values = {
            "bytes_per_s_peer": None if used.bytes is None else used.bytes / per_peer,
            "packets_per_s_peer": None if used.packets is None else used.packets / per_peer,
            "cpu_ms_per_s_peer": used.cpu_s * 1e3 / per_peer,
            "rss_kib_peer": made.rss() / 1024 / nodes,
        }
        if system == "meshcrdt":
            links = worker.ask("links")
            found.values |= {"links_mean": sum(links) / nodes, "links_most": max(links)}
        if made.note:
            found.notes.append(made.note)
        return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle-s", type=float, default=20.0, dest="settle_s")
    parser.add_argument("--switch", choices=SWITCHES, default="", help="of our peers")


if __name__ == "__main__":
    main("idle", measure, systems=SYSTEMS, nodes=50, options=options)
