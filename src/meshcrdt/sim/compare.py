"""Two results side by side, and many results in one: pure functions of what JSON holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from meshcrdt.errors import UsageError
from meshcrdt.sim.result import FORMAT


@frozen
class Row:
    """One figure of two results; the ratio is second to first, None where there is none."""

    figure: str
    first: float | None
    second: float | None

    @property
    def ratio(self) -> float | None:
        """Return how many times the first the second is."""
        if self.first is None or self.second is None:
            return None
        if self.first == self.second:
            return 1.0
        return self.second / self.first if self.first else None


def figures_of(value: object) -> dict[str, float | None]:
    """Return the figures of a result, or the means of a sweep; raises UsageError for neither."""
    if isinstance(value, Mapping) and value.get("format") == FORMAT:
        measured = value.get("measured")
        if isinstance(measured, Mapping):
            return {
                key: float(number)
                if isinstance(number, int | float) and not isinstance(number, bool)
                else None
                for key, number in measured.items()
                if not isinstance(number, bool)
            }
    raise UsageError(f"this is no result of the simulator of format {FORMAT}")


def compare(first: object, second: object) -> list[Row]:
    """Return the figures of two results side by side, those that either has."""
    one, other = figures_of(first), figures_of(second)
    rows = [Row(key, one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))]
    return [row for row in rows if row.first is not None or row.second is not None]


def together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one result of many runs of a scenario: the mean, least and greatest of each figure.

    A figure that is null in a run, because it never happened there, counts in `never` and
    in no mean.
    """
    if not results:
        raise UsageError("a sweep has at least one result")
    figures: dict[str, list[float]] = {}
    never: dict[str, int] = {}
    for result in results:
        for key, number in figures_of(result).items():
            if number is not None:
                figures.setdefault(key, []).append(number)
        for key in result["never"]:
            never[key] = never.get(key, 0) + 1
    first = results[0]
    return {
        "format": FORMAT,
        "meshcrdt": first["meshcrdt"],
        "scenario": first["scenario"],
        "about": first["about"],
        "nodes": first["nodes"],
        "seeds": [result["seed"] for result in results],
        "held": all(result["held"] for result in results),
        "failed": [result["seed"] for result in results if not result["held"]],
        "measured": {key: sum(found) / len(found) for key, found in figures.items()},
        "least": {key: min(found) for key, found in figures.items()},
        "greatest": {key: max(found) for key, found in figures.items()},
        "never": never,
        "violations": [
            f"seed {result['seed']}: {line}" for result in results for line in result["violations"]
        ],
        "runs": list(results),
    }
