"""The handshake: both ends' outcomes for everything that can go right or wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from meshcrdt.base.ids import Epoch
from meshcrdt.errors import PeerRefused, RemoteProtocolError, UsageError, WrongCluster
from meshcrdt.trust.handshake import Initiator, Responder
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.negotiation import Opening, greet, read_nonce
from meshcrdt.trust.noise import MESH_PROTOCOL, HandshakeState, Role
from meshcrdt.trust.outcomes import Established, HandshakeStep, Refusal, Rejected, Silent
from meshcrdt.trust.plain import PlainInitiator, PlainResponder
from meshcrdt.trust.plain import _binding as plain_binding
from meshcrdt.trust.preamble import MESSAGE_BYTES, PREAMBLE_BYTES, CredentialKind, pad
from meshcrdt.trust.psks import SecretCredential, cluster_psks, credential_preamble
from meshcrdt.trust.secret import secret_psk
from meshcrdt.trust.symmetric import SymmetricState
from meshcrdt.trust.token import make_token

SECRET = b"S" * 32
GENESIS, OTHER_GENESIS = bytes(range(32)), bytes(range(100, 132))
ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
TOKEN = make_token(SECRET, token_id=b"token-id", uses=2, expiry_s=1_000, genesis=GENESIS)


def accept_all(_: object) -> str | None:
    return None


def hello(identity: Identity, genesis: bytes | None = GENESIS, **more: Any) -> Hello:
    made = Hello.of(identity, name="n", epoch=Epoch(1, b"instance"), genesis=genesis)
    return evolve(made, **more)


def initiator(
    *,
    credential: Any = None,
    ours: Hello | None = None,
    ephemeral: bytes = b"1" * 32,
) -> Initiator:
    return Initiator(
        identity=ALICE,
        hello=ours or hello(ALICE),
        credential=credential or SecretCredential(SECRET),
        ephemeral=ephemeral,
    )


def responder(
    *,
    secret: bytes = SECRET,
    ours: Hello | None = None,
    judge: Callable[[Any], str | None] = accept_all,
    ephemeral: bytes = b"2" * 32,
) -> Responder:
    return Responder(
        identity=BOB,
        hello=ours or hello(BOB),
        psks=cluster_psks(secret, judge),
        ephemeral=ephemeral,
    )


def plain_pair(ours: Hello, theirs: Hello) -> tuple[PlainInitiator, PlainResponder]:
    return (
        PlainInitiator(identity=ALICE, hello=ours, ephemeral=b"1" * 32),
        PlainResponder(identity=BOB, hello=theirs, ephemeral=b"2" * 32),
    )


def pair(kind: str) -> tuple[Any, Any]:
    if kind == "plain":
        return plain_pair(hello(ALICE), hello(BOB))
    if kind == "token":
        return initiator(credential=TOKEN, ours=hello(ALICE, None)), responder()
    return initiator(), responder()


def run(first: Any, second: Any) -> tuple[Any, Any]:
    """Run a handshake to both ends' outcomes; a reply is delivered before the link closes."""
    step_b = second.receive(first.start())
    if step_b.reply is None:
        return None, step_b.outcome
    step_a = first.receive(step_b.reply)
    if step_b.outcome is not None or step_a.reply is None:
        return step_a.outcome, step_b.outcome
    return step_a.outcome, second.receive(step_a.reply).outcome


@pytest.mark.parametrize("kind", ["secret", "token", "plain"])
def test_established_at_both_ends(kind: str) -> None:
    a, b = run(*pair(kind))
    assert isinstance(a, Established)
    assert isinstance(b, Established)
    assert (a.hello.peer, b.hello.peer) == (BOB.peer, ALICE.peer)
    assert a.handshake_hash == b.handshake_hash
    assert a.version == b.version == 1
    assert a.session.encrypted == b.session.encrypted == (kind != "plain")
    assert a.admission == b.admission == (kind == "token")
    assert a.token == b.token == (TOKEN.claim if kind == "token" else None)
    for number in range(3):
        frame = b"frame %d" % number
        assert b.session.open(a.session.seal(frame)) == frame
        assert a.session.open(b.session.seal(frame)) == frame


