"""Faults of disks: errors, full disks, and disks that go back on what they confirmed.

A host whose disk went back is dishonest from then on: what it promised by itself is void
(`Ledger.forgive`). What must still hold: nobody is given what it had given, all converge,
and no machine loses its invariants. It asks for nothing new until a peer told it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from meshcrdt.base.dice import Dice
from meshcrdt.sim.host import Host

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

SNAPSHOT_AGE_S = 40.0
MEETING_S = 20.0
"""How long a host whose disk went back is linked to a peer before its users ask again."""


Act: TypeAlias = "Callable[[World, Host, Dice], None]"


def begin(world: World) -> None:
    """Let faults of disks begin."""
    faults = world.scenario.faults
    for every_s, name, act in (
        (faults.disk_error_every_s, "disk errors", _error),
        (faults.disk_full_every_s, "full disks", _full),
        (faults.rollback_every_s, "rollbacks", _snapshot),
        (faults.wipe_every_s, "wiped disks", _wipe),
        (faults.clone_every_s, "clones", _clone),
    ):
        if every_s:
            dice = world.dice.fork(name)
            world.every(every_s, partial(_on_one, world, dice, act))


def _on_one(world: World, dice: Dice, act: Act) -> None:
    running = [host for host in world.hosts if host.node is not None]
    if running:
        act(world, dice.choice(running), dice)


def _error(world: World, host: Host, dice: Dice) -> None:
    host.disk.failing = "EIO: input/output error"
    world.clock.trace(host.name, "EIO")
    down = world.scenario.faults.down_for_s * dice.uniform(0.5, 1.5)
    world.clock.after(down, lambda: _replace(world, host))


def _full(world: World, host: Host, dice: Dice) -> None:
    host.disk.failing = "ENOSPC: no space left on device"
    world.clock.trace(host.name, "ENOSPC")
    length = world.scenario.faults.disk_full_for_s * dice.uniform(0.5, 1.5)
    world.clock.after(length, lambda: _replace(world, host))


def _replace(world: World, host: Host) -> None:
    """Give a host a disk that works, and start it again as its supervisor would."""
    host.disk.failing = None
    world.crash(host)
    world.start(host)


def _snapshot(world: World, host: Host, dice: Dice) -> None:
    tables = copy.deepcopy(host.disk.tables)
    # A run that began after the snapshot is known to the others by its epoch.
    world.crash(host)
    world.start(host)
    age = SNAPSHOT_AGE_S * dice.uniform(1.0, 2.0)
    world.clock.after(age, lambda: _roll_back(world, host, tables))


def _roll_back(world: World, host: Host, tables: dict[str, dict[bytes, bytes]]) -> None:
    if world.over:
        return
    world.crash(host)
    host.disk.tables = tables
    world.clock.trace(host.name, "rolled back")
    void(world, host)
    world.start(host)


def _wipe(world: World, host: Host, dice: Dice) -> None:
    others = [each for each in world.hosts if each.genesis is not None and each is not host]
    if not others or host is world.hosts[0]:
        # The founder was given its genesis by hand; it would be given it again.
        return
    world.crash(host)
    host.disk.tables = {}
    host.genesis = None
    world.clock.trace(host.name, "wiped")
    void(world, host)
    world.start(host)


def void(world: World, host: Host) -> None:
    """Void what a host promised by itself, and let its users wait until it met a peer."""
    host.dishonest = True
    host.quiet = True
    world.ledger.forgive(host)
    linked_since: list[float] = []

    def look() -> None:
        if host.node is not None and host.node.core is not None and host.node.links:
            linked_since.append(world.clock.now)
        else:
            linked_since.clear()
        if linked_since and world.clock.now - linked_since[0] >= MEETING_S:
            host.quiet = False
        else:
            world.clock.after(1.0, look)

    look()


def _clone(world: World, host: Host, dice: Dice) -> None:
    twin = world.clone(host)
    world.clock.trace(host.name, "cloned")
    void(world, host)
    twin.start()
    length = world.scenario.faults.clone_for_s * dice.uniform(0.5, 1.5)
    world.clock.after(length, twin.crash)
