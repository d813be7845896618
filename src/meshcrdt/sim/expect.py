"""What a scenario promises: bounds on what is measured, ours and those that others assert.

A bound is compared with the figure of the same name in `meshcrdt.sim.metrics.Measured`.
What was expected and not measured does not hold: silence is no success.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from attrs import Attribute, asdict, field, fields, frozen

AT_MOST, AT_LEAST, IS = "at most", "at least", "is"


def _bound(figure: str, relation: str = AT_MOST) -> Any:
    return field(default=None, metadata={"figure": figure, "relation": relation})


@frozen(kw_only=True)
class Bounds:
    """Bounds on the figures of a run; None asks for nothing."""

    delivery: float | None = _bound("delivery", AT_LEAST)
    """The share of (message, host) pairs that arrived, of all that had to."""
    digests_equal: bool | None = _bound("digests_equal", IS)
    no_false_death: bool | None = _bound("no_false_death", IS)
    missed_max: int | None = _bound("missed")
    redundancy_max: float | None = _bound("redundancy")
    """Copies of a message that reached a host, beyond the one that it needed."""
    hops_max: float | None = _bound("hops")
    """The last delivery hop, the mean over messages."""
    seconds_max: float | None = _bound("seconds")
    """From the sending of a message until the last host had it, the worst."""
    converged_seconds_max: float | None = _bound("converged_seconds")
    converged_rounds_max: float | None = _bound("converged_rounds")
    joined_seconds_max: float | None = _bound("joined_seconds")
    """From the first start until everyone is ready, knows everyone and is connected."""
    noticed_seconds_max: float | None = _bound("noticed_seconds")
    """From a kill until every host that runs sees the killed as not alive."""
    connected_rounds_max: float | None = _bound("connected_rounds")
    """From a kill or heal until the links make one component again."""
    reached_seconds_max: float | None = _bound("reached_seconds")
    """From a step that changes something until the last host has seen it."""
    bytes_per_node_second_max: float | None = _bound("bytes_per_node_second")
    frames_per_node_second_max: float | None = _bound("frames_per_node_second")

    def given(self) -> dict[str, float | int | bool]:
        """Return the bounds that ask for something."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOTHING_EXPECTED = Bounds()


@frozen(kw_only=True)
class Asserted:
    """What another system asserts of itself in the same scenario: quoted, never judged by us."""

    by: str
    bounds: Bounds = NOTHING_EXPECTED
    says: str = ""
    """The bound in words, where no figure of ours has its meaning."""


@frozen
class Verdict:
    """One bound beside what was measured."""

    bound: str
    relation: str
    limit: float | int | bool
    value: float | int | bool | None
    held: bool

    def __str__(self) -> str:
        shown = "never measured" if self.value is None else f"{self.value:g}"
        return f"{self.bound}: {shown}, expected {self.relation} {self.limit:g}"


def judge(bounds: Bounds, figures: dict[str, Any]) -> Iterator[Verdict]:
    """Yield a verdict on each bound that asks for something."""
    for each in fields(Bounds):
        limit = getattr(bounds, each.name)
        if limit is not None:
            value = figures.get(each.metadata["figure"])
            yield Verdict(
                each.name, each.metadata["relation"], limit, value, _holds(each, limit, value)
            )


def figure_of(bound: str) -> str:
    """Return the name of the figure that a bound is about."""
    figure = getattr(fields(Bounds), bound).metadata["figure"]
    assert isinstance(figure, str)
    return figure


def _holds(bound: Attribute[Any], limit: Any, value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    match bound.metadata["relation"]:
        case "at least":
            return bool(value >= limit)
        case "is":
            return bool(value == limit)
        case _:
            return bool(value <= limit)
