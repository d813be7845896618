"""A row of a table: what was measured of one system, as a record and as a command.

Every module of a row has `measure(system, ...) -> Figures` and ends in `main(...)`, so that
one command runs one row for any systems and any size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import asdict, define, field

from benchmarks.lab import meter
from benchmarks.lab.cluster import WorkerFailed
from benchmarks.lab.systems import SYSTEMS, System


@define
class Figures:
    """What came out for one system at one size; `values` by metric, unit last in the name."""

    row: str
    system: str
    nodes: int
    values: dict[str, float | None] = field(factory=dict)
    spread: dict[str, tuple[float, float]] = field(factory=dict)
    """Least and most of the runs, where there were several."""
    runs: int = 1
    version: str = ""
    switches: str = ""
    """What was switched off in this run, for ablations."""
    commit: str = ""
    """The commit of this repository that was measured; with "+" when its sources were changed."""
    notes: list[str] = field(factory=list)
    """What was left out or cut short, and why."""

    def text(self) -> str:
        """Return lines for a person."""
        head = f"{self.row:12} {self.system:10}" + (f" N={self.nodes}" if self.nodes else "")
        head += f" [{self.switches}]" if self.switches else ""
        lines = [head + (f"  ({self.version}, {self.runs} runs)" if self.version else "")]
        for name, value in self.values.items():
            shown = "-" if value is None else f"{value:,.4g}"
            between = self.spread.get(name)
            lines.append(
                f"    {name:34} {shown:>12}"
                + (f"   {between[0]:,.4g} .. {between[1]:,.4g}" if between else "")
            )
        return "\n".join([*lines, *(f"    note: {note}" for note in self.notes)])

    def tree(self) -> dict[str, Any]:
        return asdict(self)


def not_run(row: str, system: str, nodes: int, reason: str) -> Figures:
    """Return a row that says why it is empty."""
    return Figures(row, system, nodes, notes=[f"not run: {reason}"], runs=0)


def several(measure: Callable[[], Figures], runs: int) -> Figures:
    """Measure several times; return medians with their spread."""
    taken = [measure() for _ in range(runs)]
    made = taken[0]
    made.runs = runs
    for name in list(made.values):
        values = sorted(v for t in taken if (v := t.values.get(name)) is not None)
        if len(values) < runs:
            made.notes.append(f"{name}: {runs - len(values)} of {runs} runs have no value")
        made.values[name] = values[len(values) // 2] if values else None
        if len(values) > 1:
            made.spread[name] = (values[0], values[-1])
    for other in taken[1:]:
        made.notes += [note for note in other.notes if note not in made.notes]
    return made


def guarded(
    row: str, system: System, nodes: int, measure: Callable[[], Figures], *, runs: int = 1
) -> Figures:
    """Measure one system, or say why that cannot be done; never silently leaves it out."""
    reason = system.missing(nodes)
    if reason is not None:
        return not_run(row, system.name, nodes, reason)
    began = time.monotonic()
    try:
        made = several(measure, runs)
    except WorkerFailed as error:
        made = not_run(row, system.name, nodes, str(error))
    made.commit = meter.commit()
    took = f"[{row} {system.name} {nodes or ''}: {time.monotonic() - began:.0f} s]"
    print(took, file=sys.stderr, flush=True)
    return made


def shown(rows: Iterable[Figures], target: str | None) -> list[Figures]:
    """Print rows as they come; write them where there is a target."""
    from benchmarks.report import write

    taken = []
    for made in rows:
        print(made.text(), flush=True)
        taken.append(made)
    if target:
        write(taken, target)
    return taken


def main(
    row: str,
    measure: Callable[..., Figures],
    *,
    systems: Sequence[str],
    nodes: int,
    options: Callable[[argparse.ArgumentParser], object] | None = None,
) -> None:
    """Run one row from the command line and print it; with --json write it."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks...{row}")
    parser.add_argument("--nodes", type=int, default=nodes, help="peers of one cluster")
    parser.add_argument("--systems", nargs="+", default=list(systems), choices=list(systems))
    parser.add_argument("--runs", type=int, default=1, help="the median of so many is reported")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    if options is not None:
        options(parser)
    given = vars(parser.parse_args())
    runs, systems, size, target = (given.pop(n) for n in ("runs", "systems", "nodes", "json"))
    shown(
        (
            guarded(row, SYSTEMS[s], size, lambda s=s: measure(s, nodes=size, **given), runs=runs)
            for s in systems
        ),
        target,
    )
