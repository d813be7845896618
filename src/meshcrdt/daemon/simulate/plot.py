"""Draws a result: how deliveries spread over time, or what each seed of a sweep gave.

matplotlib does it (extra "plot"), loaded only here and only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from meshcrdt.daemon.exits import CommandError
from meshcrdt.errors import MissingExtra

SUFFIXES = (".svg", ".png", ".pdf")
SIZE_INCHES = (8.0, 4.5)
FIGURES = ("seconds", "redundancy", "hops", "bytes_per_node_second")


def plot_path(text: str) -> str:
    """Check the file of a plot; raises ValueError with the line for the user."""
    if Path(text).suffix not in SUFFIXES:
        raise ValueError(f"{text!r} is no file of a plot: one that ends in .svg, .png or .pdf is")
    return text


def plot(value: Mapping[str, Any], path: str) -> None:
    """Draw a result or a sweep into a file; raises CommandError."""
    try:
        matplotlib = import_module("matplotlib")
        matplotlib.use("agg")
        pyplot = import_module("matplotlib.pyplot")
    except ModuleNotFoundError:
        raise CommandError(str(MissingExtra("plot", "matplotlib"))) from None
    runs = value.get("runs", [value])
    figure, axes = pyplot.subplots(1, 2, figsize=SIZE_INCHES)
    figure.suptitle(f"{value['scenario']}, {value['nodes']} nodes, {len(runs)} seeds")
    _spread(axes[0], runs)
    _costs(axes[1], runs)
    figure.tight_layout()
    try:
        figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    except OSError as error:
        raise CommandError(f"plot {path} cannot be written: {error.strerror}") from None
    finally:
        pyplot.close(figure)


def _spread(axes: Any, runs: list[Mapping[str, Any]]) -> None:
    """Draw which share of deliveries had happened after how many seconds."""
    for run in runs:
        points = run["spread"]
        axes.step([seconds for seconds, _ in points], [share for _, share in points], alpha=0.5)
    axes.set_xlabel("seconds after sending")
    axes.set_ylabel("share of deliveries")
    axes.set_ylim(0.0, 1.02)


def _costs(axes: Any, runs: list[Mapping[str, Any]]) -> None:
    """Draw what each seed cost: bytes a second of a node, against redundancy."""
    known = [run["measured"] for run in runs if run["measured"]["redundancy"] is not None]
    axes.scatter(
        [figures["redundancy"] for figures in known],
        [figures["bytes_per_node_second"] for figures in known],
    )
    axes.set_xlabel("redundancy (copies beyond the first)")
    axes.set_ylabel("bytes a second of a node")
