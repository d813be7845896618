"""What makes the faults of a scenario happen: one module a kind, one small class or function each.

Every fault rolls dice of its own, forked by its name, so that one fault more changes no
roll of another and a seed keeps its meaning. All end when the world heals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcrdt.sim.faults import classic, disks, floods, liars, links, partitions, processes

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

KINDS = (classic, partitions, links, processes, disks, liars, floods)
"""In this order: the classic ones share the dice of the world's fate, as the named seeds did."""


def begin(world: World) -> None:
    """Let every fault of the scenario begin."""
    for kind in KINDS:
        kind.begin(world)
