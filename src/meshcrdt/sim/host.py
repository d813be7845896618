"""One simulated host: a disk, a process that may die, and a performer of effects.

The performer here is the trio shell's twin: the same effects, and frames that are pulled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol

from attrs import evolve

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.errors import InternalError
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.durable import next_epoch, read_genesis, store_nonce
from meshcrdt.node.effects import Changed, CloseLink, Dial, Effect, Persist, Reply, Writable
from meshcrdt.node.events import (
    Command,
    DialFailed,
    Event,
    FrameReceived,
    LinkClosed,
    LinkOpened,
    Persisted,
    StoreFailed,
)
from meshcrdt.node.node import Node
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.disk import Disk
from meshcrdt.sim.trace import Recorder
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity

MOVES = (Persist, Changed, Reply)
"""Effects of a turn that moved state."""


class Step(Enum):
    """What a turn of the node did: only talk, or move state that the checkers look at."""

    TALK = "talk"
    STATE = "state"


class Wire(Protocol):
    """What a host does with the network; `sim.network.Network` is one."""

    def dial(self, source: Host, address: str) -> None:
        """Try to connect; the source hears LinkOpened or DialFailed."""

    def writable(self, source: Host, link: int) -> None:
        """Pull frames of a link as it has room, until there is none."""

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
        self.on_store_failed: Callable[[Host], None] = lambda host: None
        self.on_changed: Callable[[Host, Changed], None] | None = None
        """Told which keys this host began to see otherwise, while the turn goes on."""
        self.recorder: Recorder | None = None
        """Writes down every turn."""
        self.hearing: int | None = None
        """The link whose frame this turn is about."""
        self.ahead_s = 0.0
        """How far this host's clock is ahead of the world's; only ever grows."""
        self.dishonest = False
        """True once its disk lost what it had confirmed: its own promises are void."""
        self.quiet = False
        """True while its users ask nothing of it."""
        self.frames_sent = 0
        self.bytes_sent = 0
        self.well_since = 0.0
        """Since when it runs without a pause."""
        self.gone = False
        """True once it was killed, or left, for good."""
        self._birth = birth
        self._wake_at: float | None = None

    # --- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Boot the process from what the disk holds."""
        self.boots += 1
        self.well_since = self.clock.now
        epoch, rows = next_epoch(
            self.disk.tables, self.dice.fork(f"instance {self.boots}").raw(INSTANCE_BYTES)
        )
        self.genesis = self.genesis or read_genesis(self.disk.tables)
        nonce, nonce_rows = store_nonce(
            self.disk.tables,
            self.dice.fork(f"store {self.boots}").raw(STORE_NONCE_BYTES),
            self.genesis,
        )
        # Written and fsynced before the process says anything.
        self.disk.apply((*rows, *nonce_rows))
        self._wake_at = None
        dice = self.dice.fork(f"boot {self.boots}")
        config = self._birth_config(epoch, nonce)
        make = Node if self.recorder is None else partial(self.recorder.node, self.name)
        self.node = make(config, dice)
        self.clock.trace(self.name, "start", epoch.counter)
        tables = {name: dict(rows_) for name, rows_ in self.disk.tables.items()}
        self._act(self.node.load(tables, self.time()))

    def time(self) -> float:
        """Return what this host's clock shows; its node knows no other time."""
        return self.clock.now + self.ahead_s

    def jump(self, seconds: float) -> None:
        """Let its clock jump ahead, as after a suspend that the clock counted."""
        self.ahead_s += seconds
        self.clock.trace(self.name, "jump", seconds)
        if self.node is not None:
            self._wake_at = None
            self._arm()

    def _birth_config(self, epoch: Epoch, nonce: bytes) -> NodeConfig:
        return evolve(self._birth(self), epoch=epoch, store_nonce=nonce)

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
        self.well_since = self.paused_until

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
            self.clock.at(self.paused_until, self._deliver, boots, event)
            return
        if self.node is None or boots != self.boots:
            return
        if self.clock.tracing:
            self.clock.trace(self.name, _fingerprint(event))
        if isinstance(event, StoreFailed):
            self.on_store_failed(self)
        self.hearing = event.link if isinstance(event, FrameReceived) else None
        self._act(self.node.handle(event, self.time()))
        self.hearing = None

    def _tick(self, boots: int, when: float) -> None:
        if self.paused_until > self.clock.now:
            self.clock.at(self.paused_until, self._tick, boots, when)
            return
        if self.node is None or boots != self.boots or self._wake_at != when:
            return
        self._wake_at = None
        deadline = self.node.next_deadline()
        if deadline is None or deadline > self.time():
            self._arm()  # what the alarm was set for is done, or put off
            return
        self.clock.trace(self.name, "tick")
        self._act(self.node.handle_timeout(self.time()))

    # --- performing ----------------------------------------------------------------------

    def _act(self, effects: list[Effect]) -> None:
        self._perform(effects)
        moved = any(type(effect) in MOVES for effect in effects)
        self.on_step(self, Step.STATE if moved else Step.TALK)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._perform_one(effect)
        self._arm()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Writable():
                self.network.writable(self, effect.link)
            case Dial():
                self.network.dial(self, effect.address)
            case CloseLink():
                link, reason = effect.link, effect.reason
                self.clock.after(0.0, self.network.close, self, link, reason)
            case Persist():
                boots, done = self.boots, Persisted(effect.watermark)
                self.disk.write(
                    effect.rows,
                    lambda: self._deliver(boots, done),
                    lambda reason: self._deliver(boots, StoreFailed(reason)),
                )
            case Reply():
                self.on_reply(self, effect)
            case Changed() if self.on_changed is not None:
                self.on_changed(self, effect)
            case _:
                pass  # Changed and Notice are for people; the checkers read the node itself

    def _arm(self) -> None:
        if self.node is None:
            raise InternalError("only a running process arms its alarm")
        deadline = self.node.next_deadline()
        if deadline is None:
            return
        when = max(deadline - self.ahead_s, self.clock.now)
        while when + self.ahead_s < deadline:  # the host's clock rounds: never ring too early
            when = math.nextafter(when, math.inf)
        # An alarm that rings too early is set anew then: cheaper than one for each event.
        if self._wake_at is None or when < self._wake_at:
            self._wake_at = when
            self.clock.at(when, self._tick, self.boots, when)


def _fingerprint(event: Event) -> str:
    if isinstance(event, FrameReceived):
        return f"frame {event.link} {event.frame.hex()}"
    if isinstance(event, LinkOpened):
        return f"open {event.link} {event.hello.peer} {event.direction.value}"
    return repr(event)
