"""Partitions with a shape: a minority, thirds, a ring, flapping hosts, and swizzle-clogs.

The swizzle-clog is FoundationDB's: some hosts are cut off one by one and let in again in
another order, which finds more than cutting all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from meshcrdt.base.dice import Dice
from meshcrdt.sim.steps import Shape

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

MINORITY = 1 / 3

Wall = Callable[[str, str], bool]


def begin(world: World) -> None:
    """Let shaped partitions begin."""
    faults = world.scenario.faults
    dice = world.dice.fork("shaped partitions")
    for every_s, shape in (
        (faults.minority_every_s, Shape.SIDES),
        (faults.thirds_every_s, Shape.THIRDS),
        (faults.ring_every_s, Shape.RING),
    ):
        if every_s:
            world.every(every_s, partial(_divide, world, shape, dice))
    if faults.flap_every_s:
        flaps = world.dice.fork("flaps")
        world.every(faults.flap_every_s, lambda: _flap(world, flaps))
    if faults.clog_every_s:
        clogs = world.dice.fork("clogs")
        world.every(faults.clog_every_s, lambda: _swizzle(world, clogs))


def _divide(world: World, shape: Shape, dice: Dice) -> None:
    if len(world.hosts) < 2:
        return
    wall = world.wall(shape, MINORITY, dice)
    length = world.scenario.faults.partition_for_s * dice.uniform(0.5, 1.5)
    world.report.partitions += 1
    world.clock.trace("divided", shape.value)
    raise_wall(world, wall)
    world.clock.after(length, lambda: take_down(world, wall))


def raise_wall(world: World, wall: Wall) -> None:
    """Put a wall up."""
    world.network.walls.append(wall)


def take_down(world: World, wall: Wall) -> None:
    """Take a wall down, unless the world healed before."""
    if wall in world.network.walls:
        world.network.walls.remove(wall)
    world.deaths.disturbed_at = world.clock.now


def _around(name: str) -> Wall:
    """Return a wall around one host."""
    return lambda source, target: name in (source, target)


def _flap(world: World, dice: Dice) -> None:
    faults = world.scenario.faults
    wall = _around(dice.choice(world.hosts).name)
    until = world.clock.now + faults.flap_for_s * dice.uniform(0.5, 1.5)
    world.clock.trace("flap", until)

    def turn() -> None:
        if wall in world.network.walls:
            take_down(world, wall)
        elif not world.over and world.clock.now < until:
            raise_wall(world, wall)
        else:
            return
        world.clock.after(faults.flap_period_s / 2 * dice.uniform(0.5, 1.5), turn)

    turn()


def _swizzle(world: World, dice: Dice) -> None:
    names = [host.name for host in world.hosts]
    if len(names) < 2:
        return
    chosen = dice.sample(names, dice.integer(1, len(names) - 1))
    walls = [_around(name) for name in chosen]
    gap = world.scenario.faults.clog_for_s / len(walls)
    world.report.partitions += 1
    world.clock.trace("swizzle", " ".join(chosen))
    for turn, wall in enumerate(walls):
        world.clock.after(turn * gap, partial(_clog, world, wall))
    again = dice.sample(walls, len(walls))
    for turn, wall in enumerate(again):
        world.clock.after(
            (len(walls) + turn) * gap,
            partial(take_down, world, wall),
        )


def _clog(world: World, wall: Wall) -> None:
    if not world.over:
        raise_wall(world, wall)
