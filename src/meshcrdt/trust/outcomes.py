"""How a handshake ends: records, because every one of them is expected.

`Established` gives a session. `Rejected` means both ends know why. `Silent` means that
the other end proved nothing, so it gets no answer; the reason is for our log alone.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.errors import HandshakeError, PeerRefused, WrongCluster
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.session import Session
from meshcrdt.trust.token import TokenClaim


class Refusal(Enum):
    """Why a handshake was rejected."""

    CLUSTER = "cluster"
    """The two ends belong to different clusters."""
    VERSION = "version"
    """No common protocol version."""
    ADMISSION = "admission"
    """The token was authentic but is not accepted: expired, used up, revoked."""
    PROTOCOL = "protocol"
    """A message broke the protocol."""


@frozen(kw_only=True)
class Established:
    """The handshake is done: `hello` is proved, `session` is ready.

    `token` is set when the session was opened with a join token: it is an admission
    session, for `trust.admission` and nothing else.
    """

    session: Session
    hello: Hello
    version: int
    """The protocol version that both ends speak."""
    features: tuple[str, ...]
    """The features that both ends named, sorted."""
    handshake_hash: bytes
    """Names this session at both ends; empty without encryption."""
    token: TokenClaim | None = None

    @property
    def admission(self) -> bool:
        """Whether this session may carry an admission only."""
        return self.token is not None


@frozen(kw_only=True)
class Rejected:
    """The handshake failed for a reason that can be named to the user."""

    refusal: Refusal
    reason: str
    cluster: str | None = None
    """Our cluster id, where known."""
    remote_cluster: str | None = None
    """The other end's, where it told."""

    def error(self) -> HandshakeError:
        """Return the exception for callers who want one."""
        match self.refusal:
            case Refusal.CLUSTER:
                return WrongCluster(self.reason)
            case Refusal.VERSION | Refusal.ADMISSION | Refusal.PROTOCOL:
                return PeerRefused(self.reason)


@frozen(kw_only=True)
class Silent:
    """The other end gets no answer: close the link. The reason is for our log."""

    reason: str


Outcome: TypeAlias = Established | Rejected | Silent


@frozen(kw_only=True)
class HandshakeStep:
    """What to do after one message: send `reply` where there is one, then look at `outcome`.

    With an outcome the handshake is over: for Rejected and Silent close the link, after
    the reply. Without one wait for the next message, up to `limits.handshake_timeout_s`.
    """

    reply: bytes | None = None
    outcome: Outcome | None = None
