"""The error tree: who is at fault, did state change, what to do next.

Three rules. Local misuse raises at once and changes nothing. Remote input never
raises out of the core: it becomes a closed link or a quarantine entry. Expected
outcomes (`Exhausted`, `Unreachable`, ...) are records, not exceptions.
"""

from __future__ import annotations


class MeshError(Exception):
    """Base of every error that meshcrdt raises on purpose."""


class UsageError(MeshError, ValueError):
    """You passed a value that is not accepted. Nothing changed; correct it and call again."""


class ClosedError(MeshError):
    """You already closed this object. Nothing changed; open a new one."""


class NotReady(MeshError):
    """The node is starting or draining and takes no such call now. Nothing changed; the
    message says which: wait until it is ready, or ask another node.
    """


class CapacityError(MeshError):
    """A published limit was reached; the message names it and its value. Nothing changed."""


class MissingExtra(MeshError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(
            f"{module!r} is not installed: this feature needs the extra {extra!r} "
            f"(pip install 'meshcrdt[{extra}]')"
        )
        self.extra = extra


class ProtocolError(MeshError):
    """Bytes or trees that break the published format. Nothing was merged."""


class MalformedTree(ProtocolError):
    """A canonical tree has the wrong shape, a value out of range, or is not canonical."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow; the link is closed."""


class LinkError(MeshError, OSError):
    """A link failed: the world's fault. Nothing is lost; the mesh dials again."""


class LinkClosed(LinkError):
    """The other end closed the link in an orderly way."""


class DialError(LinkError):
    """Nobody answered at an address; the message names it. The mesh keeps trying."""


class ListenError(LinkError):
    """A listener could not be opened; the message names the address and the reason."""


class HandshakeError(LinkError):
    """A link came up but the handshake failed. Nothing was exchanged; state is unchanged."""


class WrongSecret(HandshakeError):
    """The other end does not hold our secret, or is not meshcrdt: it stayed silent."""


class WrongCluster(HandshakeError):
    """The other end belongs to another cluster; the message names both ids."""


class PeerRefused(HandshakeError):
    """The other end refused us and said why."""


class StoreError(MeshError):
    """The store failed. What was not acknowledged may be lost; nothing acknowledged is."""


class CorruptStore(StoreError):
    """What the store holds fails its own checks; the message names the table and key."""


class StoreInUse(StoreError):
    """Another process holds this store; the message names it when it is known."""


class WrongStore(StoreError):
    """The store belongs to another identity or to a newer format. It was not touched."""


class NotReached(MeshError):
    """A receipt's targets did not all confirm in time. The write stands; `missing` names them."""

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.missing = missing


class NotFresh(MeshError):
    """A read asked for a bound that was not reached in time; `missing` names whose writes may
    be missing. Nothing changed; what is held can still be read without a bound.
    """

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.missing = missing


class InMinority(MeshError):
    """The channel is used with Minority.REFUSE, and this node is in a minority. Nothing changed."""


class Declined(MeshError):
    """What was asked for is not possible as things stand; the message says why. Nothing changed."""


class NoMajority(MeshError):
    """The guardians did not agree in time. Nothing changed yet; the message says whether it may."""


class InternalError(MeshError):
    """A bug in meshcrdt: an invariant does not hold. Please report it with the message."""
