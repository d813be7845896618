"""The symmetric half of Noise: cipher, transcript and running key (sections 4 and 5).

Apart from the handshake, because a session needs a cipher and nothing else of Noise.
One suite: ChaCha20-Poly1305 and BLAKE2s.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshcrdt.errors import InternalError, RemoteProtocolError

KEY_BYTES = 32
HASH_BYTES = 32
TAG_BYTES = 16

_NONCE_REKEY = (1 << 64) - 1  # reserved by section 5.1


class NoiseError(RemoteProtocolError):
    """A handshake or transport message that does not authenticate, or is too short."""


class CipherState:
    """A key and the number of the next message, section 5.1. Never printed."""

    __slots__ = ("_aead", "_nonce")

    def __init__(self, key: bytes | None = None) -> None:
        self._aead = None if key is None else ChaCha20Poly1305(key)
        self._nonce = 0

    @property
    def has_key(self) -> bool:
        """Whether messages are sealed; without a key they pass as they are."""
        return self._aead is not None

    @property
    def nonce(self) -> int:
        """The number of the next message."""
        return self._nonce

    def encrypt(self, associated: bytes, plaintext: bytes) -> bytes:
        """Seal one message; it grows by TAG_BYTES."""
        if self._aead is None:
            return plaintext
        return self._aead.encrypt(self._next_nonce(), plaintext, associated)

    def decrypt(self, associated: bytes, ciphertext: bytes) -> bytes:
        """Open one message; raises NoiseError, and the number stays, when it is not authentic."""
        if self._aead is None:
            return ciphertext
        try:
            plaintext = self._aead.decrypt(_nonce_bytes(self._nonce), ciphertext, associated)
        except InvalidTag:
            raise NoiseError("a message does not authenticate") from None
        self._next_nonce()
        return plaintext

    def rekey(self) -> None:
        """Replace the key by a one-way function of it, section 4.2; the number goes on."""
        if self._aead is None:
            raise InternalError("a cipher without a key cannot rekey")
        sealed = self._aead.encrypt(_nonce_bytes(_NONCE_REKEY), bytes(KEY_BYTES), b"")
        self._aead = ChaCha20Poly1305(sealed[:KEY_BYTES])

    def _next_nonce(self) -> bytes:
        if self._nonce >= _NONCE_REKEY:
            raise InternalError("a cipher ran out of message numbers")
        self._nonce += 1
        return _nonce_bytes(self._nonce - 1)


class SymmetricState:
    """The running key and transcript of one handshake, section 5.2."""

    __slots__ = ("_chaining_key", "_cipher", "_hash")

    def __init__(self, protocol: str) -> None:
        name = protocol.encode()
        self._hash = name.ljust(HASH_BYTES, b"\0") if len(name) <= HASH_BYTES else _digest(name)
        self._chaining_key = self._hash
        self._cipher = CipherState()

    @property
    def handshake_hash(self) -> bytes:
        """The hash of everything so far, equal at both ends."""
        return self._hash

    def mix_hash(self, data: bytes) -> None:
        """Bind data that both ends have seen."""
        self._hash = _digest(self._hash + data)

    def mix_key(self, material: bytes) -> None:
        """Make the key depend on `material`."""
        self._chaining_key, key = _hkdf(self._chaining_key, material, count=2)
        self._cipher = CipherState(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Make key and transcript depend on a pre-shared key."""
        self._chaining_key, seen, key = _hkdf(self._chaining_key, material, count=3)
        self.mix_hash(seen)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Seal with the transcript as associated data, and bind the result."""
        ciphertext = self._cipher.encrypt(self._hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Open with the transcript as associated data; raises NoiseError."""
        plaintext = self._cipher.decrypt(self._hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    @property
    def overhead(self) -> int:
        """How many bytes sealing adds now."""
        return TAG_BYTES if self._cipher.has_key else 0

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the ciphers of the two directions: initiator's first."""
        first, second = _hkdf(self._chaining_key, b"", count=2)
        return CipherState(first), CipherState(second)


def _digest(data: bytes) -> bytes:
    return blake2s(data).digest()


def _hkdf(chaining_key: bytes, material: bytes, *, count: int) -> list[bytes]:
    """HKDF of section 4.3, with HMAC-BLAKE2s."""
    temporary = hmac.digest(chaining_key, material, "blake2s")
    outputs: list[bytes] = []
    last = b""
    for number in range(1, count + 1):
        last = hmac.digest(temporary, last + bytes([number]), "blake2s")
        outputs.append(last)
    return outputs


def _nonce_bytes(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "little")
