"""unix:///path/to/socket: frames between processes of one host."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable

import trio

from meshcrdt.errors import DialError, ListenError, UsageError
from meshcrdt.transports.framing import StreamLink
from meshcrdt.transports.reasons import reason_of
from meshcrdt.transports.sockets import SocketListener

SCHEME = "unix"
SOCKET_MODE = 0o660
BACKLOG = 1_024


class UnixTransport:
    """Frames over Unix stream sockets."""

    async def listen(self, url: str, *, frame_bytes_max: int) -> SocketListener:
        """Bind and listen. A socket file that nobody answers on is replaced; a live one is not.

        The file is removed when the listener closes. Raises ListenError and UsageError
        as `meshcrdt.abc.Transport` says.
        """
        path = parse(url)
        try:
            await _clear(path)
            bound = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # On the descriptor and before the file exists: there is no moment at which
                # the socket is open to everyone.
                os.fchmod(bound.fileno(), SOCKET_MODE)
                await bound.bind(path)
                bound.listen(BACKLOG)
                created = os.stat(path)
            except BaseException:
                bound.close()
                raise
        except OSError as error:
            raise ListenError(f"cannot listen on {url}: {reason_of(error)}") from error

        def link(stream: trio.SocketStream) -> StreamLink:
            return StreamLink(stream, remote=url, transport=SCHEME, frame_bytes_max=frame_bytes_max)

        return SocketListener(
            trio.SocketListener(bound), address=url, link=link, cleanup=_remover(path, created)
        )

    async def dial(self, url: str, *, frame_bytes_max: int) -> StreamLink:
        """Connect; raises DialError and UsageError as `meshcrdt.abc.Transport` says."""
        path = parse(url)
        try:
            stream = await trio.open_unix_socket(path)
        except OSError as error:
            raise DialError(f"cannot connect to {url}: {reason_of(error)}") from error
        return StreamLink(stream, remote=url, transport=SCHEME, frame_bytes_max=frame_bytes_max)


def parse(url: str) -> str:
    """Return the path of a unix URL; raises UsageError naming the URL."""
    scheme, _, path = url.partition("://")
    if scheme.lower() != SCHEME or not path.startswith("/") or "\0" in path:
        raise UsageError(f"{url!r} is not a unix URL: unix:///absolute/path is accepted")
    if len(os.fsencode(path)) > 107:
        raise UsageError(f"{url!r} is too long: a socket path has at most 107 bytes")
    return path


async def _clear(path: str) -> None:
    """Remove a socket file that nobody answers on; raises OSError for anything else there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket")
    try:
        stream = await trio.open_unix_socket(path)
    except ConnectionRefusedError:
        os.unlink(path)
        return
    await trio.aclose_forcefully(stream)
    raise OSError("another process is listening there")


def _remover(path: str, created: os.stat_result) -> Callable[[], None]:
    """Return a function that removes the socket file, unless another one has its place.

    A file that cannot be removed (its directory is read-only by now, or gone) stays: the
    next listener on the path replaces it, and closing must not fail over it.
    """

    def remove() -> None:
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == (created.st_dev, created.st_ino):
                os.unlink(path)

    return remove
