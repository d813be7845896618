"""One simulated host: a disk, a process that may die, and a performer of effects.

The performer here is the trio shell's twin: the same effects, the same watermark barrier.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from attrs import evolve

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch
from meshcrdt.errors import InternalError
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.durable import next_epoch, read_genesis
from meshcrdt.node.effects import Changed, CloseLink, Dial, Effect, Persist, Reply, Send
from meshcrdt.node.events import (
    Command,
    DialFailed,
    Event,
    FrameReceived,
    LinkClosed,
    LinkOpened,
    Persisted,
)
from meshcrdt.node.node import Node
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.disk import Disk
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity


class Step(Enum):
    """What a turn of the node did: only talk, or move state that the checkers look at."""

    TALK = "talk"
    STATE = "state"


class Wire(Protocol):
    """What a host does with the network; `sim.network.Network` is one."""

    def dial(self, source: Host, address: str) -> None:
        """Try to connect; the source hears LinkOpened or DialFailed."""

    def send(self, source: Host, link: int, frame: bytes) -> None:
        """Carry one frame."""

    def close(self, source: Host, link: int, reason: str) -> None:
        """Close a link."""

    def host_died(self, host: Host) -> None:
        """Let go of the links of a process that is gone."""


class Host:
    """A machine that can crash and come back with its disk."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clockwork,
        network: Wire,
        disk: Disk,
        dice: Dice,
        birth: Callable[[Host], NodeConfig],
    ) -> None:
        self.name = name
        self.clock = clock
        self.network = network
        self.disk = disk
        self.dice = dice
        self.identity = Identity(dice.fork("identity").raw(32))
        self.genesis: Genesis | None = None
        self.node: Node | None = None
        self.boots = 0
        self.paused_until = 0.0
        self.on_reply: Callable[[Host, Reply], None] = lambda host, reply: None
        self.on_step: Callable[[Host, Step], None] = lambda host, step: None
        self._birth = birth
        self._persisted = 0
        self._held: list[Effect] = []
        self._wake_at: float | None = None

    # --- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Boot the process from what the disk holds."""
        self.boots += 1
        epoch, rows = next_epoch(
            self.disk.tables, self.dice.fork(f"instance {self.boots}").raw(INSTANCE_BYTES)
        )
        self.disk.apply(rows)  # written and fsynced before the process says anything
        self.genesis = self.genesis or read_genesis(self.disk.tables)
        self._persisted = 0
        self._held = []
        self._wake_at = None
        self.node = Node(self._birth_config(epoch), self.dice.fork(f"boot {self.boots}"))
        self.clock.trace(self.name, "start", epoch.counter)
        tables = {name: dict(rows_) for name, rows_ in self.disk.tables.items()}
        self._act(self.node.load(tables, self.clock.now))

    def _birth_config(self, epoch: Epoch) -> NodeConfig:
        return evolve(self._birth(self), epoch=epoch)

    def crash(self) -> None:
        """Kill the process and whatever its disk had not finished."""
        if self.node is None:
            return
        self.clock.trace(self.name, "crash")
        self.node = None
        self.paused_until = 0.0  # what stood still is gone: its successor runs
        self.disk.crash()
        self.network.host_died(self)

    def pause(self, seconds: float) -> None:
        """Let the process stand still: everything that reaches it waits."""
        self.paused_until = max(self.paused_until, self.clock.now + seconds)

    # --- the world reaches the process ---------------------------------------------------

    def command(self, command: Command) -> None:
        """Give the node a command."""
        self._deliver(self.boots, command)

    def link_opened(self, link: int, hello: Hello, direction: Direction, address: str) -> None:
        """A link is up."""
        event = LinkOpened(link, hello, direction, address, "sim", True)
        self._deliver(self.boots, event)

    def link_closed(self, boots: int, link: int, reason: str) -> None:
        """A link is gone."""
        self._deliver(boots, LinkClosed(link, reason))

    def dial_failed(self, boots: int, address: str, reason: str, *, refused: bool) -> None:
        """A dial came to nothing."""
        self._deliver(boots, DialFailed(address, reason, refused))

    def frame_received(self, link: int, frame: bytes) -> None:
        """A frame arrived."""
        self._deliver(self.boots, FrameReceived(link, frame))

    def _deliver(self, boots: int, event: Event) -> None:
        if self.paused_until > self.clock.now:
            self.clock.at(self.paused_until, lambda: self._deliver(boots, event))
            return
        if self.node is None or boots != self.boots:
            return
        self.clock.trace(self.name, _fingerprint(event))
        self._act(self.node.handle(event, self.clock.now))

    def _tick(self, boots: int, when: float) -> None:
        if self.paused_until > self.clock.now:
            self.clock.at(self.paused_until, lambda: self._tick(boots, when))
            return
        if self.node is None or boots != self.boots or self._wake_at != when:
            return
        self._wake_at = None
        self.clock.trace(self.name, "tick")
        self._act(self.node.handle_timeout(self.clock.now))

    # --- performing ----------------------------------------------------------------------

    def _act(self, effects: list[Effect]) -> None:
        moved = any(isinstance(effect, Persist | Changed | Reply) for effect in effects)
        self._perform(effects)
        self.on_step(self, Step.STATE if moved else Step.TALK)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if effect.after > self._persisted:
                self._held.append(effect)
            else:
                self._perform_one(effect)
        self._arm()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Send():
                self.network.send(self, effect.link, effect.frame)
            case Dial():
                self.network.dial(self, effect.address)
            case CloseLink():
                link, reason = effect.link, effect.reason
                self.clock.after(0.0, lambda: self.network.close(self, link, reason))
            case Persist():
                boots, watermark = self.boots, effect.watermark
                self.disk.write(effect.rows, lambda: self._persist_done(boots, watermark))
            case Reply():
                self.on_reply(self, effect)
            case _:
                pass  # Changed and Notice are for people; the checkers read the node itself

    def _persist_done(self, boots: int, watermark: int) -> None:
        if self.paused_until > self.clock.now:
            self.clock.at(self.paused_until, lambda: self._persist_done(boots, watermark))
            return
        if boots != self.boots or self.node is None:
            return
        self._persisted = watermark
        ready = [effect for effect in self._held if effect.after <= watermark]
        self._held = [effect for effect in self._held if effect.after > watermark]
        for effect in ready:
            self._perform_one(effect)
        self._deliver(boots, Persisted(watermark))

    def _arm(self) -> None:
        if self.node is None:
            raise InternalError("only a running process arms its alarm")
        deadline = self.node.next_deadline()
        if deadline is None:
            self._wake_at = None
            return
        when = max(deadline, self.clock.now)
        if self._wake_at is None or when != self._wake_at:
            self._wake_at = when
            boots = self.boots
            self.clock.at(when, lambda: self._tick(boots, when))


def _fingerprint(event: Event) -> str:
    if isinstance(event, FrameReceived):
        return f"frame {event.link} {event.frame.hex()}"
    if isinstance(event, LinkOpened):
        return f"open {event.link} {event.hello.peer} {event.direction.value}"
    return repr(event)
