"""Key derivation: HKDF (RFC 5869) with BLAKE2b, one label for one purpose.

Every derived key of the project goes through here, so that two purposes can never share
a key and the list of labels can be found with one search.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import BLAKE2b
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


def derive_key(secret: bytes, label: str, context: bytes = b"", *, size: int = KEY_BYTES) -> bytes:
    """Return `size` bytes derived from `secret` for the purpose `label` and a context.

    Knowing a derived key, or an id made this way, tells nothing about the secret.
    """
    info = b"meshcrdt " + label.encode() + b"\0" + context
    return HKDF(algorithm=BLAKE2b(64), length=size, salt=None, info=info).derive(secret)
