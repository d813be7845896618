"""From a raw link to a secure one: the handshake, then a verdict from each end.

The machines of `trust` say what to send; here is only the sending, within a deadline that
the caller sets. After the handshake each end tells the other, sealed, whether it takes
the link: a node refuses its own copy, a peer that left, or one link too many, and the
refused end learns why instead of guessing from a closed connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from attrs import define, frozen

from meshcrdt.abc import Link
from meshcrdt.base.tree import Tree, take_int, take_str
from meshcrdt.errors import (
    HandshakeError,
    LinkClosed,
    LinkError,
    MalformedTree,
    PeerRefused,
    ProtocolError,
    RemoteProtocolError,
    WrongSecret,
)
from meshcrdt.mesh.credentials import InitiatorMachine, ResponderMachine
from meshcrdt.mesh.reasons import reason_of
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.outcomes import Established, HandshakeStep, Rejected, Silent
from meshcrdt.trust.session import Session
from meshcrdt.wire import decode, encode

log = logging.getLogger("meshcrdt.mesh")

VERDICT = 1
REASON_CHARACTERS_MAX = 200


@runtime_checkable
class BoundedReceive(Protocol):
    """A link that can refuse larger frames before it keeps them; ours all can."""

    def bound_receive(self, frame_bytes_max: int | None) -> None:
        """Accept only smaller frames for now, or (None) those of the full size again."""
        ...


@contextmanager
def anyones_code(address: str) -> Iterator[None]:
    """Turn whatever a transport raises in the block into LinkError naming the address."""
    try:
        yield
    except (LinkError, ProtocolError):
        raise
    except Exception as error:
        raise LinkError(f"{address}: {reason_of(error)}") from error


async def close_quietly(link: Link) -> None:
    """Close a link; what its transport raises then is of no use to anyone but its author."""
    try:
        await link.aclose()
    except Exception as error:
        log.debug("closing %s failed: %s", link.remote, reason_of(error))


@define
class SecureLink:
    """A link whose other end is known: frames in, frames out."""

    link: Link
    session: Session
    hello: Hello
    direction: Direction
    address: str

    @property
    def transport(self) -> str:
        """The scheme."""
        return self.link.transport

    @property
    def encrypted(self) -> bool:
        """Whether strangers on the path can read the frames."""
        return self.session.encrypted

    async def send(self, frame: bytes) -> None:
        """Seal and send; raises like `abc.Link.send`. One sender at a time."""
        await self.link.send(self.session.seal(frame))

    async def receive(self) -> bytes:
        """Receive and open; raises like `abc.Link.receive`, RemoteProtocolError for a forgery."""
        return self.session.open(await self.link.receive())

    async def aclose(self) -> None:
        """Close at once; never raises for what the transport does."""
        await close_quietly(self.link)


@frozen
class Peer:
    """The other end before the handshake: its link, and the bound on what it may send."""

    link: Link
    hello_bytes_max: int

    def guard(self) -> None:
        """Keep a stranger from making us hold large frames."""
        if isinstance(self.link, BoundedReceive):
            self.link.bound_receive(self.hello_bytes_max)

    def trust(self) -> None:
        """Take frames of the full size from now on."""
        if isinstance(self.link, BoundedReceive):
            self.link.bound_receive(None)


async def initiate(link: Link, machine: InitiatorMachine, *, hello_bytes_max: int) -> Established:
    """Carry out the dialling end's handshake.

    Raises WrongCluster, WrongSecret or PeerRefused as the machine judges, LinkError when
    the link broke. An end that closes without an answer does not hold our secret.
    """
    peer = Peer(link, hello_bytes_max)
    peer.guard()
    try:
        await link.send(machine.start())
        step = machine.receive(await link.receive())
    except LinkClosed:
        raise WrongSecret(
            f"{link.remote} closed the link without an answer: it holds another secret, "
            "so it belongs to another cluster or is not meshcrdt"
        ) from None
    except RemoteProtocolError as error:
        raise WrongSecret(f"{link.remote} is not meshcrdt: {error}") from None
    if step.reply is not None:
        await link.send(step.reply)
    established = _result(step, link)
    if established is None:
        raise HandshakeError(f"{link.remote}: the handshake did not end where it should")
    peer.trust()
    return established


async def respond(
    link: Link,
    machine: ResponderMachine,
    *,
    hello_bytes_max: int,
    proved: Callable[[], None],
) -> Established:
    """Carry out the listening end's handshake; raises like `initiate`.

    `proved` is called when the first message turned out to be made with one of our keys.
    """
    peer = Peer(link, hello_bytes_max)
    peer.guard()
    established: Established | None = None
    while established is None:
        step = machine.receive(await link.receive())
        if step.outcome is None:
            proved()
        if step.reply is not None:
            await link.send(step.reply)
        established = _result(step, link)
    peer.trust()
    return established


async def exchange_verdicts(link: SecureLink, refusal: str | None) -> None:
    """Tell the other end whether we take the link, and hear whether it does.

    Raises PeerRefused, saying which end refused and why.
    """
    shown = None if refusal is None else refusal[:REASON_CHARACTERS_MAX]
    await link.send(encode((VERDICT, shown)))
    if refusal is not None:
        raise PeerRefused(f"refused {link.hello.peer} at {link.address}: {refusal}")
    try:
        theirs = _read_verdict(decode(await link.receive()))
    except MalformedTree as error:
        raise PeerRefused(f"{link.address} sent a malformed verdict: {error}") from None
    except LinkClosed:
        raise PeerRefused(f"{link.address} closed the link after the handshake") from None
    if theirs is not None:
        raise PeerRefused(f"{link.address} refused this node: {theirs}")


def _read_verdict(tree: Tree) -> str | None:
    if type(tree) is not tuple or len(tree) < 2:
        raise MalformedTree("a verdict is a list of its code and a reason")
    take_int(tree[0], "verdict.code", low=VERDICT, high=VERDICT)
    if tree[1] is None:
        return None
    reason = take_str(tree[1], "verdict.reason", size_max=REASON_CHARACTERS_MAX)
    return reason if reason.isprintable() else repr(reason)


def _result(step: HandshakeStep, link: Link) -> Established | None:
    match step.outcome:
        case Rejected() as rejected:
            error = rejected.error()
            raise type(error)(f"{link.remote}: {rejected.reason}")
        case Silent(reason=reason):
            raise WrongSecret(f"{link.remote} gets no answer: {reason}")
        case outcome:
            return outcome
