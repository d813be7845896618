"""The result of a run as JSON holds it: what ran, what was measured, what held."""

from __future__ import annotations

import math
from typing import Any

from attrs import asdict

from meshcrdt.sim.expect import Verdict, judge
from meshcrdt.sim.report import Report
from meshcrdt.sim.scenario_file import plain

FORMAT = 1
"""Grows when a key changes its meaning; keys may be added within one."""


def result(report: Report, *, version: str) -> dict[str, Any]:
    """Return the result of a run; equal runs have equal results, byte for byte.

    What never happened took infinitely long, which JSON does not know: it is null in
    `measured`, and named in `never`.
    """
    scenario = report.scenario
    measured = asdict(report.measured)
    return {
        "format": FORMAT,
        "meshcrdt": version,
        "scenario": scenario.name,
        "about": scenario.about,
        "seed": scenario.seed,
        "nodes": scenario.nodes,
        "held": report.held,
        "measured": {key: _finite(value) for key, value in measured.items()},
        "never": [key for key, value in measured.items() if value == math.inf],
        "spread": [list(point) for point in report.spread],
        "expected": [_verdict(verdict) for verdict in report.verdicts],
        "asserted": [
            {
                "by": each.by,
                "says": each.says,
                "bounds": [_verdict(verdict) for verdict in judge(each.bounds, measured)],
            }
            for each in scenario.asserted
        ],
        "violations": list(report.violations),
        "counts": {
            "steps": report.steps,
            "frames": report.frames,
            "bytes": report.bytes_sent,
            "commands": report.commands,
            "acknowledged": report.acknowledged,
            "crashes": report.crashes,
            "partitions": report.partitions,
        },
        "outcomes": dict(sorted(report.outcomes.items())),
        "trace": report.trace_hash,
        "definition": plain(scenario),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(verdict: Verdict) -> dict[str, Any]:
    told = asdict(verdict)
    return {key: _finite(value) for key, value in told.items()}
