"""What operators want to know, one line each: kept for a while, and watched."""

from __future__ import annotations

from collections import deque

import trio

from meshcrdt.errors import ClosedError
from meshcrdt.mesh.signals import Signal
from meshcrdt.mesh.watch import Lost
from meshcrdt.node.effects import Notice


class NoticeWatch:
    """One watcher of notices: an async iterator of Notice and Lost."""

    def __init__(self, queue_max: int) -> None:
        self._queue: deque[Notice] = deque()
        self._queue_max = queue_max
        self._lost = 0
        self._more = Signal()
        self._closed = False

    def __aiter__(self) -> NoticeWatch:
        return self

    async def __anext__(self) -> Notice | Lost:
        while not (self._lost or self._queue or self._closed):
            await self._more.wait()
        await trio.lowlevel.checkpoint()
        if self._lost:
            lost, self._lost = self._lost, 0
            return Lost(lost)
        if self._queue:
            return self._queue.popleft()
        raise StopAsyncIteration

    def push(self, notice: Notice) -> None:
        """Take a notice; the oldest give way."""
        self._queue.append(notice)
        if len(self._queue) > self._queue_max:
            self._queue.popleft()
            self._lost += 1
        self._more.set()

    def close(self) -> None:
        """End the iteration after what is queued."""
        self._closed = True
        self._more.set()


class NoticeBoard:
    """What operators want to know: the latest notices, and whoever watches for more."""

    KEPT_MAX = 64

    def __init__(self, queue_max: int) -> None:
        self._queue_max = queue_max
        self._watchers: set[NoticeWatch] = set()
        self._is_closed = False
        self.latest: deque[Notice] = deque(maxlen=self.KEPT_MAX)

    def post(self, notice: Notice) -> None:
        """Keep a notice and tell the watchers."""
        self.latest.append(notice)
        for watcher in self._watchers:
            watcher.push(notice)

    def open(self) -> NoticeWatch:
        """Add a watcher, which first gets the latest notices; give it back with `shut`.

        Raises ClosedError after `close`: nothing would end it.
        """
        if self._is_closed:
            raise ClosedError("the mesh is closed")
        watcher = NoticeWatch(self._queue_max)
        for notice in self.latest:
            watcher.push(notice)
        self._watchers.add(watcher)
        return watcher

    def shut(self, watcher: NoticeWatch) -> None:
        """Remove a watcher."""
        watcher.close()
        self._watchers.discard(watcher)

    def close(self) -> None:
        """End every watch after what is queued, and take no new one."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.close()
