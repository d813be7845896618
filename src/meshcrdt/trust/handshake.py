"""The handshake of a mesh with a secret: bytes in, bytes out, no clock.

Noise XXpsk0+psk3. Theory of operation:

    message 1  ->  preamble, e, sealed {versions, features, genesis}, padded to 1,536 bytes
    message 2  <-  e, s, sealed {Hello, signature} or {refusal}
    message 3  ->  s, sealed {Hello, signature}

The psk enters before anything else, so a stranger's message 1 costs one hash and one
AEAD, no Diffie-Hellman, and gets no answer (finding T1). The identity's signature covers
transcript, Noise static key and Hello, which binds the two keys of a node together.

Where the clusters or versions do not match, the responder still sends message 2 to an
initiator that proved to hold the key, so that both ends can name both sides.

A machine takes remote input and never raises for it. It is single use.

Post-quantum keys (an ML-KEM step after ee, finding T7) will be a second protocol name
and a feature in message 1; fresh handshakes on a timer belong to the shell.
"""

from __future__ import annotations

from attrs import evolve

from meshcrdt.errors import ProtocolError, RemoteProtocolError, UsageError
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.negotiation import (
    Listening,
    Opening,
    broken,
    common,
    greet,
    judge,
    judge_cluster,
    judge_versions,
    read_greeting,
    refuse,
)
from meshcrdt.trust.noise import MESH_PROTOCOL, HandshakeState, Role
from meshcrdt.trust.outcomes import (
    Established,
    HandshakeStep,
    Outcome,
    Refusal,
    Rejected,
    Silent,
)
from meshcrdt.trust.preamble import (
    MESSAGE_BYTES,
    PREAMBLE_BYTES,
    CredentialKind,
    Preamble,
    check_size,
    cluster_tag,
    describe_tags,
    pad,
    unpad,
)
from meshcrdt.trust.psks import (
    Credential,
    PskLookup,
    credential_preamble,
    credential_psk,
    token_claim,
)
from meshcrdt.trust.session import SealedSession
from meshcrdt.trust.symmetric import KEY_BYTES, TAG_BYTES
from meshcrdt.trust.token import Token, TokenClaim

_OPENING_BYTES = MESSAGE_BYTES - PREAMBLE_BYTES - KEY_BYTES - TAG_BYTES


class Initiator:
    """The end that dials. `start()` once, then `receive` each message until an outcome.

    `ephemeral` is 32 fresh bytes of the system's entropy. Raises UsageError when the
    token is for another cluster than the one that `hello` names.
    """

    def __init__(
        self, *, identity: Identity, hello: Hello, credential: Credential, ephemeral: bytes
    ) -> None:
        self._identity = identity
        self._hello = hello
        self._token = credential if isinstance(credential, Token) else None
        self._genesis = hello.genesis
        if self._token is not None:
            mismatch = judge_cluster(hello.genesis, self._token.genesis)
            if mismatch is not None:
                raise UsageError(
                    f"the token is for cluster {mismatch.remote_cluster}, "
                    f"this node is of cluster {mismatch.cluster}"
                )
            self._genesis = self._token.genesis
        self._preamble = credential_preamble(credential, hello.genesis).to_bytes()
        self._noise = HandshakeState(
            MESH_PROTOCOL,
            Role.INITIATOR,
            prologue=self._preamble,
            static=identity.noise_static,
            ephemeral=ephemeral,
            psks=[credential_psk(credential)] * 2,
        )
        self._started = False
        self._finished = False

    def start(self) -> bytes:
        """Return message 1, MESSAGE_BYTES long."""
        if self._started:
            raise UsageError("the handshake was started before")
        self._started = True
        opening = evolve(Opening.of(self._hello), genesis=self._genesis)
        return self._preamble + self._noise.write_message(pad(opening.to_bytes(), _OPENING_BYTES))

    def receive(self, data: bytes) -> HandshakeStep:
        """Take message 2. The step has an outcome: Established with message 3, or Rejected."""
        if not self._started or self._finished:
            raise UsageError("no message is expected now")
        self._finished = True
        try:
            return self._answer(data)
        except ProtocolError as error:
            return HandshakeStep(outcome=broken("message 2", error))

    def _answer(self, data: bytes) -> HandshakeStep:
        binding = self._noise.handshake_hash
        check_size(data)
        payload = self._noise.read_message(data)
        greeting = read_greeting(payload, binding + self._noise.remote_static)
        hello = greeting.hello
        if hello is None:
            return HandshakeStep(
                outcome=Rejected(
                    refusal=Refusal.ADMISSION,
                    reason=f"the other end refused: {greeting.refusal}",
                )
            )
        rejected = judge_cluster(self._genesis, hello.genesis) or judge_versions(
            self._hello.versions, hello.versions
        )
        if rejected is None and self._token is not None and hello.genesis is None:
            rejected = Rejected(
                refusal=Refusal.ADMISSION,
                reason="the other end has not joined a cluster yet: it cannot admit this node",
                cluster=self._token.cluster,
            )
        if rejected is not None:
            return HandshakeStep(outcome=rejected)
        static = self._identity.noise_static.public_key().public_bytes_raw()
        reply = self._noise.write_message(
            greet(self._identity, self._hello, self._noise.handshake_hash + static)
        )
        claim = None if self._token is None else self._token.claim
        outcome = _established(self._noise, self._hello, hello, claim)
        return HandshakeStep(reply=reply, outcome=outcome)


