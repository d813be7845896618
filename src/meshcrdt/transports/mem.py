"""mem://NAME: links inside one process, for tests and for many nodes in one program.

They carry bytes through the same framing as every other transport, so that nothing works
here that would not work over a wire. Names live as long as one `trio.run`: two runs in
one process, such as parallel tests in threads, never meet. `mem://` takes a free name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import trio
from attrs import define, field

from meshcrdt.errors import ClosedError, DialError, ListenError, UsageError
from meshcrdt.transports.framing import StreamLink

SCHEME = "mem"
WRITES_IN_FLIGHT_MAX = 64
BACKLOG = 256


class MemTransport:
    """Frames over bounded queues of bytes."""

    async def listen(self, url: str, *, frame_bytes_max: int) -> MemListener:
        """Take a name; raises ListenError when it is taken, UsageError for a bad URL."""
        name = parse(url)
        world = _world()
        await trio.lowlevel.checkpoint()
        if not name:
            name = next(f"free-{n}" for n in world.numbers if f"free-{n}" not in world.listeners)
        if name in world.listeners:
            raise ListenError(f"cannot listen on {url}: the name is taken")
        listener = MemListener(world, name, frame_bytes_max=frame_bytes_max)
        world.listeners[name] = listener
        return listener

    async def dial(self, url: str, *, frame_bytes_max: int) -> StreamLink:
        """Connect; raises DialError when nobody has the name, UsageError for a bad URL."""
        name = parse(url)
        world = _world()
        await trio.lowlevel.checkpoint()
        listener = world.listeners.get(name)
        if not name or listener is None:
            raise DialError(f"cannot connect to {url}: nobody listens there")
        ours, theirs = _pipe_pair()
        caller = f"{SCHEME}://dialler-{next(world.numbers)}"
        if not listener.offer(theirs, caller):
            raise DialError(f"cannot connect to {url}: its queue of callers is full")
        return StreamLink(ours, remote=url, transport=SCHEME, frame_bytes_max=frame_bytes_max)


class MemListener:
    """A `meshcrdt.abc.Listener` on a name."""

    def __init__(self, world: _World, name: str, *, frame_bytes_max: int) -> None:
        self._world = world
        self._name = name
        self._frame_bytes_max = frame_bytes_max
        self._put, self._take = trio.open_memory_channel[tuple["_Pipe", str]](BACKLOG)

    @property
    def address(self) -> str:
        """The URL to dial."""
        return f"{SCHEME}://{self._name}"

    def offer(self, stream: _Pipe, caller: str) -> bool:
        """Queue one end of a new link; False when the queue is full or closed."""
        try:
            self._put.send_nowait((stream, caller))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def accept(self) -> StreamLink:
        """Return the next link; raises ClosedError after aclose."""
        try:
            stream, caller = await self._take.receive()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            raise ClosedError(f"listener {self.address} is closed") from None
        return StreamLink(
            stream, remote=caller, transport=SCHEME, frame_bytes_max=self._frame_bytes_max
        )

    async def aclose(self) -> None:
        """Give the name back and drop the callers that nobody accepted; idempotent."""
        if self._world.listeners.get(self._name) is self:
            del self._world.listeners[self._name]
        self._put.close()
        while True:
            try:
                stream, _ = self._take.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
            stream.close()
        self._take.close()
        await trio.lowlevel.cancel_shielded_checkpoint()


def parse(url: str) -> str:
    """Return the name in a mem URL, which may be empty; raises UsageError naming the URL."""
    scheme, separator, name = url.partition("://")
    if not separator or scheme.lower() != SCHEME or "/" in name or any(map(str.isspace, name)):
        raise UsageError(f"{url!r} is not a mem URL: mem://NAME is accepted")
    return name


@define
class _World:
    """The names of one `trio.run`."""

    listeners: dict[str, MemListener] = field(factory=dict)
    numbers: Iterator[int] = field(factory=lambda: itertools.count(1))


_current: trio.lowlevel.RunVar[_World] = trio.lowlevel.RunVar("meshcrdt.transports.mem")


def _world() -> _World:
    try:
        return _current.get()
    except LookupError:
        world = _World()
        _current.set(world)
        return world


class _Pipe(trio.abc.Stream):
    """One end of a bounded in-memory byte stream."""

    def __init__(
        self, out: trio.MemorySendChannel[bytes], into: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        self._out = out
        self._in = into
        self._left = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._out.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._left:
            await trio.lowlevel.checkpoint()
        else:
            try:
                self._left = await self._in.receive()
            except trio.EndOfChannel:
                return b""
        size = len(self._left) if max_bytes is None else max_bytes
        data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        self._out.close()
        self._in.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def _pipe_pair() -> tuple[_Pipe, _Pipe]:
    there_put, there_take = trio.open_memory_channel[bytes](WRITES_IN_FLIGHT_MAX)
    back_put, back_take = trio.open_memory_channel[bytes](WRITES_IN_FLIGHT_MAX)
    return _Pipe(there_put, back_take), _Pipe(back_put, there_take)
