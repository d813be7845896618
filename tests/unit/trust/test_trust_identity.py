"""Identity: stable derivation, domain separation, and no secret in any print."""

from __future__ import annotations

import hashlib

import pytest

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import UsageError
from meshcrdt.trust.identity import Identity, peer_id, verify

SEED = bytes(range(32))
NOISE_PUBLIC = "075eac699e05dc3eb1a5a884e647f9265757e88485f9d42c85f4ed2029819715"


def test_known_answer() -> None:
    """A change here changes every peer id and every stored identity in the world."""
    identity = Identity(SEED)
    assert identity.public.hex() == (
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    )
    assert identity.peer == PeerId(hashlib.blake2b(identity.public, digest_size=16).digest())
    assert str(identity.peer) == "40bca4eaf9d2b097ff8dbaa4d61767ed"
    assert identity.noise_static.public_key().public_bytes_raw().hex() == NOISE_PUBLIC
    assert identity.seed == SEED


def test_signature_is_bound_to_domain_key_and_message() -> None:
    identity, other = Identity(SEED), Identity(b"o" * 32)
    signature = identity.sign("gossip", b"message")
    assert verify(identity.public, "gossip", b"message", signature)
    assert not verify(identity.public, "handshake", b"message", signature)
    assert not verify(identity.public, "gossip", b"messagE", signature)
    assert not verify(other.public, "gossip", b"message", signature)
    for position in range(64):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not verify(identity.public, "gossip", b"message", bytes(changed))


def test_verify_never_raises_for_bad_forms() -> None:
    signature = Identity(SEED).sign("a", b"")
    for public in (b"", b"\xff" * 32, b"\0" * 32, b"x" * 33):
        assert not verify(public, "a", b"", signature)
    assert not verify(Identity(SEED).public, "a", b"", b"")
    assert not verify(Identity(SEED).public, "a", b"", b"\xff" * 64)


def test_domain_cannot_smuggle_a_message() -> None:
    signature = Identity(SEED).sign("ab", b"c")
    assert not verify(Identity(SEED).public, "a", b"bc", signature)
    assert not verify(Identity(SEED).public, "abc", b"", signature)
    with pytest.raises(UsageError):
        Identity(SEED).sign("a\0b", b"")
    with pytest.raises(UsageError):
        Identity(SEED).sign("", b"")


def test_lengths_are_checked() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        Identity(b"short")
    with pytest.raises(UsageError, match="entropy"):
        Identity.generate(b"x" * 31)


def test_generate_is_a_function_of_its_entropy() -> None:
    assert Identity.generate(b"x" * 32).peer == Identity.generate(b"x" * 32).peer
    assert Identity.generate(b"x" * 32).peer != Identity.generate(b"y" * 32).peer
    assert Identity.generate(SEED).seed != SEED


def test_prints_show_the_peer_only() -> None:
    identity = Identity(SEED)
    for text in (repr(identity), str(identity), f"{identity}", f"{identity!r}"):
        assert text == f"Identity({peer_id(identity.public)})"
