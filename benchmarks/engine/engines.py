"""Runs one command of an engine in a fresh process, for the rows of engines."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks.lab.cluster import Handle
from benchmarks.lab.row import Figures, guarded, shown
from benchmarks.lab.systems import ENGINES

SYSTEMS = tuple(ENGINES)


def measure(row: str, system: str, count: int) -> Figures:
    """Measure one row of one engine."""
    worker = Handle(ENGINES[system], (), {})
    try:
        found = Figures(row.replace("_", " "), system, 0, version=worker.ask("version"))
        found.values = worker.ask(row, count=count)
        return found
    finally:
        worker.close()


def main(row: str, count: int) -> None:
    """Run the row from the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.engine.{row}")
    parser.add_argument("--count", type=int, default=count, help="entries")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--runs", type=int, default=5, help="the median of so many is reported")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    given = parser.parse_args()

    def one(system: str) -> Callable[[], Figures]:
        return lambda: measure(row, system, given.count)

    shown(
        (
            guarded(row.replace("_", " "), ENGINES[s], 0, one(s), runs=given.runs)
            for s in given.systems
        ),
        given.json,
    )
