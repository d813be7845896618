"""The only ways in: dialling and accepting. What comes through is a pump at work.

Nothing that a peer or a network does raises out of here: a failed dial becomes a
`DialFailed`, a failed caller one line in the log.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from meshcrdt.abc import Link, Listener
from meshcrdt.base.limits import Limits
from meshcrdt.errors import (
    ClosedError,
    HandshakeError,
    InternalError,
    MeshError,
    WrongSecret,
)
from meshcrdt.mesh.admission import admit
from meshcrdt.mesh.birth import Security
from meshcrdt.mesh.credentials import Credentials
from meshcrdt.mesh.half_open import HalfOpen, Slot
from meshcrdt.mesh.links import (
    SecureLink,
    close_quietly,
    exchange_verdicts,
    initiate,
    respond,
)
from meshcrdt.mesh.pump import Pump
from meshcrdt.mesh.reasons import reason_of
from meshcrdt.mesh.refusals import RefusalLog, Refusals
from meshcrdt.node.events import DialFailed, Event
from meshcrdt.topology.links import Direction
from meshcrdt.transports.registry import transport_for
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.outcomes import Established

if TYPE_CHECKING:
    from meshcrdt.ipam.genesis import Genesis
    from meshcrdt.node.node import Node

log = logging.getLogger("meshcrdt.mesh")


class Gatekeeper:
    """Opens links for one node, and holds those that are open."""

    def __init__(
        self,
        node: Node,
        credentials: Credentials,
        *,
        limits: Limits,
        inbox: trio.MemorySendChannel[Event],
        nursery: trio.Nursery,
        genesis: Callable[[], Genesis | None],
        pinned: bytes | None = None,
    ) -> None:
        self._node = node
        self._credentials = credentials
        self._limits = limits
        self._inbox = inbox
        self._nursery = nursery
        self._genesis = genesis
        self._pinned = pinned
        self._numbers = itertools.count(1)
        self.half_open = HalfOpen(limits)
        self.refusals = Refusals()
        self._refusal_log = RefusalLog()
        self._entering = 0
        self.pumps: dict[int, Pump] = {}

    # --- dialling ------------------------------------------------------------------------

    def dial(self, address: str) -> None:
        """Try an address once, in a task of its own."""
        self._nursery.start_soon(self._dial, address, name=f"dial {address}")

    async def _dial(self, address: str) -> None:
        link: Link | None = None
        try:
            try:
                with trio.fail_after(self._limits.dial_timeout_s):
                    link = await transport_for(address).dial(
                        address, frame_bytes_max=self._limits.frame_bytes_max
                    )
                secure = await self._secure_dialled(link, address)
            except trio.TooSlowError:
                what = "connected" if link is None else "finished the handshake"
                await self._failed(address, f"{address} has not {what} in time")
                return
            except HandshakeError as error:
                await self._failed(address, self._explained(error), refused=True)
                return
            except Exception as error:
                # The address may be a peer's idea and the transport anyone's code.
                await self._failed(address, reason_of(error))
                return
            await self._carry(secure)
        finally:
            if link is not None:
                await close_quietly(link)

    def _explained(self, error: HandshakeError) -> str:
        """Name our cluster where the other end said nothing: it may be of another one."""
        genesis = self._genesis()
        if genesis is None or not isinstance(error, WrongSecret):
            return str(error)
        return f"{error}; this node is of cluster {genesis.cluster}"

    async def _failed(self, address: str, reason: str, *, refused: bool = False) -> None:
        log.debug("dial failed: %s", reason)
        await self._inbox.send(DialFailed(address, reason, refused))

    async def _secure_dialled(self, link: Link, address: str) -> SecureLink:
        with trio.fail_after(self._limits.handshake_timeout_s):
            established = await initiate(
                link,
                self._credentials.initiator(self._node.hello()),
                hello_bytes_max=self._limits.hello_bytes_max,
            )
            secure = SecureLink(
                link, established.session, established.hello, Direction.DIALLED, address
            )
            await self._agree(secure)
        return secure

    # --- accepting -----------------------------------------------------------------------

    async def serve(self, listener: Listener) -> None:
        """Accept callers until the listener is closed."""
        while True:
            try:
                link = await listener.accept()
            except ClosedError:
                return
            self._nursery.start_soon(self._welcome, link, name=f"accept {link.remote}")

    async def _welcome(self, link: Link) -> None:
        secure: SecureLink | None = None
        try:
            try:
                with self.half_open.slot(link.remote) as slot:
                    secure = await self._secure_accepted(link, slot)
            except trio.TooSlowError:
                log.debug("%s did not finish the handshake in time", link.remote)
            except Exception as error:
                # The transport may be anyone's code, and what it meets a stranger's doing.
                self._turned_away(link, error)
            if secure is not None:
                self.refusals.welcomed(link.remote)
                await self._carry(secure)
        finally:
            await close_quietly(link)

    def _turned_away(self, link: Link, error: Exception) -> None:
        """Say so, but never as often as strangers call: they would fill the disk with it."""
        if isinstance(error, HandshakeError):
            self.refusals.note(link.remote, str(error))
        reason = reason_of(error)
        line = self._refusal_log.line(link.remote, reason, trio.current_time())
        told = logging.INFO if isinstance(error, MeshError) else logging.WARNING
        level = logging.DEBUG if line is None else told
        log.log(level, "a caller was turned away: %s", line or reason)

    async def _secure_accepted(self, link: Link, slot: Slot) -> SecureLink | None:
        # Without a secret a first message proves nothing.
        is_proof = self._credentials.security is Security.ENCRYPTED
        with trio.fail_after(self._limits.handshake_timeout_s):
            established = await respond(
                link,
                self._credentials.responder(self._node.hello()),
                hello_bytes_max=self._limits.hello_bytes_max,
                proved=slot.proved if is_proof else lambda: None,
            )
            if established.token is not None:
                await self._admit(link, established)
                return None
            secure = SecureLink(
                link, established.session, established.hello, Direction.ACCEPTED, link.remote
            )
            await self._agree(secure)
        return secure

    async def _admit(self, link: Link, established: Established) -> None:
        genesis = self._genesis()
        if genesis is None:
            return  # the machine told the joiner so already
        await admit(link, established, self._credentials, genesis=genesis)
        log.info("admitted %s from %s by token", established.hello.peer, link.remote)

    # --- both ----------------------------------------------------------------------------

    async def _agree(self, secure: SecureLink) -> None:
        """Exchange verdicts, holding the place of the link among all that are let in."""
        refusal = self._judge(secure.hello)
        self._entering += 1
        try:
            await exchange_verdicts(secure, refusal)
        finally:
            self._entering -= 1

    def _judge(self, hello: Hello) -> str | None:
        if len(self.pumps) + self._entering >= self._limits.links_max:
            return f"no room for another link: links_max={self._limits.links_max}"
        wrong = self._pinned is not None and hello.genesis not in (None, self._pinned)
        if wrong and self._genesis() is None:
            return f"cluster {hello.cluster} is not the one that the token names"
        return self._node.admits(hello)

    async def _carry(self, secure: SecureLink) -> None:
        number = next(self._numbers)
        pump = Pump(
            number,
            secure,
            limits=self._limits,
            inbox=self._inbox,
            next_frame=self._node.next_frame,
        )
        self.pumps[number] = pump
        try:
            await pump.run()
        finally:
            del self.pumps[number]

    def check(self) -> None:
        """Raise InternalError when an invariant of a link or a caller does not hold."""
        self.half_open.check()
        self.refusals.check()
        if self._entering < 0 or len(self.pumps) > self._limits.links_max:
            raise InternalError(f"{len(self.pumps)} links, {self._entering} are let in")

    async def close_links(self, reason: str) -> None:
        """Close every link after what waits for it, and wait for that."""
        pumps = list(self.pumps.values())
        for pump in pumps:
            pump.close(reason)
        for pump in pumps:
            await pump.done.wait()
