"""Bounds, comparisons and sweeps: what follows from figures alone."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from meshcrdt.errors import UsageError
from meshcrdt.sim import Scenario
from meshcrdt.sim.compare import compare, figures_of, together
from meshcrdt.sim.expect import Bounds, judge
from meshcrdt.sim.metrics import MARK, Deaths, Measured, marked
from meshcrdt.sim.report import Report
from meshcrdt.sim.result import result


def made(seed: int = 1, **figures: Any) -> dict[str, Any]:
    report = Report(Scenario(seed=seed), measured=Measured(**figures))
    return result(report, version="1")


@pytest.mark.parametrize(
    ("bounds", "figures", "held"),
    [
        (Bounds(delivery=1.0), {"delivery": 1.0}, True),
        (Bounds(delivery=1.0), {"delivery": 0.999}, False),
        (Bounds(missed_max=0), {"missed": 1}, False),
        (Bounds(seconds_max=2.0), {"seconds": 2.0}, True),
        (Bounds(seconds_max=2.0), {"seconds": math.inf}, False),
        (Bounds(seconds_max=2.0), {"seconds": None}, False),
        (Bounds(seconds_max=2.0), {}, False),
        (Bounds(digests_equal=True), {"digests_equal": False}, False),
        (Bounds(no_false_death=True), {"no_false_death": True}, True),
    ],
)
def test_a_bound_holds_or_not(bounds: Bounds, figures: dict[str, Any], held: bool) -> None:
    (verdict,) = judge(bounds, figures)
    assert verdict.held is held
    assert ("never measured" in str(verdict)) is (verdict.value is None)


def test_a_bound_that_asks_for_nothing_is_not_judged() -> None:
    assert list(judge(Bounds(), {"delivery": 0.0})) == []


def test_a_violation_or_a_missed_bound_fails_a_report() -> None:
    report = Report(Scenario(seed=1))
    assert report.held
    report.verdicts = list(judge(Bounds(delivery=1.0), {"delivery": 0.5}))
    assert not report.held
    assert "missed: delivery: 0.5, expected at least 1" in str(report)
    report.verdicts.clear()
    report.violations.append("L1")
    assert not report.held


def test_what_never_happened_is_null_and_named() -> None:
    value = made(joined_seconds=math.inf, hops=2.0)
    assert value["measured"]["joined_seconds"] is None
    assert value["never"] == ["joined_seconds"]


def test_two_results_are_compared_by_ratios() -> None:
    rows = {row.figure: row for row in compare(made(hops=2.0, missed=0), made(hops=3.0, missed=1))}
    assert rows["hops"].ratio == 1.5
    assert rows["missed"].ratio is None  # of nothing there is no ratio
    assert rows["false_deaths"].ratio == 1.0
    assert "redundancy" not in rows  # neither has it


@pytest.mark.parametrize("value", [None, [], {}, {"format": 1}, {"format": 2, "measured": {}}])
def test_what_is_no_result_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="no result of the simulator of format 1"):
        figures_of(value)


def test_many_results_make_one() -> None:
    value = together([made(1, hops=2.0), made(2, hops=4.0, joined_seconds=math.inf)])
    assert value["measured"]["hops"] == 3.0
    assert (value["least"]["hops"], value["greatest"]["hops"]) == (2.0, 4.0)
    assert value["never"] == {"joined_seconds": 1}
    assert value["seeds"] == [1, 2]
    assert compare(value, value)[0].ratio == 1.0
    with pytest.raises(UsageError, match="at least one"):
        together([])


def test_a_message_is_recognised_among_any_bytes() -> None:
    value = marked(17, 40)
    assert len(value) == 40
    assert [found[1] for found in MARK.finditer(b"\x00" + value + b"~1~" + marked(3, 0))] == [
        b"00000017",
        b"00000003",
    ]


def test_each_false_death_is_counted_once_whichever_is_taken_back() -> None:
    hosts: list[Any] = [
        SimpleNamespace(
            name=name,
            identity=SimpleNamespace(peer=name.encode()),
            node=SimpleNamespace(dead_since={}),
            ahead_s=0.0,
            well_since=0.0,
        )
        for name in ("n1", "n2", "n3", "n4")
    ]
    looking, since = hosts[0], hosts[0].node.dead_since
    deaths = Deaths(hosts, grace_s=1.0)
    since.update({b"n2": 5.0, b"n3": 6.0})
    deaths.look(looking)
    deaths.look(looking)
    assert len(deaths.after(None)) == 2
    del since[b"n3"]  # the newest: what is older than it has been counted
    deaths.look(looking)
    assert len(deaths.after(None)) == 2
    del since[b"n2"]
    since[b"n4"] = 7.0  # another in its place, so that there are as many as before
    deaths.look(looking)
    since[b"n3"] = 8.0  # and one for the second time
    deaths.look(looking)
    assert [line.split(" took ")[1] for line in deaths.after(None)] == [
        "n3 for dead",
        "n2 for dead",
        "n4 for dead",
        "n3 for dead",
    ]
