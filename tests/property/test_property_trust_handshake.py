"""Properties of the handshake: any bytes at any moment, any secrets, any Hellos."""

from __future__ import annotations

from typing import Any

from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.base.ids import Epoch
from meshcrdt.trust.handshake import Initiator, Responder
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.outcomes import Established, Rejected, Silent
from meshcrdt.trust.plain import PlainInitiator, PlainResponder
from meshcrdt.trust.preamble import MESSAGE_BYTES, CredentialKind, Preamble
from meshcrdt.trust.psks import SecretCredential, cluster_psks
from meshcrdt.trust.secret import secret_psk_id

SECRET = b"S" * 32
keys = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(categories=("L", "N"), include_characters=" -."), max_size=100)


def machines(kind: str, seed: bytes = b"s" * 32) -> tuple[Any, Any]:
    identity = Identity(seed)
    hello = Hello.of(identity, name="n", epoch=Epoch(1, b"instance"), genesis=b"g" * 32)
    if kind == "plain":
        return (
            PlainInitiator(identity=identity, hello=hello, ephemeral=b"1" * 32),
            PlainResponder(identity=identity, hello=hello, ephemeral=b"2" * 32),
        )
    return (
        Initiator(
            identity=identity,
            hello=hello,
            credential=SecretCredential(SECRET),
            ephemeral=b"1" * 32,
        ),
        Responder(
            identity=identity,
            hello=hello,
            psks=cluster_psks(SECRET, lambda _: None),
            ephemeral=b"2" * 32,
        ),
    )


def preambles() -> st.SearchStrategy[bytes]:
    """First messages that get past the first checks."""
    return st.builds(
        lambda kind, psk_id, uses, expiry_s, rest: (
            Preamble(
                kind=kind, psk_id=psk_id, cluster_tag=b"g" * 16, uses=uses, expiry_s=expiry_s
            ).to_bytes()
            + rest
        ).ljust(MESSAGE_BYTES, b"\0"),
        st.sampled_from(CredentialKind),
        st.sampled_from([secret_psk_id(SECRET), bytes(8)]),
        st.integers(0, 65_535),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=600),
    )


anything = st.binary(max_size=2_100) | preambles()


@given(st.sampled_from(["secret", "plain"]), anything, anything)
def test_no_bytes_raise_at_any_end(kind: str, first: bytes, second: bytes) -> None:
    initiator, responder = machines(kind)
    step = responder.receive(first)
    assert isinstance(step.outcome, Silent | Rejected) or kind == "plain"
    if step.reply is not None:
        assert len(step.reply) <= len(first)
    initiator.start()
    assert isinstance(initiator.receive(second).outcome, Rejected)


@given(st.sampled_from(["secret", "plain"]), anything)
def test_no_bytes_raise_as_message_3(kind: str, data: bytes) -> None:
    initiator, responder = machines(kind)
    responder.receive(initiator.start())
    assert isinstance(responder.receive(data).outcome, Rejected)


@settings(max_examples=examples(50))
@given(keys, keys, keys, names, st.lists(keys, min_size=2, max_size=2), st.binary(max_size=500))
def test_any_two_members_agree(
    seed_a: bytes, seed_b: bytes, secret: bytes, name: str, entropy: list[bytes], frame: bytes
) -> None:
    first, second = Identity(seed_a), Identity(seed_b)
    hello_a = Hello.of(first, name=name, epoch=Epoch(1, b"instance"), features=["x"])
    hello_b = Hello.of(second, name=name, epoch=Epoch(2, b"instance"), genesis=b"g" * 32)
    initiator = Initiator(
        identity=first, hello=hello_a, credential=SecretCredential(secret), ephemeral=entropy[0]
    )
    responder = Responder(
        identity=second,
        hello=hello_b,
        psks=cluster_psks(secret, lambda _: None),
        ephemeral=entropy[1],
    )
    message_1 = initiator.start()
    step_b = responder.receive(message_1)
    assert step_b.reply is not None
    step_a = initiator.receive(step_b.reply)
    assert step_a.reply is not None
    a, b = step_a.outcome, responder.receive(step_a.reply).outcome
    assert isinstance(a, Established)
    assert isinstance(b, Established)
    assert (a.hello, b.hello) == (hello_b, hello_a)
    assert b.session.open(a.session.seal(frame)) == frame
    assert a.session.open(b.session.seal(frame)) == frame
    wire = message_1 + step_b.reply + step_a.reply
    for hidden in (secret, seed_a, seed_b, first.public, second.public, *entropy):
        assert hidden not in wire
