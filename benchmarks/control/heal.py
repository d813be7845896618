"""heal: two clusters that know nothing of each other, 500 entries in each, become one.

    python -m benchmarks.control.heal --nodes 50

One link is made between them. Time runs from that link until all entries are at all peers,
and until everybody knows everybody. The halves are in two network namespaces, so that
nothing can pass before.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from benchmarks.lab.cluster import Cluster, WorkerFailed, cluster
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf")
TIMEOUT_S = 300.0


def measure(
    system: str, *, nodes: int, entries: int = 1_000, settle_s: float = 5.0, profile: str = ""
) -> Figures:
    """Build two halves, write in both, link them once."""
    half = nodes // 2
    with (
        tempfile.TemporaryDirectory() as directory,
        cluster(system, 2 * half, halves=2, store=directory, profile=profile or None) as made,
    ):
        a, b = made.workers
        found = Figures("heal", system, 2 * half, version=a.ask("version"))
        seeds = [a.ask("start", count=half), b.ask("start", count=half)]
        if system == "meshcrdt":
            # Only a node that was in the cluster once can found a half of it later.
            b.ask("visit", seed=seeds[0])
            made.cut()
            seeds[1] = b.ask("resume")
        for worker, seed in zip(made.workers, seeds, strict=True):
            worker.ask("join", seed=seed)
        if made.wait(TIMEOUT_S, since=time.monotonic(), known=half) is None:
            raise WorkerFailed(f"{system}: the halves did not form within {TIMEOUT_S:g} s")
        if system == "meshcrdt":
            _write(made, entries // 2)
        else:
            found.notes.append(f"members only: {system} keeps no such state")
        time.sleep(settle_s)
        made.begin()
        if system == "meshcrdt":
            made.mend()
        b.ask("connect", seed=seeds[0])
        _watch(made, found, half, entries)
        return found


def _write(made: Cluster, count: int) -> None:
    for index, worker in enumerate(made.workers):
        worker.ask("write", kind="heal", first=index * count, count=count)
    if made.wait(TIMEOUT_S, since=time.monotonic(), entries=count) is None:
        raise WorkerFailed("the entries of a half are not all over that half")


def _watch(made: Cluster, found: Figures, half: int, entries: int) -> None:
    linked = made.workers[1].ask("wait", timeout_s=TIMEOUT_S, since=made.began, known_most=half + 1)
    found.values["link_s"] = linked
    if found.system == "meshcrdt":
        whole = made.wait(TIMEOUT_S, entries=entries)
        used = made.used()
        found.values |= {
            "data_s": None if whole is None or linked is None else max(0.0, whole - linked),
            "data_bytes": used.bytes,
            "data_cpu_s": used.cpu_s,
        }
    members = made.wait(TIMEOUT_S, known=2 * half)
    used = made.used()
    found.values |= {
        "members_s": None if members is None or linked is None else max(0.0, members - linked),
        "bytes": used.bytes,
        "cpu_s": used.cpu_s,
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=1_000, help="half of them in each half")
    parser.add_argument("--profile", default="", metavar="FILE", help="of our peers, for pstats")


if __name__ == "__main__":
    main("heal", measure, systems=SYSTEMS, nodes=50, options=options)
