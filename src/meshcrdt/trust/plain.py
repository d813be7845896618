"""The handshake of a mesh without a secret (`--insecure`): signed, in clear.

It has the interface of `trust.handshake`, so the shell drives both in the same way.
Nobody is kept out and everybody on the path can read and change the frames. What it
does give: peer ids that are proved, clusters told apart by name, versions agreed, and a
clean refusal where one end has a secret and the other has none.

    message 1  ->  preamble, {versions, features, genesis, nonce}, padded to 1,536 bytes
    message 2  <-  {Hello, signature over both nonces, nonce}
    message 3  ->  {Hello, signature over both nonces}
"""

from __future__ import annotations

import hashlib

from meshcrdt.errors import MalformedTree, ProtocolError, RemoteProtocolError, UsageError
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.negotiation import (
    Listening,
    Opening,
    broken,
    common,
    greet,
    judge,
    read_greeting,
    read_nonce,
)
from meshcrdt.trust.outcomes import (
    Established,
    HandshakeStep,
    Outcome,
    Silent,
)
from meshcrdt.trust.preamble import (
    MESSAGE_BYTES,
    NO_PSK_ID,
    PREAMBLE_BYTES,
    CredentialKind,
    Preamble,
    check_size,
    cluster_tag,
    describe_tags,
    pad,
    unpad,
)
from meshcrdt.trust.session import PlainSession

NONCE_BYTES = 32


class PlainInitiator:
    """The end that dials. `ephemeral` is 32 fresh bytes: the nonce against replay."""

    def __init__(self, *, identity: Identity, hello: Hello, ephemeral: bytes) -> None:
        self._identity = identity
        self._hello = hello
        self._nonce = _take_nonce(ephemeral)
        self._first = b""
        self._finished = False

    def start(self) -> bytes:
        """Return message 1, MESSAGE_BYTES long."""
        if self._first:
            raise UsageError("the handshake was started before")
        preamble = Preamble(
            kind=CredentialKind.OPEN,
            psk_id=NO_PSK_ID,
            cluster_tag=cluster_tag(self._hello.genesis),
        )
        opening = Opening.of(self._hello, nonce=self._nonce)
        self._first = preamble.to_bytes() + pad(opening.to_bytes(), MESSAGE_BYTES - PREAMBLE_BYTES)
        return self._first

    def receive(self, data: bytes) -> HandshakeStep:
        """Take message 2. The step has an outcome: Established with message 3, or Rejected."""
        if not self._first or self._finished:
            raise UsageError("no message is expected now")
        self._finished = True
        try:
            check_size(data)
            nonce = read_nonce(data)
            if len(nonce) != NONCE_BYTES:
                raise RemoteProtocolError("the nonce has a wrong length")
            hello = read_greeting(data, _binding(2, self._first, nonce)).hello
            if hello is None:
                raise RemoteProtocolError("a refusal where a Hello is expected")
        except ProtocolError as error:
            return HandshakeStep(outcome=broken("message 2", error))
        rejected = judge(self._hello, Opening.of(hello))
        if rejected is not None:
            return HandshakeStep(outcome=rejected)
        reply = greet(self._identity, self._hello, _binding(3, self._first, nonce))
        return HandshakeStep(reply=reply, outcome=_established(self._hello, hello))


class PlainResponder(Listening):
    """The end that listens. `ephemeral` is 32 fresh bytes: the nonce against replay."""

    def __init__(self, *, identity: Identity, hello: Hello, ephemeral: bytes) -> None:
        self._identity = identity
        self._hello = hello
        self._nonce = _take_nonce(ephemeral)
        self._first = b""
        self._opening: Opening | None = None

    def _take(self, data: bytes) -> HandshakeStep:
        if self._opening is None:
            return self._open(data)
        return HandshakeStep(outcome=self._third(self._opening, data))

    def _open(self, data: bytes) -> HandshakeStep:
        try:
            preamble = Preamble.from_bytes(data)
            if len(data) != MESSAGE_BYTES:
                raise RemoteProtocolError(f"message 1 has {len(data)} bytes: not meshcrdt")
            if preamble.kind is not CredentialKind.OPEN:
                tags = describe_tags(cluster_tag(self._hello.genesis), preamble.cluster_tag)
                raise RemoteProtocolError(
                    f"the other end has a secret, this node runs without one; {tags}"
                )
            opening = Opening.from_bytes(unpad(data[PREAMBLE_BYTES:]))
            if len(opening.nonce) != NONCE_BYTES:
                raise MalformedTree("the nonce has a wrong length")
            if cluster_tag(opening.genesis) != preamble.cluster_tag:
                raise RemoteProtocolError("the preamble contradicts message 1")
        except ProtocolError as error:
            return HandshakeStep(outcome=Silent(reason=str(error)))
        self._first, self._opening = data, opening
        binding = _binding(2, data, self._nonce)
        reply = greet(self._identity, self._hello, binding, nonce=self._nonce)
        return HandshakeStep(reply=reply, outcome=judge(self._hello, opening))

    def _third(self, opening: Opening, data: bytes) -> Outcome:
        try:
            check_size(data)
            hello = read_greeting(data, _binding(3, self._first, self._nonce)).hello
            if hello is None:
                raise RemoteProtocolError("a refusal where a Hello is expected")
            if (hello.versions, hello.genesis) != (opening.versions, opening.genesis):
                raise RemoteProtocolError("the Hello contradicts message 1")
        except ProtocolError as error:
            return broken("message 3", error)
        return _established(self._hello, hello)


def _take_nonce(ephemeral: bytes) -> bytes:
    """A nonce is public: it is a hash of the entropy, never the entropy itself."""
    if len(ephemeral) != NONCE_BYTES:
        raise UsageError(f"a nonce needs {NONCE_BYTES} bytes of entropy, not {len(ephemeral)}")
    return hashlib.blake2b(ephemeral, digest_size=NONCE_BYTES).digest()


def _binding(message: int, first: bytes, nonce: bytes) -> bytes:
    """Return what both signatures cover besides the Hello: who speaks, and when."""
    return b"plain" + bytes([message]) + hashlib.blake2b(first).digest() + nonce


def _established(ours: Hello, theirs: Hello) -> Established:
    version, features = common(ours, theirs)
    return Established(
        session=PlainSession(), hello=theirs, version=version, features=features, handshake_hash=b""
    )
