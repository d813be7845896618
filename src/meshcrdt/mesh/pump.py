"""One established link at work: a reader task and a writer task.

The node never waits for a socket. The writer pulls one frame whenever the socket is free, so
what waits, waits in the node, where it gets less and not more. A link whose peer takes too
long for one frame is closed as stuck; the mesh dials again, and anti-entropy repairs what
was lost.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from meshcrdt.base.limits import Limits
from meshcrdt.mesh.links import SecureLink
from meshcrdt.mesh.reasons import reason_of
from meshcrdt.mesh.signals import Signal
from meshcrdt.node.events import Event, FrameReceived, LinkClosed, LinkOpened

FLUSH_TIMEOUT_S = 1.0
"""How long a link that is being closed may take to send what waits."""


class Pump:
    """Moves frames between one link and the node's inbox."""

    def __init__(
        self,
        number: int,
        link: SecureLink,
        *,
        limits: Limits,
        inbox: trio.MemorySendChannel[Event],
        next_frame: Callable[[int], bytes | None],
    ) -> None:
        self.number = number
        self._link = link
        self._limits = limits
        self._inbox = inbox
        self._next_frame = next_frame
        self._more = Signal()
        self._scope = trio.CancelScope()
        self._reason: str | None = None
        self._is_flushing = False
        self.done = trio.Event()

    def wake(self) -> None:
        """Note that there are frames to pull; never waits."""
        self._more.set()

    def close(self, reason: str) -> None:
        """Send what waits in the node, for a bounded time, then close."""
        if self._reason is None:
            self._reason = reason
            self._is_flushing = True
            self._scope.deadline = trio.current_time() + FLUSH_TIMEOUT_S
            self._more.set()

    async def run(self) -> None:
        """Announce the link, move frames until it ends, announce the end.

        Never raises for what the link or its peer does.
        """
        link = self._link
        try:
            await self._inbox.send(
                LinkOpened(
                    self.number,
                    link.hello,
                    link.direction,
                    link.address,
                    link.transport,
                    link.encrypted,
                )
            )
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._write)
        finally:
            self.done.set()
            await link.aclose()
        await self._inbox.send(LinkClosed(self.number, self._reason or "the link ended"))

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._link.receive()
                await self._inbox.send(FrameReceived(self.number, frame))
        except Exception as error:
            self._end(reason_of(error))

    async def _write(self) -> None:
        while True:
            while (frame := self._next_frame(self.number)) is not None:
                with trio.move_on_after(self._limits.send_timeout_s) as timeout:
                    try:
                        await self._link.send(frame)
                    except Exception as error:
                        self._end(reason_of(error))
                        return
                if timeout.cancelled_caught:
                    self._end(
                        f"stuck: a frame took longer than "
                        f"send_timeout_s={self._limits.send_timeout_s}"
                    )
                    return
            if self._is_flushing:
                self._scope.cancel()
                return
            await self._more.wait()

    def _end(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self._scope.cancel()
