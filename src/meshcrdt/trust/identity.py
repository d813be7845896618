"""Who a node is: an Ed25519 key whose hash is the peer id, and what it signs.

The identity certifies itself: nobody assigns an id, and MAC addresses or machine-ids
play no part. All key material comes from one 32-byte seed, which the shell keeps in a
file of its own; the X25519 key of the Noise handshake is derived from it, so that there
is one secret to keep and one to lose.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from meshcrdt.base.ids import PEER_ID_BYTES, PeerId
from meshcrdt.errors import UsageError
from meshcrdt.trust.derive import derive_key

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64


class Identity:
    """One node's keys. Never printed: repr and str show the peer id only."""

    __slots__ = ("_noise", "_peer", "_public", "_seed", "_signer")

    def __init__(self, seed: bytes) -> None:
        """Make the identity of a 32-byte seed; raises UsageError for another length."""
        if len(seed) != SEED_BYTES:
            raise UsageError(f"an identity seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = bytes(seed)
        self._signer = Ed25519PrivateKey.from_private_bytes(self._seed)
        self._public = self._signer.public_key().public_bytes_raw()
        self._peer = peer_id(self._public)
        self._noise = X25519PrivateKey.from_private_bytes(
            derive_key(self._seed, "identity noise static")
        )

    @classmethod
    def generate(cls, entropy: bytes) -> Identity:
        """Make a new identity from at least 32 bytes of the system's entropy."""
        if len(entropy) < SEED_BYTES:
            raise UsageError(f"an identity needs {SEED_BYTES} bytes of entropy, not {len(entropy)}")
        return cls(derive_key(entropy, "identity seed"))

    @property
    def seed(self) -> bytes:
        """The secret seed, for the key file and nothing else."""
        return self._seed

    @property
    def peer(self) -> PeerId:
        """The peer id: BLAKE2b-128 of the public key."""
        return self._peer

    @property
    def public(self) -> bytes:
        """The 32-byte Ed25519 public key."""
        return self._public

    @property
    def noise_static(self) -> X25519PrivateKey:
        """The X25519 key that this node uses as its Noise static key."""
        return self._noise

    def sign(self, domain: str, message: bytes) -> bytes:
        """Return the 64-byte signature of `message` in `domain`.

        The domain is part of what is signed, so a signature made for one purpose never
        passes for another. Raises UsageError for a domain that holds a NUL or is empty.
        """
        return self._signer.sign(_tagged(domain, message))

    def __repr__(self) -> str:
        return f"Identity({self._peer})"


def peer_id(public: bytes) -> PeerId:
    """Return the peer id of an Ed25519 public key."""
    return PeerId(hashlib.blake2b(public, digest_size=PEER_ID_BYTES).digest())


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is that of `public` over `message` in `domain`.

    Never raises for bytes from outside: a key or signature of the wrong form is False.
    """
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _tagged(domain, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def _tagged(domain: str, message: bytes) -> bytes:
    if not domain or "\0" in domain:
        raise UsageError(f"{domain!r} is not a signing domain")
    return b"meshcrdt/" + domain.encode() + b"\0" + message