class Responder(Listening):
    """The end that listens. `receive` each message until an outcome.

    `psks` finds the key that a preamble names (`psks.cluster_psks` for a member);
    `ephemeral` is 32 fresh bytes of the system's entropy.
    """

    def __init__(
        self, *, identity: Identity, hello: Hello, psks: PskLookup, ephemeral: bytes
    ) -> None:
        if len(ephemeral) != KEY_BYTES:
            raise UsageError(f"an ephemeral key has {KEY_BYTES} bytes, not {len(ephemeral)}")
        self._identity = identity
        self._hello = hello
        self._psks = psks
        self._ephemeral = ephemeral
        self._noise: HandshakeState | None = None
        self._opening: Opening | None = None
        self._claim: TokenClaim | None = None

    def _take(self, data: bytes) -> HandshakeStep:
        if self._noise is None:
            return self._first(data)
        return HandshakeStep(outcome=self._third(self._noise, data))

    def _first(self, data: bytes) -> HandshakeStep:
        """Find the key and check the first tag: anything wrong until there stays unanswered."""
        try:
            preamble = Preamble.from_bytes(data)
            if len(data) != MESSAGE_BYTES:
                raise RemoteProtocolError(f"message 1 has {len(data)} bytes: not meshcrdt")
        except RemoteProtocolError as error:
            return HandshakeStep(outcome=Silent(reason=str(error)))
        tags = describe_tags(cluster_tag(self._hello.genesis), preamble.cluster_tag)
        if preamble.kind is CredentialKind.OPEN:
            reason = f"the other end runs without a secret, this node has one; {tags}"
            return HandshakeStep(outcome=Silent(reason=reason))
        psk = self._psks(preamble)
        if psk is None:
            reason = f"the other end holds a secret that this node does not know; {tags}"
            return HandshakeStep(outcome=Silent(reason=reason))
        noise = HandshakeState(
            MESH_PROTOCOL,
            Role.RESPONDER,
            prologue=data[:PREAMBLE_BYTES],
            static=self._identity.noise_static,
            ephemeral=self._ephemeral,
            psks=[psk.key] * 2,
        )
        try:
            payload = noise.read_message(data[PREAMBLE_BYTES:])
        except RemoteProtocolError:
            what = "token" if preamble.kind is CredentialKind.TOKEN else "secret"
            reason = f"message 1 was not made with this cluster's {what}; {tags}"
            return HandshakeStep(outcome=Silent(reason=reason))
        if preamble.kind is CredentialKind.TOKEN:
            self._claim = token_claim(preamble)
        try:
            return self._second(noise, Opening.from_bytes(unpad(payload)), psk.refusal)
        except ProtocolError as error:
            return HandshakeStep(outcome=broken("message 1", error))

    def _second(
        self, noise: HandshakeState, opening: Opening, refusal: str | None
    ) -> HandshakeStep:
        """Answer an authentic message 1; with a refusal this is the end."""
        if refusal is not None:
            return HandshakeStep(
                reply=noise.write_message(refuse(refusal)),
                outcome=Rejected(refusal=Refusal.ADMISSION, reason=refusal),
            )
        static = self._identity.noise_static.public_key().public_bytes_raw()
        greeting = greet(self._identity, self._hello, noise.handshake_hash + static)
        reply = noise.write_message(greeting)
        self._noise, self._opening = noise, opening
        return HandshakeStep(reply=reply, outcome=judge(self._hello, opening))

    def _third(self, noise: HandshakeState, data: bytes) -> Outcome:
        try:
            check_size(data)
            binding = noise.handshake_hash
            payload = noise.read_message(data)
            hello = read_greeting(payload, binding + noise.remote_static).hello
            if hello is None or self._opening is None:
                raise RemoteProtocolError("a refusal where a Hello is expected")
            if hello.versions != self._opening.versions or hello.genesis not in (
                None,
                self._opening.genesis,
            ):
                raise RemoteProtocolError("the Hello contradicts message 1")
        except ProtocolError as error:
            return broken("message 3", error)
        return _established(noise, self._hello, hello, self._claim)


def _established(
    noise: HandshakeState, ours: Hello, theirs: Hello, token: TokenClaim | None
) -> Established:
    sends, receives = noise.split()
    version, features = common(ours, theirs)
    return Established(
        session=SealedSession(sends, receives),
        hello=theirs,
        version=version,
        features=features,
        handshake_hash=noise.handshake_hash,
        token=token,
    )
