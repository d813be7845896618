"""The name server's sockets: UDP and TCP loops on trio, bounded in connections and time."""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from meshcrdt.base.hosts import shown_host_port
from meshcrdt.daemon.dns.messages import respond
from meshcrdt.daemon.dns.zone import Zone
from meshcrdt.daemon.exits import CommandError

if TYPE_CHECKING:
    from socket import AddressFamily

_LOG = logging.getLogger("meshcrdt.dns")
CONNECTIONS_MAX = 64
IDLE_S = 5.0
_LENGTH_BYTES = 2


class DnsServer:
    """Serves a zone on one address, over UDP and TCP. Bound first, it gets its zone later."""

    def __init__(self, udp: trio.socket.SocketType, tcp: trio.SocketListener) -> None:
        self._udp = udp
        self._tcp = tcp
        self._connections = 0

    @property
    def address(self) -> str:
        """The bound address, with the real port where port 0 was asked."""
        return shown_host_port(*self._udp.getsockname()[:2])

    async def run(self, zone: Zone) -> None:
        """Serve until cancelled, then close."""
        zone = zone.served_at(self._udp.getsockname()[0])
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_udp, zone)
                serve_tcp = partial(self._serve_tcp, zone)
                nursery.start_soon(trio.serve_listeners, serve_tcp, [self._tcp])
        finally:
            self.close()

    def close(self) -> None:
        """Close both sockets at once."""
        self._udp.close()
        self._tcp.socket.close()

    async def _serve_udp(self, zone: Zone) -> None:
        while True:
            try:
                data, asker = await self._udp.recvfrom(4_096)
                response = respond(zone, data, over_tcp=False)
                if response is not None:
                    await self._udp.sendto(response, asker)
            except OSError as error:
                # An asker that has gone (ICMP) or a full buffer concerns one answer only.
                if error.errno == errno.EBADF:
                    raise
                _LOG.debug("one answer was not sent: %s", error)

    async def _serve_tcp(self, zone: Zone, stream: trio.SocketStream) -> None:
        if self._connections >= CONNECTIONS_MAX:
            await stream.aclose()
            return
        self._connections += 1
        try:
            async with stream:
                while await self._serve_one(zone, stream):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _LOG.debug("an asker broke its connection")
        finally:
            self._connections -= 1

    async def _serve_one(self, zone: Zone, stream: trio.SocketStream) -> bool:
        """Answer one query of a connection; False ends it (RFC 7766, section 6)."""
        with trio.move_on_after(IDLE_S):
            head = await _exactly(stream, _LENGTH_BYTES)
            data = await _exactly(stream, int.from_bytes(head, "big")) if head else b""
            response = respond(zone, data, over_tcp=True) if data else None
            if response is None:
                return False
            await stream.send_all(len(response).to_bytes(_LENGTH_BYTES, "big") + response)
            return True
        return False


async def _exactly(stream: trio.SocketStream, size_bytes: int) -> bytes:
    """Return exactly so many bytes, or b"" when the connection ends before."""
    data = b""
    while len(data) < size_bytes:
        chunk = await stream.receive_some(size_bytes - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


async def open_dns(host: str, port: int) -> DnsServer:
    """Bind one address for UDP and TCP. Raises CommandError naming it and the reason."""
    family: AddressFamily = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    udp = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
    tcp = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await udp.bind((host, port))
        tcp.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await tcp.bind((host, udp.getsockname()[1]))
        tcp.listen(CONNECTIONS_MAX)
    except OSError as error:
        udp.close()
        tcp.close()
        raise CommandError(
            f"DNS address {shown_host_port(host, port)} cannot be opened: {error.strerror or error}"
        ) from None
    return DnsServer(udp, trio.SocketListener(tcp))
