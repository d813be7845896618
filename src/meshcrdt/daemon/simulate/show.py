"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshcrdt.daemon.cli.output import table
from meshcrdt.sim.compare import Row
from meshcrdt.sim.expect import figure_of

VIOLATIONS_SHOWN = 10


def number(value: object) -> str:
    """Return a figure as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def result_text(value: Mapping[str, Any]) -> str:
    """Return a result as lines: what was measured beside what we and others expect."""
    ours = {figure_of(each["bound"]): _bound(each) for each in value.get("expected", ())}
    theirs: dict[str, str] = {}
    for quoted in value.get("asserted", ()):
        for each in quoted["bounds"]:
            theirs[figure_of(each["bound"])] = f"{_bound(each)} ({quoted['by']})"
    rows = []
    for figure, measured in value["measured"].items():
        never = figure in value["never"]
        if measured is None and not never and figure not in ours and figure not in theirs:
            continue
        shown = "never" if never and measured is None else number(measured)
        rows.append((figure, shown, ours.get(figure, ""), theirs.get(figure, "")))
    lines = [
        _head(value),
        table(("FIGURE", "RESULT", "EXPECTED", "ASSERTED BY OTHERS"), rows),
        *(f"{each['by']}: {each['says']}" for each in value.get("asserted", ()) if each["says"]),
        *_verdict(value),
    ]
    return "\n".join(lines)


def _head(value: Mapping[str, Any]) -> str:
    if "seeds" in value:
        return f"{value['scenario']}, {value['nodes']} nodes, {len(value['seeds'])} seeds, means:"
    return f"{value['scenario']}, {value['nodes']} nodes, seed {value['seed']}:"


def _bound(verdict: Mapping[str, Any]) -> str:
    mark = "" if verdict["held"] else " missed"
    return f"{verdict['relation']} {number(verdict['limit'])}{mark}"


def _verdict(value: Mapping[str, Any]) -> list[str]:
    lines = [f"violated: {line}" for line in value["violations"][:VIOLATIONS_SHOWN]]
    left = len(value["violations"]) - len(lines)
    if left > 0:
        lines.append(f"violated: {left} more")
    if value.get("failed"):
        lines.append("seeds that failed: " + ", ".join(map(str, value["failed"])))
    lines.append("every expectation was met" if value["held"] else "not every expectation was met")
    return lines


def comparison_text(rows: Sequence[Row], first: str, second: str) -> str:
    """Return two results as a table; the ratio is second to first."""
    cells = [(row.figure, number(row.first), number(row.second), _ratio(row.ratio)) for row in rows]
    return table(("FIGURE", first, second, "RATIO"), cells)


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}"
