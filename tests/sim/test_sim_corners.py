"""Corners that the swarm draws seldom or never, each as a scenario of its own."""

from __future__ import annotations

from typing import Any

import pytest

from meshcrdt.sim import Faults, Scenario, World

CORNERS: dict[str, dict[str, Any]] = {
    "one node that crashes": {
        "nodes": 1,
        "faults": Faults(crash_every_s=10, down_for_s=3, torn_share=0.5),
    },
    "two nodes": {
        "nodes": 2,
        "faults": Faults(loss=0.2, partition_every_s=40, one_way=0.5, crash_every_s=40),
    },
    "three nodes under everything": {
        "nodes": 3,
        "faults": Faults(
            loss=0.1,
            duplicate=0.2,
            reorder=0.3,
            jitter_s=0.5,
            crash_every_s=15,
            down_for_s=5,
            torn_share=0.5,
        ),
    },
    "seven nodes": {
        "nodes": 7,
        "faults": Faults(loss=0.1, reorder=0.2, partition_every_s=60, crash_every_s=30),
    },
    "very slow disks": {
        "faults": Faults(disk_s=1.0, disk_stall_share=0.1, crash_every_s=40),
    },
    "a storm of crashes": {
        "faults": Faults(crash_every_s=3, down_for_s=2, torn_share=0.5, disk_s=0.05),
    },
    "one-way partitions": {
        "faults": Faults(partition_every_s=30, partition_for_s=40, one_way=1.0),
    },
    "loss of 40 %": {"faults": Faults(loss=0.4, duplicate=0.2)},
    "long pauses": {"faults": Faults(pause_every_s=30, pause_for_s=25)},
    "joiners that start while cut off": {
        "faults": Faults(partition_every_s=0.15, partition_for_s=60, one_way=0.3, loss=0.1),
    },
    "links that break each second": {
        "faults": Faults(link_reset_every_s=1, duplicate=0.1, jitter_s=0.3),
    },
    "joiners that crash while they join": {
        "duration_s": 60.0,
        "faults": Faults(crash_every_s=0.5, down_for_s=0.5, torn_share=0.5, disk_s=0.3, loss=0.2),
    },
}


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("corner", CORNERS)
def test_no_invariant_is_violated_in_a_corner(corner: str, seed: int) -> None:
    report = World(Scenario(**{"seed": seed, "duration_s": 200.0, **CORNERS[corner]})).run()
    assert not report.violations, report
    assert report.acknowledged > 10, f"the run showed nothing: {report}"
    assert report.converged_after_s is not None
