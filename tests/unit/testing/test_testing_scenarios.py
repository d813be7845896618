"""Scenarios for Hypothesis: what is drawn can run, and is only what was asked for."""

from __future__ import annotations

import pytest
from attrs import asdict
from hypothesis import given, settings

from meshcrdt.errors import UsageError
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.fault_list import NO_FAULTS
from meshcrdt.testing import scenarios
from meshcrdt.testing.worlds import FAULTS


@given(scenarios(nodes_max=3, kinds=("loss", "crashes"), command_every_s=1.5))
def test_only_what_was_asked_for_is_drawn(scenario: Scenario) -> None:
    faults = {
        key for key, value in asdict(scenario.faults).items() if value != getattr(NO_FAULTS, key)
    }
    assert faults <= FAULTS["loss"].keys() | FAULTS["crashes"].keys()
    assert 1 <= scenario.nodes <= 3
    assert scenario.command_every_s == 1.5


@settings(max_examples=4)
@given(scenarios(nodes_max=3, duration_s=15.0))
def test_what_is_drawn_runs(scenario: Scenario) -> None:
    report = World(scenario).run()
    assert not report.violations, report


def test_an_unknown_kind_is_refused() -> None:
    @given(scenarios(kinds=("rain",)))
    def draw(scenario: Scenario) -> None:
        raise AssertionError(scenario)

    with pytest.raises(UsageError, match="fault 'rain' is not known: clocks,"):
        draw()
