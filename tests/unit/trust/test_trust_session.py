"""Sessions: order, replay, deterministic rekey, and the plain twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import InternalError, RemoteProtocolError
from meshcrdt.trust.session import REKEY_MESSAGES, PlainSession, SealedSession
from meshcrdt.trust.symmetric import CipherState


def sessions(rekey_messages: int = REKEY_MESSAGES) -> tuple[SealedSession, SealedSession]:
    return (
        SealedSession(
            CipherState(b"1" * 32), CipherState(b"2" * 32), rekey_messages=rekey_messages
        ),
        SealedSession(
            CipherState(b"2" * 32), CipherState(b"1" * 32), rekey_messages=rekey_messages
        ),
    )


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=40), st.integers(1, 9))
def test_frames_pass_in_both_directions_across_rekeys(
    frames: list[tuple[bool, bytes]], rekey_messages: int
) -> None:
    a, b = sessions(rekey_messages)
    for to_b, frame in frames:
        sends, receives = (a, b) if to_b else (b, a)
        sealed = sends.seal(frame)
        assert len(sealed) == len(frame) + sends.overhead_bytes
        assert receives.open(sealed) == frame
        a.check()
        b.check()
    sent = sum(to_b for to_b, _ in frames)
    assert a.statistics().sealed == b.statistics().opened == sent
    assert a.statistics().sealing_rekeys == sent // rekey_messages


def test_rekey_happens_at_the_published_count() -> None:
    a, b = sessions()
    never, _ = sessions(1 << 40)
    for number in range(REKEY_MESSAGES + 1):
        sealed = a.seal(b"x")
        assert b.open(sealed) == b"x"
        same_key = never.seal(b"x") == sealed
        assert same_key == (number < REKEY_MESSAGES)
    assert a.statistics().sealing_rekeys == b.statistics().opening_rekeys == 1


def test_replay_reorder_and_loss_break_the_session_for_good() -> None:
    for wrong in (0, 2):
        a, b = sessions()
        frames = [a.seal(b"%d" % number) for number in range(3)]
        assert b.open(frames[0]) == b"0"
        with pytest.raises(RemoteProtocolError):
            b.open(frames[wrong])
        with pytest.raises(RemoteProtocolError, match="ended"):
            b.open(frames[1])


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        sessions()[0].open(data)


def test_directions_have_their_own_keys() -> None:
    a, _ = sessions()
    with pytest.raises(RemoteProtocolError):
        a.open(a.seal(b"reflected"))


def test_check_sees_a_cipher_that_is_used_elsewhere() -> None:
    cipher = CipherState(b"1" * 32)
    session = SealedSession(cipher, CipherState(b"2" * 32), rekey_messages=2)
    session.check()
    cipher.encrypt(b"", b"1")
    cipher.encrypt(b"", b"2")
    with pytest.raises(InternalError):
        session.check()


def test_plain_session_passes_frames_and_says_so() -> None:
    session = PlainSession()
    assert session.open(session.seal(b"frame")) == b"frame"
    assert not session.encrypted
    assert session.overhead_bytes == 0
    session.check()
    assert (session.statistics().sealed, session.statistics().opened) == (1, 1)
