"""The cluster secret: 32 random bytes that make a host a member, and their text form.

The text is `mcs1-` and base32 of the secret and a checksum, so that a truncated or
mistyped secret is told from a wrong one. Errors name where the text came from and what
is wrong with it, never any part of it; hence `from None` everywhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from meshcrdt.errors import UsageError
from meshcrdt.trust.derive import derive_key

SECRET_BYTES = 32
SECRET_PREFIX = "mcs1-"
PSK_ID_BYTES = 8

_CHECKSUM_BYTES = 4


def generate_secret(entropy: bytes) -> bytes:
    """Return a new secret from at least 32 bytes of the system's entropy."""
    if len(entropy) < SECRET_BYTES:
        raise UsageError(f"a secret needs {SECRET_BYTES} bytes of entropy, not {len(entropy)}")
    return derive_key(entropy, "cluster secret")


def check_secret(secret: bytes) -> bytes:
    """Return `secret` when it has the right length; raises UsageError naming the length."""
    if len(secret) != SECRET_BYTES:
        raise UsageError(f"a cluster secret has {SECRET_BYTES} bytes, not {len(secret)}")
    return secret


def format_secret(secret: bytes) -> str:
    """Return the text form, for the secret's own file."""
    raw = check_secret(secret) + checksum(secret, SECRET_PREFIX)
    return SECRET_PREFIX + base64.b32encode(raw).decode().rstrip("=").lower()


def parse_secret(text: str, *, source: str) -> bytes:
    """Read the text form; surrounding white space and letter case do not matter.

    Raises UsageError naming `source` ("file /etc/...", "standard input") and the reason.
    """
    body = text.strip().lower()
    if not body.startswith(SECRET_PREFIX):
        raise UsageError(f"the secret from {source} does not start with {SECRET_PREFIX!r}")
    encoded = body.removeprefix(SECRET_PREFIX).upper()
    try:
        raw = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except (binascii.Error, ValueError):
        raise UsageError(f"the secret from {source} is truncated or not base32") from None
    secret, check = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(secret) != SECRET_BYTES:
        raise UsageError(
            f"the secret from {source} has {len(secret)} bytes: {SECRET_BYTES} are needed"
        )
    if check != checksum(secret, SECRET_PREFIX) or format_secret(secret) != body:
        raise UsageError(f"the secret from {source} has a wrong checksum: it was altered")
    return secret


def secret_psk(secret: bytes) -> bytes:
    """Return the 32-byte Noise psk of members, derived so that the secret itself stays home."""
    return derive_key(check_secret(secret), "member psk")


def secret_psk_id(secret: bytes) -> bytes:
    """Return the 8-byte name of that psk, which travels in clear and reveals nothing."""
    return derive_key(check_secret(secret), "member psk id", size=PSK_ID_BYTES)


def checksum(body: bytes, domain: str) -> bytes:
    """Return 4 bytes that catch typing errors; no protection against an attacker."""
    return hashlib.blake2b(domain.encode() + body, digest_size=_CHECKSUM_BYTES).digest()
