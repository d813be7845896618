"""What tcp and unix share: a listener over one socket."""

from __future__ import annotations

import errno
from collections.abc import Callable

import trio

from meshcrdt.errors import ClosedError
from meshcrdt.transports.framing import StreamLink

FULL_PAUSE_S = 0.1
"""How long accepting rests when the process has no descriptor left."""

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class SocketListener:
    """A `meshcrdt.abc.Listener` over one bound socket."""

    def __init__(
        self,
        listener: trio.SocketListener,
        *,
        address: str,
        link: Callable[[trio.SocketStream], StreamLink],
        cleanup: Callable[[], None] | None = None,
    ) -> None:
        self._listener = listener
        self._address = address
        self._link = link
        self._cleanup = cleanup

    @property
    def address(self) -> str:
        """The bound URL."""
        return self._address

    async def accept(self) -> StreamLink:
        """Return the next link. A peer that is gone before it is accepted is passed over.

        When the process or the machine has no descriptor to give, the connection waits
        in the kernel's queue: refusing callers to come would punish the wrong ones.
        """
        while True:
            try:
                stream = await self._listener.accept()
            except trio.ClosedResourceError:
                raise ClosedError(f"listener {self._address} is closed") from None
            except OSError as error:
                await trio.sleep(FULL_PAUSE_S if error.errno in _FULL else 0)
                continue
            try:
                return self._link(stream)
            except OSError:
                await trio.aclose_forcefully(stream)

    async def aclose(self) -> None:
        """Stop listening; idempotent."""
        cleanup, self._cleanup = self._cleanup, None
        try:
            if cleanup is not None:
                cleanup()
        finally:
            await trio.aclose_forcefully(self._listener)
