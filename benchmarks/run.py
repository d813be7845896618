"""All rows, one after the other: what `make bench` runs.

    python benchmarks/run.py                 the short form, about ten minutes
    python benchmarks/run.py --full          every size, medians of five; hours
    python benchmarks/run.py --only join     rows whose name begins so

The report goes to benchmarks/results/NAME.json, with a picture beside it; the table of
verdicts is printed. A row that cannot run here says why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import report
from benchmarks.control import ablation, black_hole, heal, idle, join, minority, starved, update
from benchmarks.control.options import PROBE
from benchmarks.engine import allocate, dns, engines, names, node_costs, ranges
from benchmarks.lab.row import Figures, guarded, shown
from benchmarks.lab.systems import ENGINES, SYSTEMS, System
from benchmarks.scale import world

MEMBERSHIP = ("meshcrdt", "kinship", "serf")


@frozen
class Job:
    """One row for one system."""

    row: str
    system: System
    nodes: int
    measure: Callable[[], Figures]
    runs: int = 1


def control(nodes: int, runs: int, *, is_full: bool) -> Iterator[Job]:
    """Yield the rows of the control plane at one size."""
    wait_s = 20.0 if is_full else 5.0
    for system in (*MEMBERSHIP, "gossipsub"):
        yield _job("join", system, nodes, runs, partial(join.measure, system, nodes=nodes))
        yield _job(
            "idle",
            system,
            nodes,
            runs,
            partial(idle.measure, system, nodes=nodes, seconds=wait_s, settle_s=wait_s),
        )
    for system in update.SYSTEMS:
        count = 100 if is_full else 20
        yield _job(
            "update",
            system,
            nodes,
            runs,
            partial(
                update.measure, system, nodes=nodes, updates=count, idle_s=wait_s, settle_s=wait_s
            ),
        )
    for system in MEMBERSHIP:
        yield _job("heal", system, nodes, runs, partial(heal.measure, system, nodes=nodes))


def faults(*, is_full: bool) -> Iterator[Job]:
    """Yield the rows in which something goes wrong."""
    for lasts_s in (45.0, 120.0, 300.0) if is_full else (45.0,):
        for system in MEMBERSHIP if is_full else ("meshcrdt",):
            hole = partial(black_hole.measure, system, nodes=10, lasts_s=lasts_s)
            yield _job("black hole", system, 10, 1, hole)
    for system in MEMBERSHIP:
        hungry = partial(
            starved.measure, system, nodes=16, seconds=60.0 if is_full else 15.0, settle_s=5.0
        )
        yield _job("starved", system, 16, 1, hungry)
    for system in minority.SYSTEMS:
        yield _job("minority", system, 3, 1, partial(minority.measure, system))


def probing(*, is_full: bool) -> Iterator[Job]:
    """Yield the rows of meshes that probe one peer a second."""
    yield _job(
        "idle",
        "meshcrdt",
        50,
        1,
        partial(idle.measure, "meshcrdt", nodes=50, seconds=20, settle_s=20, switch=PROBE),
    )
    if is_full:
        hole = partial(black_hole.measure, "meshcrdt", nodes=10, switch=PROBE)
        yield _job("black hole", "meshcrdt", 10, 1, hole)


def engine(runs: int, *, is_full: bool) -> Iterator[Job]:
    """Yield the rows of one core."""
    rows = {"map": 10_000, "bytes": 10_000, "in_sync": 50_000, "memory": 50_000}
    if not is_full:
        rows = {"map": 5_000, "bytes": 2_000, "in_sync": 5_000, "memory": 20_000}
    for row, count in rows.items():
        for name, system in ENGINES.items():
            times = 1 if row == "in_sync" else runs
            shown_row = row.replace("_", " ")
            once = partial(engines.measure, row, name, count)
            yield Job(shown_row, system, 0, once, times)
    for system in allocate.SYSTEMS:
        yield _job("allocate", system, 0, runs, partial(allocate.measure, system))
    yield _job("ranges", "meshcrdt", 0, 1, partial(ranges.measure, 150 if is_full else 40))
    yield _job("names", "meshcrdt", 0, runs, names.measure)
    yield _job("node costs", "meshcrdt", 0, runs, node_costs.measure)
    yield _job("dns", "meshcrdt", 0, 1, dns.measure)


def scale(*, is_full: bool) -> Iterator[Job]:
    """Yield the rows of the simulator."""
    nodes = 1_000 if is_full else 50
    yield _job("scale", "meshcrdt", nodes, 1, partial(world.measure, "deliver", nodes=nodes))
    if is_full:
        for name in ("churn-1000", "kill-80-percent", "cold-start-1000"):
            yield _job("scale", "meshcrdt", 1_000, 1, partial(world.measure, name, nodes=1_000))


def _job(row: str, system: str, nodes: int, runs: int, measure: Callable[[], Figures]) -> Job:
    return Job(row, SYSTEMS[system], nodes, measure, runs)


def jobs(*, is_full: bool) -> Iterator[Job]:
    """Yield everything of the short or the full form."""
    runs = 5 if is_full else 1
    for nodes in (10, 50, 200) if is_full else (16,):
        yield from control(nodes, runs, is_full=is_full)
    if is_full:
        yield from probing(is_full=is_full)
        for row, _, nodes, measure in ablation.variants(50):
            yield _job(row, "meshcrdt", nodes, 1, measure)
    yield from faults(is_full=is_full)
    yield from engine(runs, is_full=is_full)
    yield from scale(is_full=is_full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("--full", action="store_true", help="every size, medians of five")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names of rows")
    parser.add_argument("--systems", nargs="+", help="only these")
    parser.add_argument("--output", type=Path, help="where the report goes")
    given = parser.parse_args()
    target = given.output or report.RESULTS / ("full.json" if given.full else "short.json")
    began = time.monotonic()
    rows = shown(
        (
            guarded(job.row, job.system, job.nodes, job.measure, runs=job.runs)
            for job in jobs(is_full=given.full)
            if job.row.startswith(tuple(given.only))
            and (given.systems is None or job.system.name in given.systems)
        ),
        str(target),
    )
    print()
    print(report.table(v for v in report.judge(rows) if v.outcome is not report.Outcome.OPEN))
    print()
    print(report.beside(rows))
    print(f"\n{time.monotonic() - began:.0f} s; written to {target}")
    _draw(rows, target.with_suffix(".png"))


def _draw(rows: list[Figures], target: Path) -> None:
    try:
        from benchmarks.plot import draw
    except ModuleNotFoundError as error:
        print(f"no picture: {error.name} is not installed (group bench)")
        return
    draw(rows, target)
    print(f"drawn to {target}")


class _AsWritten(argparse.RawDescriptionHelpFormatter):
    """The docstring as it stands."""


if __name__ == "__main__":
    main()
