"""minority: writes at one of three members that is cut off from the other two.

    python -m benchmarks.control.minority

Ours: a put and an address each. After the heal no address may have been given twice.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.lab.cluster import Cluster, WorkerFailed, cluster, joined
from benchmarks.lab.ports import FIRST_PEER_PORT
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "etcd", "pysyncobj")
TIMEOUT_S = 60.0
HOSTS = ("10.203.0.1", "10.203.0.1", "10.203.0.2")


def measure(
    system: str, *, nodes: int = 3, writes: int = 10, write_timeout_s: float = 1.0
) -> Figures:
    """Cut one of three off and write there."""
    addresses = [f"{host}:{FIRST_PEER_PORT + index}" for index, host in enumerate(HOSTS)]
    with cluster(system, 3, halves=2, split=[2, 1], addresses=addresses) as made:
        majority, minority = made.workers
        found = Figures("minority", system, 3, version=majority.ask("version"))
        if not _joined(made):
            raise WorkerFailed(f"{system}: no cluster within {TIMEOUT_S:g} s")
        # A block of addresses is taken while all is well, as any node does that gives some.
        made.ask_all("try_writes", count=1, timeout_s=10)
        made.cut()
        time.sleep(5)
        accepted = minority.ask("try_writes", count=writes, timeout_s=write_timeout_s)
        others = majority.ask("try_writes", count=writes, timeout_s=10)
        made.mend()
        found.values = {
            "accepted_of_10": accepted * 10 / writes,
            "accepted_of_10_in_majority": others * 10 / writes,
        }
        if system == "meshcrdt":
            if made.wait(TIMEOUT_S, since=time.monotonic(), known=3) is None:
                raise WorkerFailed("not whole again")
            given = [address for each in made.ask_all("addresses") for address in each]
            found.values["addresses_given_twice"] = float(len(given) - len(set(given)))
        return found


def _joined(made: Cluster) -> bool:
    """Start at once: members of Raft wait for each other."""
    if made.system.name == "meshcrdt":
        return joined(made, [2, 1], TIMEOUT_S) is not None
    made.workers[0].send("start", count=2)
    made.workers[1].send("start", count=1)
    for worker in made.workers:
        worker.answer()
    return made.wait(TIMEOUT_S, since=time.monotonic(), known=3) is not None


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--writes", type=int, default=10)


if __name__ == "__main__":
    main("minority", measure, systems=SYSTEMS, nodes=3, options=options)
