"""Random cuts, resets, crashes and pauses; loss and its like are rolled by the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshcrdt.sim.world import World


def begin(world: World) -> None:
    """Let the classic faults begin."""
    faults = world.scenario.faults
    if faults.partition_every_s:
        world.every(faults.partition_every_s, lambda: _partition(world))
    if faults.link_reset_every_s:
        world.every(faults.link_reset_every_s, world.network.reset_some_link)
    if faults.crash_every_s:
        world.every(faults.crash_every_s, lambda: _crash_one(world))
    if faults.pause_every_s:
        world.every(faults.pause_every_s, lambda: _pause_one(world))


def _partition(world: World) -> None:
    network, fate = world.network, world.fate
    if network.cut or len(world.hosts) < 2:
        return
    names = [host.name for host in world.hosts]
    side = set(fate.sample(names, fate.integer(1, len(names) - 1)))
    one_way = fate.chance(world.scenario.faults.one_way)
    for a in names:
        for b in names:
            if (a in side) and (b not in side):
                network.cut.add((a, b))
                if not one_way:
                    network.cut.add((b, a))
    world.report.partitions += 1
    world.clock.trace("partition", " ".join(sorted(side)), one_way)
    length = world.scenario.faults.partition_for_s * fate.uniform(0.5, 1.5)
    world.clock.after(length, lambda: _mend(world))


def _mend(world: World) -> None:
    world.network.cut.clear()
    world.deaths.disturbed_at = world.clock.now


def _crash_one(world: World) -> None:
    running = [host for host in world.hosts if host.node is not None]
    if not running:
        return
    host = world.fate.choice(running)
    world.crash(host)
    down = world.scenario.faults.down_for_s * world.fate.uniform(0.2, 1.5)
    world.clock.after(down, lambda: world.start(host))


def _pause_one(world: World) -> None:
    running = [host for host in world.hosts if host.node is not None]
    if running:
        length = world.scenario.faults.pause_for_s * world.fate.uniform(0.2, 1.5)
        world.fate.choice(running).pause(length)
