"""The report: JSON with versions, seed and machine, and a verdict for every goal.

python -m benchmarks.report benchmarks/results/control.json
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.control.options import SWITCHES
from benchmarks.goals import GOALS, Goal
from benchmarks.lab import meter
from benchmarks.lab.row import Figures
from benchmarks.quoted import FIGURES

RESULTS = Path(__file__).parent / "results"
SEED = 1
"""Of everything that rolls dice here: phases of starved peers, keys and values, worlds."""


class Outcome(Enum):
    """How a goal stands after a run."""

    MET = "MET"
    MISSED = "MISSED"
    OPEN = "not run"


@frozen
class Verdict:
    """One goal, and what this run says about it."""

    goal: Goal
    ours: float | None
    peer: float | None
    source: str
    """Where the peer's figure is from: measured in this run, QUOTED, or nothing."""
    ratio: float | None
    outcome: Outcome

    def cells(self) -> tuple[str, ...]:
        """Return one line of the table."""
        goal = self.goal
        size = f"N={goal.nodes}" if goal.nodes else ""
        where = " ".join(filter(None, (size, goal.switches, _level(goal))))
        peer = f"{_number(self.peer)} {goal.against} {self.source}" if goal.against else ""
        return (
            goal.row,
            where,
            goal.metric,
            _number(self.ours),
            peer,
            _number(self.ratio),
            goal.text,
            self.outcome.value,
        )


def _level(goal: Goal) -> str:
    return "(values alone)" if goal.system == "values" else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def judge(rows: Sequence[Figures]) -> list[Verdict]:
    """Return a verdict for each goal."""
    return [_judged(goal, rows) for goal in GOALS]


def _judged(goal: Goal, rows: Sequence[Figures]) -> Verdict:
    ours = _measured(rows, goal.row, goal.system, goal.nodes, goal.metric, goal.switches)
    peer, source = None, ""
    if goal.against:
        nodes = goal.nodes if goal.against_nodes is None else goal.against_nodes
        metric = goal.against_metric or goal.metric
        peer, source = _measured(rows, goal.row, goal.against, nodes, metric, ""), "(measured)"
        if peer is None:
            peer, source = _quoted(goal.row, goal.against, nodes, metric)
    ratio = ours
    if goal.against:
        ratio = None if ours is None or not peer else ours / peer
    if ratio is None:
        outcome = Outcome.MISSED if _came_to_nothing(rows, goal) else Outcome.OPEN
    elif goal.most is not None:
        outcome = Outcome.MET if ratio <= goal.most else Outcome.MISSED
    else:
        outcome = Outcome.MET if ratio >= (goal.least or 0.0) else Outcome.MISSED
    return Verdict(goal, ours, peer, source, ratio if goal.against else None, outcome)


def _measured(
    rows: Sequence[Figures], row: str, system: str, nodes: int, metric: str, switches: str
) -> float | None:
    for each in rows:
        is_same = (each.row, each.system, each.nodes) == (row, system, nodes)
        is_so = each.switches == switches if switches else _is_plain(each)
        if is_same and is_so and each.values.get(metric) is not None:
            return each.values[metric]
    return None


def _came_to_nothing(rows: Sequence[Figures], goal: Goal) -> bool:
    """Whether the row ran to its time limit without reaching what is measured."""
    return any(
        (each.row, each.system, each.nodes) == (goal.row, goal.system, goal.nodes)
        and each.switches == goal.switches
        and each.values.get(goal.metric, 0.0) is None
        for each in rows
    )


def _is_plain(figures: Figures) -> bool:
    """Whether a row is of the product as it comes, nothing switched off."""
    return not any(switch in figures.switches for switch in SWITCHES if switch)


def _quoted(row: str, system: str, nodes: int, metric: str) -> tuple[float | None, str]:
    for each in FIGURES:
        if (each.row, each.system, each.nodes, each.metric) == (row, system, nodes, metric):
            return each.value, "(QUOTED, a time)" if each.is_wall else "(QUOTED)"
    return None, ""


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts as a Markdown table."""
    head = ("row", "where", "figure", "ours", "peer", "ratio", "goal", "verdict")
    lines = [head, tuple("---" for _ in head), *(v.cells() for v in verdicts)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def beside(rows: Sequence[Figures]) -> str:
    """Return all figures as a Markdown table, one line a figure and one column a system."""
    systems = list(dict.fromkeys(row.system for row in rows))
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        where = " ".join(filter(None, (f"N={row.nodes}" if row.nodes else "", row.switches)))
        for metric, value in row.values.items():
            lines.setdefault((row.row, where, metric), {})[row.system] = _number(value)
        if not row.runs:
            lines.setdefault((row.row, where, "all"), {})[row.system] = row.notes[0]
    head = ("row", "where", "figure", *systems)
    cells = [head, tuple("---" for _ in head)]
    cells += [(*key, *(found.get(name, "") for name in systems)) for key, found in lines.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def tree(rows: Sequence[Figures]) -> dict[str, Any]:
    """Return the whole report."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": meter.machine(),
        "python": platform.python_version(),
        "seed": SEED,
        "versions": sorted({row.version for row in rows if row.version}),
        "rows": [row.tree() for row in rows],
        "verdicts": [
            dict(zip(_HEAD, verdict.cells(), strict=True))
            for verdict in judge(rows)
            if verdict.outcome is not Outcome.OPEN
        ],
    }


_HEAD = ("row", "where", "figure", "ours", "peer", "ratio", "goal", "verdict")


def write(rows: Sequence[Figures], path: str | Path) -> None:
    """Write a report."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(tree(rows), indent=1) + "\n")


def read(paths: Iterable[str | Path]) -> list[Figures]:
    """Return the rows of reports, the last ones first: a later run says more than an earlier."""
    rows: list[Figures] = []
    for path in paths:
        trees = json.loads(Path(path).read_text())["rows"]
        rows = [Figures(**each) for each in trees] + rows
    return rows


def main() -> None:
    """Print the table over reports that were written before."""
    found = read(sys.argv[1:] or sorted(RESULTS.glob("*.json")))
    print(table(v for v in judge(found) if v.outcome is not Outcome.OPEN))
    print()
    print(beside(found))


if __name__ == "__main__":
    main()
