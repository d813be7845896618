"""Floods: a user who writes far too much at once, and strangers who hold links."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch
from meshcrdt.sim.host import Host
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import encode_frame

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

STRANGER_STAYS_S = 10.0
STRANGER_FRAMES = 3


def begin(world: World) -> None:
    """Let floods begin."""
    faults = world.scenario.faults
    if faults.flood_every_s:
        writes = world.dice.fork("floods")
        world.every(faults.flood_every_s, lambda: _write(world, writes))
    if faults.strangers_every_s:
        strangers = world.dice.fork("strangers")
        world.every(faults.strangers_every_s, lambda: _come(world, strangers))


def _write(world: World, dice: Dice) -> None:
    running = [host for host in world.hosts if host.node is not None and not host.quiet]
    if running:
        world.burst(dice.choice(running), world.scenario.faults.flood_writes)


class Stranger:
    """One end of a link that belongs to no member: it says things, and hears nothing."""

    def __init__(self, world: World, dice: Dice) -> None:
        self.name = f"stranger {dice.raw(6).hex()}"
        self.node = self  # as long as it is there its process runs
        self.boots = 1
        self._world = world
        self._dice = dice
        self._identity = Identity(dice.raw(32))

    def hello(self) -> Hello:
        """Return what it says of itself: a newcomer without a cluster."""
        epoch = Epoch(1, self._dice.raw(INSTANCE_BYTES))
        return Hello.of(self._identity, name=self.name, epoch=epoch)

    def frame_received(self, link: int, frame: bytes) -> None:
        """Hear nothing."""

    def link_closed(self, boots: int, link: int, reason: str) -> None:
        """Be thrown out."""


def _come(world: World, dice: Dice) -> None:
    running = [host for host in world.hosts if host.node is not None]
    if not running:
        return
    host = dice.choice(running)
    world.clock.trace("strangers", host.name)
    for _ in range(world.scenario.faults.strangers):
        _link(world, host, Stranger(world, dice), dice)


def _link(world: World, host: Host, stranger: Stranger, dice: Dice) -> None:
    node = host.node
    hello = stranger.hello()
    if node is None or node.admits(hello) is not None:
        return
    # A pipe asks of its ends what a stranger has too.
    link = world.network.join_stranger(host, cast(Host, stranger))
    host.link_opened(link, hello, Direction.ACCEPTED, stranger.name)
    boots = host.boots
    for _ in range(STRANGER_FRAMES):
        said = dice.raw(dice.integer(1, 100))
        if dice.chance(0.5):
            said = encode_frame([(dice.integer(0, 100), dice.raw(8))])
        world.clock.after(
            dice.uniform(0.0, STRANGER_STAYS_S),
            partial(_say, world, host, boots, link, said),
        )
    world.clock.after(STRANGER_STAYS_S, lambda: world.network.close(host, link, "it went"))


def _say(world: World, host: Host, boots: int, link: int, frame: bytes) -> None:
    if host.boots == boots and (host.name, link) in world.network.pipes:
        host.frame_received(link, frame)
