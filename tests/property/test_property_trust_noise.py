"""Our Noise against `noiseprotocol`, the oracle, in both roles; and any bytes from outside."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from meshcrdt.trust.noise import MESH_PROTOCOL, HandshakeState, Role
from meshcrdt.trust.symmetric import NoiseError

keys = st.binary(min_size=32, max_size=32)
payloads = st.binary(max_size=1_200)


def oracle(
    role: Role, *, prologue: bytes, static: bytes, ephemeral: bytes, psks: list[bytes]
) -> Any:
    connection = NoiseConnection.from_name(MESH_PROTOCOL.encode())
    if role is Role.INITIATOR:
        connection.set_as_initiator()
    else:
        connection.set_as_responder()
    connection.set_psks(psks=psks)
    connection.set_prologue(prologue)
    connection.set_keypair_from_private_bytes(Keypair.STATIC, static)
    connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that the ephemeral is given, as it must be
        connection.start_handshake()
    return connection


@pytest.mark.parametrize("role", list(Role))
@settings(max_examples=examples(60))
@given(
    ours=st.tuples(keys, keys),
    theirs=st.tuples(keys, keys),
    psks=st.lists(keys, min_size=2, max_size=2),
    prologue=st.binary(max_size=100),
    handshake=st.lists(payloads, min_size=3, max_size=3),
    transport=st.lists(payloads, max_size=6),
    rekey_at=st.integers(0, 6),
)
def test_agrees_with_the_oracle(
    role: Role,
    ours: tuple[bytes, bytes],
    theirs: tuple[bytes, bytes],
    psks: list[bytes],
    prologue: bytes,
    handshake: list[bytes],
    transport: list[bytes],
    rekey_at: int,
) -> None:
    mine = HandshakeState(
        MESH_PROTOCOL,
        role,
        prologue=prologue,
        static=X25519PrivateKey.from_private_bytes(ours[0]),
        ephemeral=ours[1],
        psks=psks,
    )
    other_role = Role.RESPONDER if role is Role.INITIATOR else Role.INITIATOR
    other = oracle(other_role, prologue=prologue, static=theirs[0], ephemeral=theirs[1], psks=psks)
    for index, payload in enumerate(handshake):
        if (index % 2 == 0) == (role is Role.INITIATOR):
            assert bytes(other.read_message(mine.write_message(payload))) == payload
        else:
            assert mine.read_message(bytes(other.write_message(payload))) == payload
    assert mine.handshake_hash == other.get_handshake_hash()
    static = X25519PrivateKey.from_private_bytes(theirs[0])
    assert mine.remote_static == static.public_key().public_bytes_raw()
    sends, receives = mine.split()
    for index, payload in enumerate(transport):
        if index == rekey_at:
            sends.rekey()
            receives.rekey()
            other.rekey_inbound_cipher()
            other.rekey_outbound_cipher()
        assert bytes(other.decrypt(sends.encrypt(b"", payload))) == payload
        assert receives.decrypt(b"", bytes(other.encrypt(payload))) == payload


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_as_noise_errors(data: bytes, as_second: bool) -> None:
    state = HandshakeState(
        MESH_PROTOCOL,
        Role.INITIATOR if as_second else Role.RESPONDER,
        prologue=b"",
        static=X25519PrivateKey.from_private_bytes(b"s" * 32),
        ephemeral=b"e" * 32,
        psks=[b"p" * 32] * 2,
    )
    if as_second:
        state.write_message(b"")
    with pytest.raises(NoiseError):
        state.read_message(data)
