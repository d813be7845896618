"""tcp://HOST:PORT, with HOST a name, an IPv4 address or a bracketed IPv6 address."""

from __future__ import annotations

import socket

import trio

from meshcrdt.base.hosts import split_host_port
from meshcrdt.errors import DialError, ListenError, UsageError
from meshcrdt.transports.framing import StreamLink
from meshcrdt.transports.reasons import reason_of
from meshcrdt.transports.sockets import SocketListener

SCHEME = "tcp"
BACKLOG = 1_024

UNRESOLVED = (OSError, UnicodeError)
"""What a host raises that cannot be reached, or cannot even be spelled in DNS (IDNA)."""


class TcpTransport:
    """Frames over TCP. Delays are switched off: frames are small and someone waits for them."""

    async def listen(self, url: str, *, frame_bytes_max: int) -> SocketListener:
        """Bind and listen; port 0 takes a free one, shown in the listener's address.

        One socket a URL: a name that means several addresses binds the first, IPv4 before
        IPv6. Raises ListenError and UsageError as `meshcrdt.abc.Transport` says.
        """
        host, port = parse(url, port_min=0)
        try:
            bound = await _bind(host, port)
        except UNRESOLVED as error:
            raise ListenError(f"cannot listen on {url}: {reason_of(error)}") from error

        def link(stream: trio.SocketStream) -> StreamLink:
            return _link(stream, frame_bytes_max)

        return SocketListener(
            trio.SocketListener(bound), address=_url(bound.getsockname()), link=link
        )

    async def dial(self, url: str, *, frame_bytes_max: int) -> StreamLink:
        """Connect to whichever address of the host answers first (RFC 8305).

        Raises DialError and UsageError as `meshcrdt.abc.Transport` says.
        """
        host, port = parse(url, port_min=1)
        try:
            stream = await trio.open_tcp_stream(host, port)
        except UNRESOLVED as error:
            raise DialError(f"cannot connect to {url}: {reason_of(error)}") from error
        return StreamLink(stream, remote=url, transport=SCHEME, frame_bytes_max=frame_bytes_max)


def parse(url: str, *, port_min: int) -> tuple[str, int]:
    """Return host and port of a tcp URL; raises UsageError naming the URL."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() != SCHEME:
        raise UsageError(f"{url!r} is not a tcp URL: tcp://HOST:PORT is accepted")
    host, port = split_host_port(rest.rstrip("/"), default_port=-1, source=SCHEME)
    if port < port_min:
        raise UsageError(f"{url!r} names no usable port: tcp://HOST:PORT is accepted")
    return host, port


async def _bind(host: str, port: int) -> trio.socket.SocketType:
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = trio.socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Otherwise [::] would take the IPv4 port too, and 0.0.0.0 beside it would fail.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await bound.bind(address)
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _link(stream: trio.SocketStream, frame_bytes_max: int) -> StreamLink:
    remote = _url(stream.socket.getpeername())
    return StreamLink(stream, remote=remote, transport=SCHEME, frame_bytes_max=frame_bytes_max)


def _url(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[0], address[1]
    return f"{SCHEME}://[{host}]:{port}" if ":" in host else f"{SCHEME}://{host}:{port}"
