"""Performs effects: one function per effect, and none of them waits.

An effect that needs the disk waits here until its watermark has come back in through the
door; one that does not never queues behind it (finding F15).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import assert_never

from meshcrdt.errors import StoreError
from meshcrdt.mesh.notices import NoticeBoard
from meshcrdt.mesh.pump import Pump
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.storekeeper import Storekeeper
from meshcrdt.mesh.watch import WatchHub
from meshcrdt.node.effects import (
    Changed,
    CloseLink,
    Dial,
    Effect,
    Notice,
    Persist,
    Reply,
    Send,
)


class Performer:
    """The hands of one mesh."""

    def __init__(
        self,
        *,
        pumps: dict[int, Pump],
        dial: Callable[[str], None],
        storekeeper: Storekeeper,
        requests: Requests,
        watches: WatchHub,
        notices: NoticeBoard,
    ) -> None:
        self._pumps = pumps
        self._dial = dial
        self._storekeeper = storekeeper
        self._requests = requests
        self._watches = watches
        self._notices = notices
        self._persisted = 0
        self._waiting: list[tuple[int, int, Effect]] = []
        self._order = itertools.count()

    @property
    def waiting(self) -> int:
        """How many effects wait for the disk."""
        return len(self._waiting)

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect now, or keep it until what it needs is on disk."""
        for effect in effects:
            if effect.after > self._persisted:
                heapq.heappush(self._waiting, (effect.after, next(self._order), effect))
            else:
                self._do(effect)

    def persisted(self, watermark: int) -> None:
        """Do what waited for the disk up to this watermark, in order."""
        self._persisted = max(self._persisted, watermark)
        while self._waiting and self._waiting[0][0] <= self._persisted:
            self._do(heapq.heappop(self._waiting)[2])

    def store_failed(self, reason: str) -> None:
        """Let go of what waits for a disk that will not answer, and tell who waits for it."""
        self._waiting.clear()
        self._requests.fail_all(StoreError(f"the store failed: {reason}"))

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case CloseLink():
                self._close_link(effect)
            case Dial():
                self._dial(effect.address)
            case Persist():
                self._storekeeper.enqueue(effect)
            case Reply():
                self._requests.answer(effect.request, effect.outcome)
            case Changed():
                self._watches.changed(effect.channel, effect.keys)
            case Notice():
                self._notices.post(effect)
            case _:
                assert_never(effect)

    def _send(self, effect: Send) -> None:
        # A link that ended a moment ago is the world's news, which the node has yet to hear.
        pump = self._pumps.get(effect.link)
        if pump is not None:
            pump.send(effect.frame)

    def _close_link(self, effect: CloseLink) -> None:
        pump = self._pumps.get(effect.link)
        if pump is not None:
            pump.close(effect.reason)
