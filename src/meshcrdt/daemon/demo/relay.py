"""TCP relays that can stop forwarding: the cut cable between two daemons of the demo."""

from __future__ import annotations

import trio

CHUNK_BYTES = 65_536


class Relay:
    """Forwards connections from one loopback port to another, while it is open.

    Cut, it is a black hole: connections stay up and new ones are accepted, but no byte
    passes, as behind a failed switch. Both ends have to notice by silence.
    """

    def __init__(self, listener: trio.SocketListener, target_port: int) -> None:
        self._listener = listener
        self._target_port = target_port
        self._open = trio.Event()
        self._open.set()

    @classmethod
    async def start(cls, nursery: trio.Nursery, target_port: int) -> Relay:
        """Listen on a free port of 127.0.0.1 and forward to `target_port`."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        relay = cls(listener, target_port)
        nursery.start_soon(trio.serve_listeners, relay._serve, [listener])
        return relay

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"tcp://127.0.0.1:{self._listener.socket.getsockname()[1]}"

    def cut(self) -> None:
        """Let nothing pass any more."""
        self._open = trio.Event()

    def heal(self) -> None:
        """Let everything pass again, also what waited."""
        self._open.set()

    async def _serve(self, caller: trio.SocketStream) -> None:
        await self._open.wait()
        try:
            called = await trio.open_tcp_stream("127.0.0.1", self._target_port)
        except OSError:
            await caller.aclose()
            return
        async with caller, called, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, caller, called, nursery.cancel_scope)
            nursery.start_soon(self._pump, called, caller, nursery.cancel_scope)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                await self._open.wait()
                await sink.send_all(data)
        except trio.BrokenResourceError:
            # One end was reset; the other is told by closing both.
            pass
        scope.cancel()
