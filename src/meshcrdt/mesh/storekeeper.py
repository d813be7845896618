"""What writes to the store: in order, and several batches in one transaction.

While a batch is at the disk others gather; they go together in the next transaction, so
the number of fsyncs follows the disk and not the number of writes (group commit).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from meshcrdt.abc import Row, Store
from meshcrdt.mesh.reasons import reason_of
from meshcrdt.mesh.signals import Signal
from meshcrdt.node.effects import Persist
from meshcrdt.node.events import Event, Persisted, StoreFailed

GROUP_ROWS_MAX = 4_096
"""A group stops growing here, so that what waits for its first batch does not wait long."""


class Storekeeper:
    """Turns `Persist` effects into `Persisted` events."""

    def __init__(self, store: Store, inbox: trio.MemorySendChannel[Event]) -> None:
        self._store = store
        self._inbox = inbox
        self._queue: deque[Persist] = deque()
        self._writing = trio.Lock()
        self._more = Signal()
        self._idle = trio.Event()
        self._idle.set()
        self.transactions = 0
        self.batches = 0
        self.failure: str | None = None

    def enqueue(self, effect: Persist) -> None:
        """Take a batch; nothing is taken any more after a failure."""
        if self.failure is not None:
            return
        self._queue.append(effect)
        if self._idle.is_set():
            self._idle = trio.Event()
        self._more.set()

    async def wait_idle(self) -> None:
        """Return when everything taken so far is on disk, or the store has failed."""
        await self._idle.wait()

    async def write(self, rows: Sequence[Row]) -> None:
        """Write rows of the shell's own, after everything taken so far; raises StoreError."""
        await self.wait_idle()
        async with self._writing:
            await self._store.write(rows)

    async def run(self) -> None:
        """Write until the store fails or the task is cancelled."""
        while True:
            await self._more.wait()
            while self._queue:
                watermark, rows, batches = self._gather()
                try:
                    async with self._writing:
                        await self._store.write(rows)
                except Exception as error:
                    # A store may be anyone's code: whatever it raises means the same here.
                    self.failure = reason_of(error)
                    self._queue.clear()
                    self._idle.set()
                    await self._inbox.send(StoreFailed(self.failure))
                    return
                self.transactions += 1
                self.batches += batches
                await self._inbox.send(Persisted(watermark))
            self._idle.set()

    def _gather(self) -> tuple[int, list[Row], int]:
        """Take as many whole batches, oldest first, as one transaction should hold.

        Returns the last watermark, the rows, and the number of batches.
        """
        first = self._queue.popleft()
        watermark, rows, batches = first.watermark, list(first.rows), 1
        while self._queue and len(rows) + len(self._queue[0].rows) <= GROUP_ROWS_MAX:
            batch = self._queue.popleft()
            watermark = batch.watermark
            rows += batch.rows
            batches += 1
        return watermark, rows, batches
