"""The Noise state machine: degenerate keys, misuse, counters, and printing nothing."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from meshcrdt.errors import InternalError, UsageError
from meshcrdt.trust import noise
from meshcrdt.trust.noise import MESH_PROTOCOL, SUITE, HandshakeState, Role, parse_pattern
from meshcrdt.trust.symmetric import CipherState, NoiseError, SymmetricState

LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def state(role: Role, protocol: str = MESH_PROTOCOL) -> HandshakeState:
    return HandshakeState(
        protocol,
        role,
        prologue=b"prologue",
        static=X25519PrivateKey.from_private_bytes(role.value[:1].encode() * 32),
        ephemeral=role.value[1:2].encode() * 32,
        psks=[b"p" * 32] * protocol.count("psk"),
    )


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_low_order_ephemeral_of_a_member_is_refused(point: bytes) -> None:
    """Someone who holds the psk can seal message 1 over any point (section 12.1)."""
    symmetric = SymmetricState(MESH_PROTOCOL)
    symmetric.mix_hash(b"prologue")
    symmetric.mix_key_and_hash(b"p" * 32)
    symmetric.mix_hash(point)
    symmetric.mix_key(point)
    message = point + symmetric.encrypt_and_hash(b"payload")
    responder = state(Role.RESPONDER)
    assert responder.read_message(message) == b"payload"
    with pytest.raises(NoiseError, match="low-order"):
        responder.write_message(b"")


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_low_order_ephemeral_of_a_responder_is_refused(point: bytes) -> None:
    initiator = state(Role.INITIATOR)
    initiator.write_message(b"")
    with pytest.raises(NoiseError, match="low-order"):
        initiator.read_message(point + bytes(96))


def test_calls_out_of_turn_are_misuse() -> None:
    initiator, responder = state(Role.INITIATOR), state(Role.RESPONDER)
    with pytest.raises(UsageError):
        responder.write_message(b"")
    with pytest.raises(UsageError):
        initiator.read_message(b"")
    with pytest.raises(UsageError):
        initiator.split()
    with pytest.raises(UsageError):
        _ = initiator.remote_static
    responder.read_message(initiator.write_message(b"1"))
    with pytest.raises(UsageError):
        initiator.write_message(b"")
    initiator.read_message(responder.write_message(b"2"))
    responder.read_message(initiator.write_message(b"3"))
    with pytest.raises(UsageError):
        responder.write_message(b"")


def test_psks_and_entropy_are_checked() -> None:
    static = X25519PrivateKey.from_private_bytes(b"s" * 32)
    for psks in ([], [b"p" * 32], [b"p" * 32, b"short"]):
        with pytest.raises(UsageError, match="psks"):
            HandshakeState(
                MESH_PROTOCOL,
                Role.INITIATOR,
                prologue=b"",
                static=static,
                ephemeral=b"e" * 32,
                psks=psks,
            )
    with pytest.raises(UsageError, match="ephemeral"):
        HandshakeState(
            f"Noise_XX_{SUITE}", Role.INITIATOR, prologue=b"", static=static, ephemeral=b""
        )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Noise_NN_25519_ChaChaPoly_BLAKE2s",
        "Noise_XX_25519_AESGCM_SHA256",
        "Noise_XXpsk4_25519_ChaChaPoly_BLAKE2s",
        "Noise_XXfallback_25519_ChaChaPoly_BLAKE2s",
        "Noises_XX_25519_ChaChaPoly_BLAKE2s",
    ],
)
def test_other_protocols_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        parse_pattern(name)


def test_cipher_counts_and_refuses_replay_and_reorder() -> None:
    sends, receives = CipherState(b"k" * 32), CipherState(b"k" * 32)
    first, second = sends.encrypt(b"", b"1"), sends.encrypt(b"", b"2")
    with pytest.raises(NoiseError):
        receives.decrypt(b"", second)
    assert receives.decrypt(b"", first) == b"1"
    with pytest.raises(NoiseError):
        receives.decrypt(b"", first)
    assert receives.decrypt(b"", second) == b"2"
    assert (sends.nonce, receives.nonce) == (2, 2)
    with pytest.raises(NoiseError):
        receives.decrypt(b"", b"short")


def test_rekey_changes_the_key_and_keeps_the_number() -> None:
    sends, receives = CipherState(b"k" * 32), CipherState(b"k" * 32)
    assert receives.decrypt(b"", sends.encrypt(b"", b"1")) == b"1"
    sends.rekey()
    sealed = sends.encrypt(b"", b"2")
    with pytest.raises(NoiseError):
        receives.decrypt(b"", sealed)
    receives.rekey()
    assert receives.decrypt(b"", sealed) == b"2"
    with pytest.raises(InternalError):
        CipherState().rekey()


def test_a_strangers_message_1_makes_no_key_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a key costs as much as a Diffie-Hellman, which strangers are not given."""
    made: list[bytes] = []

    class Counted(X25519PrivateKey):
        @classmethod
        def from_private_bytes(cls, data: bytes) -> X25519PrivateKey:
            made.append(data)
            return X25519PrivateKey.from_private_bytes(data)

    alice, bob, guarded = state(Role.INITIATOR), state(Role.RESPONDER), state(Role.RESPONDER)
    monkeypatch.setattr(noise, "X25519PrivateKey", Counted)
    with pytest.raises(NoiseError):
        guarded.read_message(b"x" * 200)
    assert made == []
    bob.read_message(alice.write_message(b""))
    alice.read_message(bob.write_message(b""))
    assert made == [b"n" * 32, b"e" * 32], "each of those who know the key made its own, once"
