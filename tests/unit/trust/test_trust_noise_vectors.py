"""Our Noise against vectors: our own file always, the public collections where they are.

The public collections (cacophony and snow) are large; name one of their files in the
environment variable MESHCRDT_NOISE_VECTORS to run all of it that is of the XX family with
our key agreement, cipher and hash.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from meshcrdt.errors import UsageError
from meshcrdt.trust.noise import HandshakeState, Role, parse_pattern

OWN = Path(__file__).parents[2] / "vectors" / "noise_xxpsk0_psk3.json"


def is_ours(protocol: str) -> bool:
    try:
        parse_pattern(protocol)
    except UsageError:
        return False
    return True


def load() -> list[Any]:
    vectors = json.loads(OWN.read_text(encoding="utf-8"))["vectors"]
    public = os.environ.get("MESHCRDT_NOISE_VECTORS")
    if public:
        path = Path(public)
        found = json.loads(path.read_text(encoding="utf-8"))["vectors"]
        ours = [vector for vector in found if is_ours(vector["protocol_name"])]
        assert ours, f"{public} has no vector of Noise_XX with our suite"
        vectors += [{"from": path.name, **vector} for vector in ours]
    return list(vectors)


def start(vector: dict[str, Any], role: Role) -> HandshakeState:
    side = "init" if role is Role.INITIATOR else "resp"
    return HandshakeState(
        vector["protocol_name"],
        role,
        prologue=bytes.fromhex(vector[f"{side}_prologue"]),
        static=X25519PrivateKey.from_private_bytes(bytes.fromhex(vector[f"{side}_static"])),
        ephemeral=bytes.fromhex(vector[f"{side}_ephemeral"]),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{side}_psks", [])],
    )


@pytest.mark.parametrize(
    "vector", load(), ids=lambda vector: f"{vector['protocol_name'].split('_')[1]}-{vector['from']}"
)
def test_vector(vector: dict[str, Any]) -> None:
    initiator, responder = start(vector, Role.INITIATOR), start(vector, Role.RESPONDER)
    messages = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"]))
        for message in vector["messages"]
    ]
    for index, (payload, ciphertext) in enumerate(messages[:3]):
        writer, reader = (initiator, responder) if index % 2 == 0 else (responder, initiator)
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload
        assert writer.handshake_hash == reader.handshake_hash
    assert initiator.is_finished
    assert responder.is_finished
    if "handshake_hash" in vector:
        assert initiator.handshake_hash.hex() == vector["handshake_hash"]
    (a_sends, a_receives), (b_sends, b_receives) = initiator.split(), responder.split()
    for index, (payload, ciphertext) in enumerate(messages[3:], start=3):
        if index == vector.get("rekey_before_message"):
            for cipher in (a_sends, a_receives, b_sends, b_receives):
                cipher.rekey()
        sends, receives = (a_sends, b_receives) if index % 2 == 0 else (b_sends, a_receives)
        assert sends.encrypt(b"", payload) == ciphertext
        assert receives.decrypt(b"", ciphertext) == payload


def test_the_vectors_are_there() -> None:
    assert sum(vector["from"].startswith("noiseprotocol") for vector in load()) == 4