@pytest.mark.parametrize("kind", ["secret", "token", "plain"])
def test_message_1_is_as_large_as_any_answer(kind: str) -> None:
    first, second = pair(kind)
    largest = Hello.of(
        BOB,
        name="n" * 255,
        epoch=Epoch(2**63 - 1, b"instance"),
        genesis=GENESIS,
        features=[f"feature-{i}" for i in range(20)],
        advertise=[f"tcp://host-{i}.example:6783" for i in range(16)],
    )
    second = evolve_responder(kind, largest)
    message_1 = first.start()
    assert len(message_1) == MESSAGE_BYTES
    step = second.receive(message_1)
    assert step.reply is not None
    assert len(step.reply) <= len(message_1)


def evolve_responder(kind: str, ours: Hello) -> Any:
    if kind == "plain":
        return PlainResponder(identity=BOB, hello=ours, ephemeral=b"2" * 32)
    return responder(ours=ours)


@pytest.mark.parametrize("kind", ["secret", "token", "plain"])
@pytest.mark.parametrize("message", [1, 2, 3])
def test_every_flipped_bit_is_refused(kind: str, message: int) -> None:
    """No bit of any message may be changed on the way; nothing raises for it either."""
    first, second = pair(kind)
    message_1 = first.start()
    message_2 = second.receive(message_1).reply
    message_3 = first.receive(message_2).reply
    original = (message_1, message_2, message_3)[message - 1]
    # Of the long padding one bit of each byte will do: an AEAD does not know bits.
    end = len(original) * 8
    positions = [*range(min(2_048, end)), *range(2_048 + 3, end, 8)]
    for position in positions:
        changed = bytearray(original)
        changed[position // 8] ^= 1 << position % 8
        outcome = outcome_of(kind, message, bytes(changed), message_1)
        expected = Silent if message == 1 and kind != "plain" else Silent | Rejected
        assert isinstance(outcome, expected), (position, outcome)


def outcome_of(kind: str, message: int, changed: bytes, message_1: bytes) -> Any:
    """Deliver one changed message; return how the first end that can see it ends."""
    first, second = pair(kind)
    first.start()
    if message == 2:
        return first.receive(changed).outcome
    if message == 3:
        second.receive(message_1)
        return second.receive(changed).outcome
    step = second.receive(changed)
    if kind == "plain" and step.reply is not None:
        # In clear only the signature of message 2 covers message 1: the initiator sees it.
        return first.receive(step.reply).outcome
    assert step.reply is None
    return step.outcome


def test_every_cut_and_extension_is_refused() -> None:
    first, second = pair("secret")
    message_1 = first.start()
    message_2 = second.receive(message_1).reply
    message_3 = first.receive(message_2).reply
    for message, original in ((1, message_1), (2, message_2), (3, message_3)):
        for changed in (b"", original[:-1], original[:31], original[:40], original + b"\0"):
            outcome = outcome_of("secret", message, changed, message_1)
            assert isinstance(outcome, Silent if message == 1 else Rejected)


def test_unknown_secret_gets_silence_and_the_log_names_both_clusters() -> None:
    other = hello(BOB, OTHER_GENESIS)
    step = responder(secret=b"T" * 32, ours=other).receive(initiator().start())
    assert step.reply is None
    assert isinstance(step.outcome, Silent)
    assert GENESIS[:8].hex() in step.outcome.reason
    assert OTHER_GENESIS[:8].hex() in step.outcome.reason


def test_known_id_with_another_key_gets_silence() -> None:
    """An attacker may copy a psk id from the wire; without the key nothing comes of it."""
    preamble = credential_preamble(SecretCredential(SECRET), GENESIS).to_bytes()
    noise = HandshakeState(
        MESH_PROTOCOL,
        Role.INITIATOR,
        prologue=preamble,
        static=ALICE.noise_static,
        ephemeral=b"1" * 32,
        psks=[b"guess" * 6 + b"xx"] * 2,
    )
    forged = preamble + noise.write_message(pad(b"", MESSAGE_BYTES - PREAMBLE_BYTES - 48))
    step = responder().receive(forged)
    assert step.reply is None
    assert isinstance(step.outcome, Silent)
    assert "secret" in step.outcome.reason


def test_lookup_knows_only_the_names_of_its_own_keys() -> None:
    lookup = cluster_psks(SECRET, lambda claim: "refused" if claim.uses == 7 else None)
    preamble = credential_preamble(SecretCredential(SECRET), GENESIS)
    found = lookup(preamble)
    assert found is not None
    assert found.key == secret_psk(SECRET)
    assert lookup(evolve(preamble, psk_id=b"another!")) is None
    assert lookup(evolve(preamble, kind=CredentialKind.OPEN)) is None
    token = lookup(credential_preamble(TOKEN, None))
    assert token is not None
    assert (token.key, token.refusal) == (TOKEN.key, None)
    refused = lookup(evolve(credential_preamble(TOKEN, None), uses=7))
    assert refused is not None
    assert refused.refusal == "refused"
    assert refused.key != TOKEN.key


def test_low_order_key_of_a_member_is_refused() -> None:
    preamble = credential_preamble(SecretCredential(SECRET), GENESIS).to_bytes()
    symmetric = SymmetricState(MESH_PROTOCOL)
    symmetric.mix_hash(preamble)
    symmetric.mix_key_and_hash(secret_psk(SECRET))
    symmetric.mix_hash(bytes(32))
    symmetric.mix_key(bytes(32))
    first = initiator()
    opening = HandshakeState(
        MESH_PROTOCOL,
        Role.RESPONDER,
        prologue=preamble,
        static=BOB.noise_static,
        ephemeral=b"2" * 32,
        psks=[secret_psk(SECRET)] * 2,
    ).read_message(first.start()[PREAMBLE_BYTES:])
    crafted = preamble + bytes(32) + symmetric.encrypt_and_hash(opening)
    step = responder().receive(crafted)
    assert step.reply is None
    assert isinstance(step.outcome, Rejected)
    assert "low-order" in step.outcome.reason


def test_one_secret_two_clusters_names_both_ids_at_both_ends() -> None:
    ours, theirs = hello(ALICE), hello(BOB, OTHER_GENESIS)
    for first, second in (
        (initiator(ours=ours), responder(ours=theirs)),
        plain_pair(ours, theirs),
    ):
        for outcome in run(first, second):
            assert isinstance(outcome, Rejected)
            assert outcome.refusal is Refusal.CLUSTER
            assert {outcome.cluster, outcome.remote_cluster} == {ours.cluster, theirs.cluster}
            assert str(ours.cluster) in outcome.reason
            assert str(theirs.cluster) in outcome.reason
            with pytest.raises(WrongCluster, match=str(theirs.cluster)):
                raise outcome.error()


def test_a_node_without_genesis_is_accepted_by_either_end() -> None:
    for ours, theirs in (
        (hello(ALICE, None), hello(BOB)),
        (hello(ALICE), hello(BOB, None)),
        (hello(ALICE, None), hello(BOB, None)),
    ):
        for first, second in (
            (initiator(ours=ours), responder(ours=theirs)),
            plain_pair(ours, theirs),
        ):
            assert all(isinstance(outcome, Established) for outcome in run(first, second))


def test_version_mismatch_is_typed_at_both_ends() -> None:
    ours, theirs = hello(ALICE, versions=(1, 2)), hello(BOB, versions=(3,))
    for first, second in (
        (initiator(ours=ours), responder(ours=theirs)),
        plain_pair(ours, theirs),
    ):
        for outcome in run(first, second):
            assert isinstance(outcome, Rejected)
            assert outcome.refusal is Refusal.VERSION
            assert "1, 2" in outcome.reason
            assert "3" in outcome.reason
            assert isinstance(outcome.error(), PeerRefused)


def test_the_highest_common_version_and_the_common_features() -> None:
    ours = hello(ALICE, versions=(1, 2, 4), features=("a", "b"))
    theirs = hello(BOB, versions=(2, 3, 1), features=("b", "c"))
    a, b = run(initiator(ours=ours), responder(ours=theirs))
    assert (a.version, b.version) == (2, 2)
    assert a.features == b.features == ("b",)


def test_another_major_version_is_named() -> None:
    message = bytearray(initiator().start())
    message[4] = 9
    outcome = responder().receive(bytes(message)).outcome
    assert isinstance(outcome, Silent)
    assert "major version 9" in outcome.reason


def test_replayed_message_1_gives_a_fresh_session_only() -> None:
    """A recording opens nothing: the answer differs, and message 3 of the old run is refused."""
    first, second = pair("secret")
    message_1 = first.start()
    message_2 = second.receive(message_1).reply
    message_3 = first.receive(message_2).reply
    again = responder(ephemeral=b"3" * 32)
    step = again.receive(message_1)
    assert step.reply != message_2
    assert step.outcome is None
    assert isinstance(again.receive(message_3).outcome, Rejected)


def test_plain_replay_is_refused_too() -> None:
    first, second = pair("plain")
    message_1 = first.start()
    message_3 = first.receive(second.receive(message_1).reply).reply
    again = PlainResponder(identity=BOB, hello=hello(BOB), ephemeral=b"3" * 32)
    again.receive(message_1)
    assert isinstance(again.receive(message_3).outcome, Rejected)


def test_secret_and_insecure_do_not_meet() -> None:
    insecure_a, insecure_b = pair("plain")
    step = responder().receive(insecure_a.start())
    assert step == HandshakeStep(outcome=step.outcome)
    assert isinstance(step.outcome, Silent)
    assert "without a secret" in step.outcome.reason
    step = insecure_b.receive(initiator().start())
    assert step.reply is None
    assert isinstance(step.outcome, Silent)
    assert "has a secret" in step.outcome.reason


def test_a_refused_token_is_told_why_and_not_who() -> None:
    claims = []

    def judge(claim: Any) -> str | None:
        claims.append(claim)
        return "the token expired 20 s ago"

    first = initiator(credential=TOKEN, ours=hello(ALICE, None))
    a, b = run(first, responder(judge=judge))
    assert claims == [TOKEN.claim]
    for outcome in (a, b):
        assert isinstance(outcome, Rejected)
        assert outcome.refusal is Refusal.ADMISSION
        assert "expired 20 s ago" in outcome.reason


@pytest.mark.parametrize("change", [{"uses": 3}, {"expiry_s": 2_000}, {"id": b"token-iD"}])
def test_a_stretched_token_gets_silence(change: dict[str, Any]) -> None:
    forged = evolve(TOKEN, **change)
    step = responder().receive(initiator(credential=forged, ours=hello(ALICE, None)).start())
    assert step.reply is None
    assert isinstance(step.outcome, Silent)
    assert "token" in step.outcome.reason


def test_token_pins_its_cluster() -> None:
    """The same secret, but a genesis that the token does not name: both ends say so."""
    first = initiator(credential=TOKEN, ours=hello(ALICE, None))
    for outcome in run(first, responder(ours=hello(BOB, OTHER_GENESIS))):
        assert isinstance(outcome, Rejected)
        assert outcome.refusal is Refusal.CLUSTER
        assert TOKEN.cluster in outcome.reason
    first = initiator(credential=TOKEN, ours=hello(ALICE, None))
    outcome, _ = run(first, responder(ours=hello(BOB, None)))
    assert isinstance(outcome, Rejected)
    assert outcome.refusal is Refusal.ADMISSION
    with pytest.raises(UsageError, match=TOKEN.cluster):
        initiator(credential=TOKEN, ours=hello(ALICE, OTHER_GENESIS))


def test_hello_must_be_signed_by_its_identity() -> None:
    """A member cannot speak in the name of another peer, even with that peer's Hello."""
    thief = Initiator(
        identity=Identity(b"t" * 32),
        hello=hello(ALICE),
        credential=SecretCredential(SECRET),
        ephemeral=b"1" * 32,
    )
    _, b = run(thief, responder())
    assert isinstance(b, Rejected)
    assert "signature" in b.reason
    thief_b = Responder(
        identity=Identity(b"t" * 32),
        hello=hello(BOB),
        psks=cluster_psks(SECRET, accept_all),
        ephemeral=b"2" * 32,
    )
    a, _ = run(initiator(), thief_b)
    assert isinstance(a, Rejected)
    assert "signature" in a.reason


def test_calls_out_of_order_are_misuse() -> None:
    for kind in ("secret", "plain"):
        first, second = pair(kind)
        with pytest.raises(UsageError):
            first.receive(b"")
        message_1 = first.start()
        with pytest.raises(UsageError):
            first.start()
        second.receive(b"x" * MESSAGE_BYTES)
        with pytest.raises(UsageError):
            second.receive(message_1)
        first.receive(b"")
        with pytest.raises(UsageError):
            first.receive(b"")


@pytest.mark.parametrize("kind", ["secret", "plain"])
@pytest.mark.parametrize("change", [{"versions": (1, 5)}, {"genesis": OTHER_GENESIS}])
def test_a_hello_that_contradicts_message_1_is_refused(kind: str, change: dict[str, Any]) -> None:
    """Who passes the check of message 1 with one story may not tell another in message 3."""
    first, second = pair(kind)
    message_2 = second.receive(first.start()).reply
    first._hello = hello(ALICE, **change)
    if kind == "plain":  # the liar ignores what it should refuse itself
        outcome = second.receive(plain_message_3(first, message_2)).outcome
    else:
        if "genesis" in change:
            first._genesis = None
        outcome = second.receive(first.receive(message_2).reply).outcome
    assert isinstance(outcome, Rejected)
    assert "contradicts" in outcome.reason


def plain_message_3(liar: PlainInitiator, message_2: bytes) -> bytes:
    binding = plain_binding(3, liar._first, read_nonce(message_2))
    return greet(ALICE, liar._hello, binding)


def sealed_message_1(payload: bytes) -> bytes:
    """Return an authentic message 1 of a member that seals whatever it likes."""
    preamble = credential_preamble(SecretCredential(SECRET), GENESIS).to_bytes()
    noise = HandshakeState(
        MESH_PROTOCOL,
        Role.INITIATOR,
        prologue=preamble,
        static=ALICE.noise_static,
        ephemeral=b"1" * 32,
        psks=[secret_psk(SECRET)] * 2,
    )
    return preamble + noise.write_message(payload)


OPENING = Opening.of(hello(ALICE)).to_bytes()
SPACE = MESSAGE_BYTES - PREAMBLE_BYTES - 48


def test_message_1_of_a_member_is_checked_like_any_other() -> None:
    good = pad(OPENING, SPACE)
    assert responder().receive(sealed_message_1(good)).outcome is None
    for payload in (good[:-1] + b"\1", b"\xff\xff" + good[2:], bytes(SPACE), b"\0\1" + good[2:]):
        step = responder().receive(sealed_message_1(payload))
        assert step.reply is None
        assert isinstance(step.outcome, Rejected)
        assert "message 1" in step.outcome.reason
    for size in (SPACE - 1, SPACE + 1, len(OPENING) + 2):
        step = responder().receive(sealed_message_1(pad(OPENING, size)))
        assert step.reply is None
        assert isinstance(step.outcome, Silent)


def test_plain_preamble_must_name_the_cluster_of_message_1() -> None:
    message = bytearray(pair("plain")[0].start())
    message[14] ^= 1
    step = pair("plain")[1].receive(bytes(message))
    assert step.reply is None
    assert isinstance(step.outcome, Silent)
    assert "contradicts" in step.outcome.reason


@pytest.mark.parametrize("ephemeral", [b"", b"x" * 31, b"x" * 33])
def test_entropy_is_checked(ephemeral: bytes) -> None:
    with pytest.raises(UsageError):
        initiator(ephemeral=ephemeral)
    with pytest.raises(UsageError):
        responder(ephemeral=ephemeral)
    with pytest.raises(UsageError):
        PlainInitiator(identity=ALICE, hello=hello(ALICE), ephemeral=ephemeral)
    with pytest.raises(UsageError):
        PlainResponder(identity=BOB, hello=hello(BOB), ephemeral=ephemeral)


def test_sessions_of_two_handshakes_do_not_mix() -> None:
    a, _ = run(*pair("secret"))
    _, b = run(initiator(ephemeral=b"9" * 32), responder())
    with pytest.raises(RemoteProtocolError):
        b.session.open(a.session.seal(b"frame"))
