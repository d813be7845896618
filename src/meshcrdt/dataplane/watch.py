"""Notice that somebody changed something of ours: a netlink socket on trio, no threads.

It only says "look again". Messages are filtered so that a busy host's ARP traffic does not
cause looking: of neighbour and forwarding entries only permanent ones and removals count.
One socket hears the namespaces of workloads too, since the kernel numbers a namespace that
a veth pair leads to.
"""

from __future__ import annotations

import errno
import logging
import socket
from types import TracebackType

import trio

from meshcrdt.dataplane import netlink

_LINK, _NEIGHBOUR, _ADDRESS4, _ROUTE4, _ADDRESS6, _ROUTE6 = 1, 3, 5, 7, 9, 11
_GROUPS = (_LINK, _NEIGHBOUR, _ADDRESS4, _ROUTE4, _ADDRESS6, _ROUTE6)
_NFT_GROUP = 7
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_LISTEN_ALL_NAMESPACES = 8
_RECEIVE_BYTES = 1 << 18
_NO_NFTABLES = {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENOENT}

log = logging.getLogger("meshcrdt.dataplane")


def is_telling(data: bytes) -> bool:
    """Return True when a datagram of rtnetlink messages is worth looking again."""
    for kind, _sequence, body in netlink.messages(data):
        if kind not in {netlink.NEW_NEIGHBOUR, netlink.DEL_NEIGHBOUR}:
            return True
        if len(body) < netlink.NEIGHBOUR_HEADER.size:
            continue
        family, (_, _, state, _, _) = body[0], netlink.NEIGHBOUR_HEADER.unpack_from(body)
        is_static = bool(state & (netlink.PERMANENT | netlink.NO_ARP))
        if is_static or (kind == netlink.DEL_NEIGHBOUR and family == socket.AF_BRIDGE):
            return True
    return False


class Watch:
    """A subscription to changes of links, addresses, routes, entries and nftables."""

    def __init__(self, protocol: int, groups: tuple[int, ...]) -> None:
        self._socket = trio.socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._is_filtered = protocol == socket.NETLINK_ROUTE
        self._groups = groups

    @classmethod
    async def open_routes(cls) -> Watch:
        """Return a watch of links, addresses, routes and entries. Raises OSError."""
        watch = cls(socket.NETLINK_ROUTE, _GROUPS)
        await watch._bind()
        try:
            watch._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NAMESPACES, 1)
        except OSError as error:
            # Without the right to hear other namespaces the periodic look is what is left.
            if error.errno not in {errno.EPERM, errno.ENOPROTOOPT}:
                watch.close()
                raise
        return watch

    @classmethod
    async def open_rules(cls) -> Watch | None:
        """Return a watch of nftables, or None where they cannot be watched.

        A kernel without nftables has no changes of them either; for any other reason, which
        the log tells, the periodic look is what is left.
        """
        try:
            watch = cls(_NETLINK_NETFILTER, (_NFT_GROUP,))
            await watch._bind()
        except OSError as error:
            if error.errno not in _NO_NFTABLES:
                log.warning("changes of nftables cannot be watched: %s", error.strerror or error)
            return None
        return watch

    async def _bind(self) -> None:
        try:
            await self._socket.bind((0, sum(1 << (group - 1) for group in self._groups)))
        except OSError:
            self._socket.close()
            raise

    async def changed(self) -> None:
        """Return once something worth looking at happened, or messages were lost."""
        while True:
            try:
                data = await self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return
                raise
            if not self._is_filtered or is_telling(data):
                return

    def close(self) -> None:
        """Stop listening; idempotent."""
        self._socket.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
