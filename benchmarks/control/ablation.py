"""ablation: what each technique buys, by turning it off.

    python -m benchmarks.control.ablation --nodes 30

Rows are those of idle, join and update with one switch each, beside the product as it comes.
What has no switch in this version is listed at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.control import idle, join, update
from benchmarks.control.options import (
    FLOOD,
    FULL_MESH,
    PLAIN,
    PROBE,
    SINGLE,
    WITHOUT_SWITCH,
)
from benchmarks.lab.row import Figures, guarded, shown
from benchmarks.lab.systems import SYSTEMS

OURS = "meshcrdt"


def variants(nodes: int) -> Iterator[tuple[str, str, int, Callable[[], Figures]]]:
    """Yield (row, switch, nodes, measure)."""
    for switch in ("", FULL_MESH, FLOOD, SINGLE):
        yield "join", switch, nodes, partial(join.measure, OURS, nodes=nodes, switch=switch)
    for switch in ("", FULL_MESH, PROBE, PLAIN):
        yield (
            "idle",
            switch,
            nodes,
            partial(idle.measure, OURS, nodes=nodes, seconds=15, settle_s=10, switch=switch),
        )
    for switch in ("", FULL_MESH, PLAIN, FLOOD, SINGLE):
        yield (
            "update",
            switch,
            nodes,
            partial(update.measure, OURS, nodes=nodes, updates=40, switch=switch),
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control.ablation")
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    given = parser.parse_args()
    shown(
        (guarded(row, SYSTEMS[OURS], n, measure) for row, _, n, measure in variants(given.nodes)),
        given.json,
    )
    print("no switch yet:", "; ".join(WITHOUT_SWITCH))


if __name__ == "__main__":
    main()
