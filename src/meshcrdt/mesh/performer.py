"""Performs effects: one function per effect, in order, and none of them waits."""

from __future__ import annotations

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
    Writable,
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

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect, in order."""
        for effect in effects:
            self._do(effect)

    def store_failed(self, reason: str) -> None:
        """Tell who waits for a disk that will not answer."""
        self._requests.fail_all(StoreError(f"the store failed: {reason}"))

    def _do(self, effect: Effect) -> None:
        match effect:
            case Writable():
                self._wake(effect)
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

    def _wake(self, effect: Writable) -> None:
        # A link that ended a moment ago is the world's news, which the node has yet to hear.
        pump = self._pumps.get(effect.link)
        if pump is not None:
            pump.wake()

    def _close_link(self, effect: CloseLink) -> None:
        pump = self._pumps.get(effect.link)
        if pump is not None:
            pump.close(effect.reason)
