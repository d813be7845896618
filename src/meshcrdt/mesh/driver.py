"""The only task that gives the node events: event in, effects out, sleep until the deadline.

The writers of links pull frames between its turns. Nothing here waits for anything but the
inbox and the clock. The clock is trio's, so a test's virtual clock drives everything.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from meshcrdt.abc import Instrument
from meshcrdt.base.ids import INSTANCE_BYTES
from meshcrdt.mesh.performer import Performer
from meshcrdt.mesh.standstill import Standstill
from meshcrdt.node.effects import Effect
from meshcrdt.node.events import Event, Resumed, StoreFailed

if TYPE_CHECKING:
    from meshcrdt.node.node import Node

INBOX_EVENTS_MAX = 256
"""Events that wait for the node; readers stop reading when it is full."""

EVENTS_PER_TURN_MAX = 32
"""Events that are handled before other tasks get their turn."""

TIMEOUT_PAUSE_S = 0.001
"""The least time between two timeouts: a deadline in the past must not starve events."""


DEADLINE = "deadline"
"""What an instrument is told instead of an event when the node's deadline passed."""

log = logging.getLogger("meshcrdt.mesh")


class Driver:
    """Owns the node of one mesh."""

    def __init__(
        self,
        node: Node,
        inbox: trio.MemoryReceiveChannel[Event],
        performer: Performer,
        *,
        instrument: Instrument | None = None,
        after_turn: Callable[[], None] = lambda: None,
        standstill: Standstill | None = None,
    ) -> None:
        self._node = node
        self._inbox = inbox
        self._performer = performer
        self._instrument = instrument
        self._after_turn = after_turn
        self._standstill = standstill

    def begin(self, effects: list[Effect]) -> None:
        """Perform the effects of `node.load`."""
        self._performer.perform(effects)
        self._after_turn()

    async def run(self) -> None:
        """Drive until cancelled."""
        earliest = 0.0
        while True:
            event = await self._next_event(earliest)
            if event is None:
                earliest = self._handle_deadline() + TIMEOUT_PAUSE_S
            else:
                self._handle(event)
                self._handle_queued()
            self._after_turn()

    async def _next_event(self, earliest: float) -> Event | None:
        """Return the next event, or None when the node's deadline passes first."""
        deadline = self._node.next_deadline()
        if (
            deadline is not None
            and deadline <= trio.current_time()
            and (earliest <= trio.current_time())
        ):
            await trio.lowlevel.checkpoint()
            return None
        wake_at = float("inf") if deadline is None else max(deadline, earliest)
        with trio.CancelScope(deadline=wake_at):
            return await self._inbox.receive()
        return None

    def _handle_queued(self) -> None:
        """Take what else is there, without a detour through the scheduler for each."""
        for _ in range(EVENTS_PER_TURN_MAX - 1):
            try:
                event = self._inbox.receive_nowait()
            except trio.WouldBlock:
                return
            self._handle(event)

    def _handle_deadline(self) -> float:
        self._look_for_standstill()
        now = trio.current_time()
        self._tell_before(DEADLINE, now)
        effects = self._node.handle_timeout(now)
        self._performer.perform(effects)
        self._tell_after(DEADLINE, effects, now)
        return now

    def _handle(self, event: Event) -> None:
        self._look_for_standstill()
        self._turn(event)

    def _look_for_standstill(self) -> None:
        """Tell the node of a suspend before anything that came after it."""
        gap_s = 0.0 if self._standstill is None else self._standstill.gap_s()
        if gap_s:
            self._turn(Resumed(gap_s, secrets.token_bytes(INSTANCE_BYTES)))

    def _turn(self, event: Event) -> None:
        now = trio.current_time()
        self._tell_before(event, now)
        effects = self._node.handle(event, now)
        self._performer.perform(effects)
        if isinstance(event, StoreFailed):
            self._performer.store_failed(event.reason)
        self._tell_after(event, effects, now)

    def _tell_before(self, event: object, now: float) -> None:
        if self._instrument is not None:
            try:
                self._instrument.before_handle(event, now)
            except Exception:
                self._drop_instrument()

    def _tell_after(self, event: object, effects: Sequence[object], now: float) -> None:
        if self._instrument is not None:
            try:
                self._instrument.after_handle(event, effects, now)
            except Exception:
                self._drop_instrument()

    def _drop_instrument(self) -> None:
        """Who only looks on may not break what it looks at."""
        self._instrument = None
        log.exception("the instrument raised: it is called no more")
