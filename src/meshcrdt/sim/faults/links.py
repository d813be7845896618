"""Faults of single frames and links: spikes, damage, jams that burst, half-open links, black holes.

A damaged frame ends its link, as the seal of a real link does; what a member says wrongly
on purpose is `liars`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from meshcrdt.base.dice import Dice
from meshcrdt.sim.host import Host

if TYPE_CHECKING:
    from meshcrdt.sim.world import World


def begin(world: World) -> None:
    """Let faults of links begin."""
    faults, network = world.scenario.faults, world.network
    if faults.spike:
        network.holds.append(Spikes(world).hold)
    if faults.corrupt:
        network.tampers.append(Damage(world).tamper)
    if faults.jam_every_s:
        jams = Jams(world)
        network.holds.append(jams.hold)
        world.every(faults.jam_every_s, jams.jam_one)
    if faults.half_open_every_s:
        dice = world.dice.fork("half-open")
        world.every(faults.half_open_every_s, lambda: _half_open(world, dice))
    if faults.black_hole_every_s:
        holes = BlackHoles(world)
        network.tampers.append(holes.tamper)
        world.every(faults.black_hole_every_s, holes.open_one)


class Spikes:
    """Some frames take very long."""

    def __init__(self, world: World) -> None:
        self._dice = world.dice.fork("spikes")
        self._faults = world.scenario.faults

    def hold(self, source: str, target: str, arrives: float) -> float:
        """Return when a frame arrives."""
        if self._dice.chance(self._faults.spike):
            return arrives + self._dice.uniform(0.0, self._faults.spike_s)
        return arrives


class Damage:
    """Some frames arrive damaged: both ends see the link end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice.fork("damage")

    def tamper(self, source: Host, target: Host, link: int, frame: bytes) -> Iterable[bytes]:
        """Return what leaves in place of a frame."""
        if self._dice.chance(self._world.scenario.faults.corrupt):
            reason = "the seal of a frame is broken"
            self._world.clock.after(0.0, lambda: self._world.network.close(source, link, reason))
            return ()
        return (frame,)


class Jams:
    """What goes to one host is queued on the way, and then comes all at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice.fork("jams")
        self._until: dict[str, float] = {}

    def jam_one(self) -> None:
        """Jam the way to one host."""
        host = self._dice.choice(self._world.hosts)
        length = self._world.scenario.faults.jam_for_s * self._dice.uniform(0.5, 1.5)
        self._until[host.name] = self._world.clock.now + length
        self._world.clock.trace("jam", host.name, length)

    def hold(self, source: str, target: str, arrives: float) -> float:
        """Return when a frame arrives."""
        return max(arrives, self._until.get(target, 0.0))


class BlackHoles:
    """Large frames vanish on the links of a host, as behind a router that says nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice.fork("black holes")
        self._until: dict[str, float] = {}

    def open_one(self) -> None:
        """Let one host lose what is large."""
        host = self._dice.choice(self._world.hosts)
        length = self._world.scenario.faults.black_hole_for_s * self._dice.uniform(0.5, 1.5)
        self._until[host.name] = self._world.clock.now + length
        self._world.clock.trace("black hole", host.name, length)

    def tamper(self, source: Host, target: Host, link: int, frame: bytes) -> Iterable[bytes]:
        """Return what leaves in place of a frame."""
        until = max(self._until.get(source.name, 0.0), self._until.get(target.name, 0.0))
        swallowed = len(frame) > self._world.scenario.faults.black_hole_bytes
        return () if swallowed and self._world.clock.now < until else (frame,)


def _half_open(world: World, dice: Dice) -> None:
    """Take one end of a link away; the other end goes on speaking to nobody."""
    pipes = world.network.pipes
    if pipes:
        name, link = dice.choice(sorted(pipes))
        pipe, side = pipes.pop((name, link))
        world.clock.trace("half-open", name, link)
        pipe.ends[side][0].link_closed(pipe.boots[side], link, "the connection broke")
