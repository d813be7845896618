"""What this node shows in handshakes, and what it accepts: the shell's side of trust.

The machines of `trust` have no clock and no entropy; both come in here. Token expiry is
the only thing that is ever judged by a wall clock.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from attrs import define, field

from meshcrdt.errors import NotReady, PeerRefused
from meshcrdt.mesh.birth import Security
from meshcrdt.trust.handshake import Initiator, Responder
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.outcomes import HandshakeStep
from meshcrdt.trust.plain import PlainInitiator, PlainResponder
from meshcrdt.trust.psks import SecretCredential, cluster_psks
from meshcrdt.trust.token import Token, TokenClaim

EPHEMERAL_BYTES = 32
TOKENS_COUNTED_MAX = 4_096


class InitiatorMachine(Protocol):
    """The dialling end of a handshake, sealed or plain."""

    def start(self) -> bytes:
        """Return message 1."""
        ...

    def receive(self, data: bytes) -> HandshakeStep:
        """Take message 2."""
        ...


class ResponderMachine(Protocol):
    """The listening end of a handshake, sealed or plain."""

    def receive(self, data: bytes) -> HandshakeStep:
        """Take message 1 or 3."""
        ...


@define
class _Uses:
    """How often a token admitted a host here, and how many hosts it is admitting now."""

    expiry_s: int
    admitted: int = 0
    admitting: int = 0


@define
class Credentials:
    """An identity, the cluster secret once it is known, and the uses of tokens."""

    identity: Identity
    security: Security
    secret: bytes | None = field(repr=False, default=None)
    wall_clock: Callable[[], float] = time.time
    _uses: dict[bytes, _Uses] = field(factory=dict)

    def initiator(self, hello: Hello) -> InitiatorMachine:
        """Return the machine of a dialled link; raises NotReady before admission."""
        ephemeral = secrets.token_bytes(EPHEMERAL_BYTES)
        if self.security is Security.INSECURE:
            return PlainInitiator(identity=self.identity, hello=hello, ephemeral=ephemeral)
        return Initiator(
            identity=self.identity,
            hello=hello,
            credential=SecretCredential(self._known_secret()),
            ephemeral=ephemeral,
        )

    def joiner(self, hello: Hello, token: Token) -> InitiatorMachine:
        """Return the machine that asks for admission with a token."""
        return Initiator(
            identity=self.identity,
            hello=hello,
            credential=token,
            ephemeral=secrets.token_bytes(EPHEMERAL_BYTES),
        )

    def responder(self, hello: Hello) -> ResponderMachine:
        """Return the machine of an accepted link; raises NotReady before admission."""
        ephemeral = secrets.token_bytes(EPHEMERAL_BYTES)
        if self.security is Security.INSECURE:
            return PlainResponder(identity=self.identity, hello=hello, ephemeral=ephemeral)
        return Responder(
            identity=self.identity,
            hello=hello,
            psks=cluster_psks(self._known_secret(), self.judge_token),
            ephemeral=ephemeral,
        )

    def judge_token(self, claim: TokenClaim) -> str | None:
        """Return why a token is not accepted now, or None."""
        late_s = self.wall_clock() - claim.expiry_s
        if late_s >= 0:
            return f"the token expired {int(late_s)} s ago"
        known = self._uses.get(claim.id)
        if known is not None and known.admitted + known.admitting >= claim.uses:
            return f"the token was used {claim.uses} times, which is all that it allows"
        return None

    @contextmanager
    def admitting(self, claim: TokenClaim) -> Iterator[None]:
        """Hold one use of a token while a host is admitted; the use stays when that succeeds.

        Judged once more, because many may have opened a session with one token before the
        first of them was through. Raises PeerRefused. Other members count for themselves.
        """
        refusal = self.judge_token(claim)
        if refusal is not None:
            raise PeerRefused(refusal)
        known = self._uses.get(claim.id)
        if known is None:
            self._make_room()
            known = self._uses[claim.id] = _Uses(claim.expiry_s)
        known.admitting += 1
        try:
            yield
            known.admitted += 1
        finally:
            known.admitting -= 1
            if not known.admitted + known.admitting and self._uses.get(claim.id) is known:
                del self._uses[claim.id]

    def _make_room(self) -> None:
        """Forget the token that expires first: it is the least harm, and mostly none."""
        if len(self._uses) >= TOKENS_COUNTED_MAX:
            del self._uses[min(self._uses, key=lambda each: self._uses[each].expiry_s)]

    def _known_secret(self) -> bytes:
        if self.secret is None:
            raise NotReady("this node has not been admitted to a cluster yet")
        return self.secret
