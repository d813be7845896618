"""A picture of a report: for each goal, how far our figure is on the good side of it.

    python -m benchmarks.plot benchmarks/results/short.json

One bar a goal on a logarithmic axis. To the right of the line is better than the goal, to the
left is short of it; the text says both figures. Drawn by matplotlib (dependency group
`bench`), without a display.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from benchmarks.lab.row import Figures
from benchmarks.report import Outcome, Verdict, judge, read

COLOURS = {Outcome.MET: "#2a7f62", Outcome.MISSED: "#c0492f"}
MARGIN_MAX = 1_000.0


def margin(verdict: Verdict) -> float:
    """Return how many times better than its goal a figure is; below one is short of it."""
    goal = verdict.goal
    value = verdict.ratio if goal.against else verdict.ours
    if value is None:
        return 1 / MARGIN_MAX
    if goal.most is not None:
        if goal.most == 0:
            return 1.0 if value <= 0 else 1 / (1 + value)
        found = goal.most / value if value else MARGIN_MAX
    else:
        found = value / (goal.least or 1.0)
    return min(max(found, 1 / MARGIN_MAX), MARGIN_MAX)


def label(verdict: Verdict) -> str:
    """Return what stands beside a bar."""
    row, where, metric, *_ = verdict.cells()
    against = f" vs {verdict.goal.against}" if verdict.goal.against else ""
    return f"{row} {where}  {metric}{against}".replace("  ", " ")


def draw(rows: Sequence[Figures], target: str | Path) -> None:
    """Draw all goals that were judged."""
    verdicts = [v for v in judge(rows) if v.outcome is not Outcome.OPEN]
    if not verdicts:
        return
    height = max(2.5, 0.32 * len(verdicts) + 1.2)
    figure, axes = plt.subplots(figsize=(13, height), layout="constrained")
    for place, verdict in enumerate(reversed(verdicts)):
        value = margin(verdict)
        axes.barh(place, math.log10(value), color=COLOURS[verdict.outcome], height=0.66)
        cells = verdict.cells()
        text = f"{cells[3]}" + (f" / {cells[4]} = {cells[5]}" if verdict.goal.against else "")
        axes.plot(math.log10(value), place, marker="|", color=COLOURS[verdict.outcome])
        # Beside the bar, or on the free side of the line where the bar goes to the left.
        axes.annotate(
            f"{text}, goal {cells[6]}",
            (max(0.0, math.log10(value)), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    axes.set_yticks(range(len(verdicts)), [label(v) for v in reversed(verdicts)], fontsize=8)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlim(-3.2, 5.2)
    axes.set_ylim(-0.7, len(verdicts) - 0.3)
    ticks = range(-3, 4)
    axes.set_xticks(
        ticks,
        [f"{10 ** abs(t):,}x {'short' if t < 0 else 'better'}" if t else "goal" for t in ticks],
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title("Our figures against their goals (green: met, red: missed)", fontsize=11)
    figure.savefig(target, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(read(sys.argv[1:]), Path(sys.argv[1]).with_suffix(".png"))
