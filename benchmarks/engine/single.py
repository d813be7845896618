"""The command line of a row that runs in this process."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from benchmarks.lab.row import Figures, guarded, shown
from benchmarks.lab.systems import SYSTEMS


def main(row: str, measures: Mapping[str, Callable[[], Figures]]) -> None:
    """Run the row from the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.engine.{row}")
    parser.add_argument("--systems", nargs="+", default=list(measures), choices=list(measures))
    parser.add_argument("--runs", type=int, default=5, help="the median of so many is reported")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    given = parser.parse_args()
    shown(
        (guarded(row, SYSTEMS[s], 0, measures[s], runs=given.runs) for s in given.systems),
        given.json,
    )
