"""Faults of processes and clocks: kills at writes, restart storms, starvation, clock jumps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshcrdt.base.dice import Dice
from meshcrdt.sim.disk import Disk, Moment
from meshcrdt.sim.host import Host

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

FOREVER = float("inf")


def begin(world: World) -> None:
    """Let faults of processes begin."""
    faults = world.scenario.faults
    if faults.kill_at_write or faults.kill_write_number:
        for host in world.hosts:
            host.disk.on_write = Killer(world, host).wrote
    if faults.storm_every_s:
        storms = world.dice.fork("restart storms")
        world.every(faults.storm_every_s, lambda: _storm(world, storms))
    if faults.starved:
        dice = world.dice.fork("starved")
        for host in dice.sample(world.hosts, round(faults.starved * len(world.hosts))):
            world.starve(host, faults.starve_for_s, faults.starve_gap_s, FOREVER)
    if faults.clock_spread_s:
        dice = world.dice.fork("clock spread")
        for host in world.hosts:
            host.jump(dice.uniform(0.0, faults.clock_spread_s))
    if faults.clock_jump_every_s:
        jumps = world.dice.fork("clock jumps")
        world.every(faults.clock_jump_every_s, lambda: _jump(world, jumps))


class Killer:
    """Kills a process at one of its transactions: before it is durable, or before it is told."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host
        self._dice = world.dice.fork(f"kills of {host.name}")
        self._doomed: dict[int, Moment] = {}

    def wrote(self, disk: Disk, number: int, moment: Moment) -> None:
        """Take note of a transaction that starts or has become durable."""
        faults = self._world.scenario.faults
        dies = number == faults.kill_write_number
        if moment is Moment.STARTED and (dies or self._dice.chance(faults.kill_at_write)):
            self._doomed[number] = self._dice.choice(list(Moment))
        if self._doomed.get(number) is not moment or self._world.over:
            return
        del self._doomed[number]
        boots = self._host.boots
        if moment is Moment.STARTED:
            # The turn that wrote goes on: what it did beside this write has happened.
            self._world.clock.after(0.0, lambda: self._kill(boots))
        else:
            self._kill(boots)

    def _kill(self, boots: int) -> None:
        if self._host.node is None or self._host.boots != boots:
            return
        self._world.crash(self._host)
        down = self._world.scenario.faults.down_for_s * self._dice.uniform(0.2, 1.5)
        self._world.clock.after(down, lambda: self._world.start(self._host))


def _storm(world: World, dice: Dice) -> None:
    running = [host for host in world.hosts if host.node is not None]
    for host in dice.sample(running, dice.integer((len(running) + 1) // 2, len(running))):
        world.crash(host)
        world.clock.after(dice.uniform(0.0, 1.0), partial(world.start, host))


def _jump(world: World, dice: Dice) -> None:
    dice.choice(world.hosts).jump(dice.uniform(0.0, world.scenario.faults.clock_jump_max_s))
