"""Floor 5: a deterministic world that drives the very same node.

Virtual time, a network that loses, delays, duplicates, reorders and partitions, disks that
lose what was not fsynced, crashes and restarts, and checkers after every step. Everything
follows from one seed, so any failure replays from one number.

    report = World(Scenario(seed=7)).run()
    assert not report.violations, report
"""

from __future__ import annotations

from meshcrdt.sim.report import Report
from meshcrdt.sim.scenario import Draw, Faults, Scenario
from meshcrdt.sim.world import World

__all__ = ["Draw", "Faults", "Report", "Scenario", "World"]
