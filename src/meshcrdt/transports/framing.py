"""Frames over a byte stream: the one Link that every stream transport shares.

Errors of the world are mapped here and nowhere else, so that no caller ever meets an
OSError or a trio error of a particular transport. A frame travels behind its length
(4 bytes, big-endian; `wire.frames`), and a length above the limit ends the link before
anything is allocated for it.
"""

from __future__ import annotations

from collections import deque

import trio

from meshcrdt.errors import (
    CapacityError,
    ClosedError,
    LinkClosed,
    LinkError,
    RemoteProtocolError,
)
from meshcrdt.transports.reasons import reason_of
from meshcrdt.wire.frames import PREFIX_BYTES, FrameSplitter, prefix

READ_BYTES = 64 * 1024


class StreamLink:
    """A `meshcrdt.abc.Link` over any trio stream.

    One sender and one receiver at a time, each in its own task.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, remote: str, transport: str, frame_bytes_max: int
    ) -> None:
        self._stream = stream
        self._remote = remote
        self._transport = transport
        self._frame_bytes_max = frame_bytes_max
        self._splitter = FrameSplitter(frame_bytes_max)
        self._ready: deque[bytes] = deque()
        self._buffer_bytes_max = frame_bytes_max
        self._closed = False
        self._broken: str | None = None

    @property
    def remote(self) -> str:
        """The URL of the other end as seen here."""
        return self._remote

    @property
    def transport(self) -> str:
        """The scheme."""
        return self._transport

    def bound_receive(self, frame_bytes_max: int | None) -> None:
        """Accept only smaller frames for now, or (None) those of the full size again.

        A stranger may not make us keep a large frame before it has proved who it is.
        """
        limit = self._frame_bytes_max if frame_bytes_max is None else frame_bytes_max
        self._buffer_bytes_max = min(limit, self._frame_bytes_max)

    async def send(self, frame: bytes) -> None:
        """Send one frame whole; see `meshcrdt.abc.Link.send`.

        Raises CapacityError, with the link as it was, for a frame above the limit.
        """
        if len(frame) > self._frame_bytes_max:
            raise CapacityError(
                f"a frame of {len(frame)} bytes is above frame_bytes_max={self._frame_bytes_max}"
            )
        self._check_usable()
        try:
            await self._stream.send_all(prefix(frame) + frame)
        except trio.ClosedResourceError:
            raise ClosedError(f"link to {self._remote} is closed") from None
        except (trio.BrokenResourceError, OSError) as error:
            raise self._break(f"link to {self._remote} broke: {reason_of(error)}") from error
        except BaseException:
            # Cancelled perhaps midway: what the other end has is half a frame, and the next
            # one would be read as the rest of it. So there is no next one.
            self._broken = f"link to {self._remote} broke: a send was cancelled"
            await trio.aclose_forcefully(self._stream)
            raise

    async def receive(self) -> bytes:
        """Return the next frame; see `meshcrdt.abc.Link.receive`."""
        while not self._ready:
            self._check_usable()
            try:
                data = await self._stream.receive_some(
                    min(READ_BYTES, PREFIX_BYTES + self._buffer_bytes_max)
                )
            except trio.ClosedResourceError:
                self._check_usable()
                raise ClosedError(f"link to {self._remote} is closed") from None
            except (trio.BrokenResourceError, OSError) as error:
                raise self._break(f"link to {self._remote} broke: {reason_of(error)}") from error
            if not data:
                raise self._ended()
            self._take(bytes(data))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close at once; idempotent, and done also while cancelled."""
        self._closed = True
        self._ready.clear()
        await trio.aclose_forcefully(self._stream)

    def _take(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except RemoteProtocolError as error:
            self._broken = f"link to {self._remote} broke the framing: {error}"
            raise RemoteProtocolError(self._broken) from error
        kept = self._splitter.statistics().buffered_bytes - PREFIX_BYTES
        largest = max((len(frame) for frame in frames), default=0)
        if max(kept, largest) > self._buffer_bytes_max:
            self._broken = (
                f"link to {self._remote} sent a frame above {self._buffer_bytes_max} bytes"
            )
            raise RemoteProtocolError(self._broken)
        self._ready.extend(frames)

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError(f"link to {self._remote} is closed")
        if self._broken is not None:
            raise LinkError(self._broken)

    def _ended(self) -> LinkError:
        if not self._splitter.is_empty:
            return self._break(f"link to {self._remote} ended in the middle of a frame")
        return LinkClosed(f"{self._remote} closed the link")

    def _break(self, reason: str) -> LinkError:
        self._broken = reason
        return LinkError(reason)
