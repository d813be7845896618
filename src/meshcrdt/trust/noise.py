"""The Noise protocol framework, revision 34: the part that meshcrdt uses, sans-IO.

One suite, 25519_ChaChaPoly_BLAKE2s, and the XX pattern with any psk modifiers; meshcrdt
itself speaks XXpsk0+psk3 only (finding T1), the others are here because the public
vectors exercise them. It is written out because the published Python packages are
unmaintained; it is held to the vectors and, message by message, to `noiseprotocol` in
the tests. Primitives come from `cryptography` and `hashlib`.

Section numbers in the comments are those of https://noiseprotocol.org/noise.html.

One deviation: Noise bounds a transport message to 65,535 bytes, because it frames with
two bytes. We frame with four, and bound the frame elsewhere; the cipher does not care.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from meshcrdt.errors import InternalError, UsageError
from meshcrdt.trust.symmetric import KEY_BYTES, CipherState, NoiseError, SymmetricState

SUITE = "25519_ChaChaPoly_BLAKE2s"
MESH_PROTOCOL = f"Noise_XXpsk0+psk3_{SUITE}"


class Role(Enum):
    """Which end of the handshake this is."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class Token(Enum):
    """What a pattern says about a message, section 7.1."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    PSK = "psk"


_XX: tuple[tuple[Token, ...], ...] = (
    (Token.E,),
    (Token.E, Token.EE, Token.S, Token.ES),
    (Token.S, Token.SE),
)


def parse_pattern(protocol: str) -> tuple[tuple[Token, ...], ...]:
    """Return the tokens of each message of a protocol name; raises UsageError if not ours."""
    prefix, _, rest = protocol.partition("_")
    pattern, _, suite = rest.partition("_")
    if prefix != "Noise" or suite != SUITE or not pattern.startswith("XX"):
        raise UsageError(f"{protocol!r} is not Noise_XX with psk modifiers and {SUITE}")
    messages = [list(tokens) for tokens in _XX]
    for modifier in filter(None, pattern[2:].split("+")):
        place = modifier.removeprefix("psk")
        if modifier == place or place not in ("0", "1", "2", "3"):
            raise UsageError(f"{protocol!r} has an unknown modifier {modifier!r}")
        if place == "0":
            messages[0].insert(0, Token.PSK)
        else:
            messages[int(place) - 1].append(Token.PSK)
    return tuple(tuple(tokens) for tokens in messages)


class HandshakeState:
    """One handshake in progress, section 5.3.

    `ephemeral` is 32 bytes of the system's entropy, fresh for each handshake: the caller
    hands it in, as all entropy. After a NoiseError the object is of no further use.
    """

    def __init__(
        self,
        protocol: str,
        role: Role,
        *,
        prologue: bytes,
        static: X25519PrivateKey,
        ephemeral: bytes,
        psks: Sequence[bytes] = (),
    ) -> None:
        self._messages = parse_pattern(protocol)
        wanted = sum(tokens.count(Token.PSK) for tokens in self._messages)
        if len(psks) != wanted or any(len(psk) != KEY_BYTES for psk in psks):
            raise UsageError(f"{protocol} needs {wanted} psks of {KEY_BYTES} bytes")
        if len(ephemeral) != KEY_BYTES:
            raise UsageError(f"an ephemeral key has {KEY_BYTES} bytes, not {len(ephemeral)}")
        self._role = role
        self._symmetric = SymmetricState(protocol)
        self._symmetric.mix_hash(prologue)
        self._static = static
        self._ephemeral_bytes = ephemeral
        self._remote_static: bytes | None = None
        self._remote_ephemeral: bytes | None = None
        self._psks = list(psks)
        self._has_psks = bool(psks)
        self._index = 0

    @cached_property
    def _ephemeral(self) -> X25519PrivateKey:
        """Our ephemeral key, made at its first use: a stranger's message 1 does not need it."""
        return X25519PrivateKey.from_private_bytes(self._ephemeral_bytes)

    @property
    def handshake_hash(self) -> bytes:
        """The transcript so far, equal at both ends between messages."""
        return self._symmetric.handshake_hash

    @property
    def remote_static(self) -> bytes:
        """The other end's X25519 key, once a message brought it."""
        if self._remote_static is None:
            raise UsageError("the other end's static key has not arrived yet")
        return self._remote_static

    @property
    def is_finished(self) -> bool:
        """Whether all messages are through."""
        return self._index == len(self._messages)

    def write_message(self, payload: bytes) -> bytes:
        """Return our next message. Raises NoiseError when the other end's key is degenerate."""
        parts = []
        for token in self._take_tokens(Role.INITIATOR):
            if token is Token.E:
                public = self._ephemeral.public_key().public_bytes_raw()
                self._mix_ephemeral(public)
                parts.append(public)
            elif token is Token.S:
                parts.append(
                    self._symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw())
                )
            else:
                self._mix(token)
        parts.append(self._symmetric.encrypt_and_hash(payload))
        return b"".join(parts)

    def read_message(self, message: bytes) -> bytes:
        """Return the payload of the other end's next message; raises NoiseError."""
        position = 0

        def take(size: int) -> bytes:
            nonlocal position
            if position + size > len(message):
                raise NoiseError("a handshake message is too short")
            position += size
            return message[position - size : position]

        for token in self._take_tokens(Role.RESPONDER):
            if token is Token.E:
                self._remote_ephemeral = take(KEY_BYTES)
                self._mix_ephemeral(self._remote_ephemeral)
            elif token is Token.S:
                sealed = take(KEY_BYTES + self._symmetric.overhead)
                self._remote_static = self._symmetric.decrypt_and_hash(sealed)
            else:
                self._mix(token)
        return self._symmetric.decrypt_and_hash(message[position:])

    def split(self) -> tuple[CipherState, CipherState]:
        """Return (what we send with, what we receive with) when the handshake is finished."""
        if not self.is_finished:
            raise UsageError("the handshake is not finished")
        initiator, responder = self._symmetric.split()
        match self._role:
            case Role.INITIATOR:
                return initiator, responder
            case Role.RESPONDER:
                return responder, initiator
            case _:
                assert_never(self._role)

    def _take_tokens(self, writes_even: Role) -> tuple[Token, ...]:
        """Return the next message's tokens; `writes_even` acts on messages 1 and 3."""
        ours = (self._index % 2 == 0) == (self._role is writes_even)
        if self.is_finished or not ours:
            raise UsageError("it is not the turn of this call")
        self._index += 1
        return self._messages[self._index - 1]

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._has_psks:
            self._symmetric.mix_key(public)  # section 9.2: without it a psk key could repeat

    def _mix(self, token: Token) -> None:
        """Do what a token says where both ends do the same."""
        starts = self._role is Role.INITIATOR
        match token:
            case Token.EE:
                shared = _exchange(self._ephemeral, self._remote_ephemeral)
            case Token.ES if starts:
                shared = _exchange(self._ephemeral, self._remote_static)
            case Token.ES:
                shared = _exchange(self._static, self._remote_ephemeral)
            case Token.SE if starts:
                shared = _exchange(self._static, self._remote_ephemeral)
            case Token.SE:
                shared = _exchange(self._ephemeral, self._remote_static)
            case Token.PSK:
                self._symmetric.mix_key_and_hash(self._psks.pop(0))
                return
            case _:
                raise InternalError(f"token {token} moves a key and mixes nothing")
        self._symmetric.mix_key(shared)


def _exchange(private: X25519PrivateKey, public: bytes | None) -> bytes:
    """Diffie-Hellman; an all-zero result means a low-order point and is refused."""
    if public is None:
        raise InternalError("a key is mixed before it arrived")
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise NoiseError("a key of the other end is a low-order point") from None
