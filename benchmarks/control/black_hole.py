"""black hole: half of a cluster vanishes without a word, and comes back.

    python -m benchmarks.control.black_hole --nodes 10 --lasts-s 45

Packets between two namespaces are dropped where they arrive, so that connections learn
nothing. `noticed_s`: everybody sees everybody of the other side as not alive. `healed_s`:
after the cut is over, everybody sees all again, and holds what was written on both sides.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.control.options import SWITCHES, options_of
from benchmarks.lab.cluster import WorkerFailed, cluster, joined
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf")
TIMEOUT_S = 300.0
ENTRIES = 100


def measure(
    system: str,
    *,
    nodes: int,
    lasts_s: float = 45.0,
    switch: str = "",
    settle_s: float = 10.0,
) -> Figures:
    """Cut a cluster in two halves for a while."""
    half = nodes // 2
    with cluster(system, 2 * half, halves=2, **options_of(switch, nodes)) as made:
        found = Figures("black hole", system, 2 * half, version=made.workers[0].ask("version"))
        found.switches = f"lasts {lasts_s:g} s"
        if switch:
            found.switches += f", {switch}"
        if joined(made, [half, half], TIMEOUT_S) is None:
            raise WorkerFailed(f"{system}: not everyone knew all within {TIMEOUT_S:g} s")
        time.sleep(settle_s)
        made.begin()
        made.cut()
        cut_at = time.monotonic()
        found.values["noticed_s"] = made.wait(lasts_s, since=cut_at, most_known_most=half)
        left_s = lasts_s - (time.monotonic() - cut_at)
        found.values["dead_s"] = made.wait(max(left_s, 0.1), since=cut_at, most_present_most=half)
        if system == "meshcrdt":
            for index, worker in enumerate(made.workers):
                count = ENTRIES // 2
                worker.ask("write", kind="hole", first=index * count, count=count)
        time.sleep(max(0.0, cut_at + lasts_s - time.monotonic()))
        made.begin()
        made.mend()
        mended_at = time.monotonic()
        found.values["members_healed_s"] = made.wait(TIMEOUT_S, since=mended_at, known=2 * half)
        if system == "meshcrdt":
            found.values["healed_s"] = made.wait(
                TIMEOUT_S, since=mended_at, known=2 * half, entries=ENTRIES
            )
        used = made.used()
        found.values |= {"heal_bytes": used.bytes, "heal_cpu_s": used.cpu_s}
        return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lasts-s", type=float, default=45.0, dest="lasts_s")
    parser.add_argument("--switch", choices=SWITCHES, default="", help="of our peers")


if __name__ == "__main__":
    main("black hole", measure, systems=SYSTEMS, nodes=10, options=options)
