"""Worlds of more hosts than are looked at all the time."""

from __future__ import annotations

import pytest

from meshcrdt.errors import InternalError
from meshcrdt.node.node import Node
from meshcrdt.sim import Faults, Scenario, World, watchman
from meshcrdt.sim.clockwork import Trace

FIVE = Scenario(seed=3, duration_s=40.0, faults=Faults(crash_every_s=15.0, down_for_s=3.0))


def test_looking_at_samples_changes_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = World(FIVE).run()
    monkeypatch.setattr(watchman, "SMALL_HOSTS_MAX", 0)
    sampled = World(FIVE).run()
    assert not whole.violations
    assert not sampled.violations
    assert sampled.trace_hash == whole.trace_hash


def test_a_broken_machine_is_found_by_samples_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchman, "SMALL_HOSTS_MAX", 0)

    def broken(self: Node) -> None:
        if self.config.name == "n4":
            raise InternalError("n4 is broken on purpose")

    monkeypatch.setattr(Node, "check_moved", broken)
    assert any("on purpose" in line for line in World(FIVE).run().violations)


def test_a_world_without_a_trace_lives_the_same_life() -> None:
    traced = World(FIVE).run()
    untraced = World(Scenario(seed=3, duration_s=40.0, faults=FIVE.faults, trace=Trace.OFF)).run()
    assert (untraced.frames, untraced.bytes_sent, untraced.steps) == (
        traced.frames,
        traced.bytes_sent,
        traced.steps,
    )
    assert untraced.trace_hash != traced.trace_hash
