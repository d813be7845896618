"""Secrets and tokens: text forms, altered ones refused, and nothing secret ever printed."""

from __future__ import annotations

import base64
import traceback
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import UsageError
from meshcrdt.trust.admission import Admission
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.psks import Psk, SecretCredential
from meshcrdt.trust.secret import (
    checksum,
    format_secret,
    generate_secret,
    parse_secret,
    secret_psk,
    secret_psk_id,
)
from meshcrdt.trust.token import (
    TOKEN_PREFIX,
    Token,
    format_token,
    make_token,
    parse_token,
    token_psk,
)
from meshcrdt.wire import encode

SECRET = bytes(range(32))
GENESIS = b"g" * 32
ADDRESSES = ("tcp://10.0.0.1:6783", "host.example")


def token(**changes: Any) -> Token:
    fields: dict[str, Any] = {
        "token_id": b"token-id",
        "uses": 1,
        "expiry_s": 1_800_000_000,
        "genesis": GENESIS,
        "addresses": ADDRESSES,
    }
    return make_token(SECRET, **(fields | changes))


def test_secret_text_is_stable() -> None:
    text = format_secret(SECRET)
    assert text == "mcs1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypqew7qle"
    assert parse_secret(f"  {text.upper()}\n", source="test") == SECRET


def test_known_derivations() -> None:
    """A change here locks every existing host out of its mesh."""
    assert secret_psk_id(SECRET).hex() == "29405aabc97084c6"
    assert (
        secret_psk(SECRET).hex()
        == "cf51eed3980374d302adf6c65581433dfdd90c02af8c8506061f4a538e1dbbfe"
    )
    assert (
        token_psk(SECRET, b"token-id", 1, 1_800_000_000).hex()
        == "8eb45cc0de6dcfca0771212442cdc6b44fa5efa5ea585550bd1f335fdfb028d6"
    )
    assert len({secret_psk(SECRET), secret_psk_id(SECRET), SECRET, generate_secret(SECRET)}) == 4


@given(st.binary(min_size=32, max_size=32))
def test_secret_round_trip(secret: bytes) -> None:
    assert parse_secret(format_secret(secret), source="test") == secret


def test_every_changed_character_of_a_secret_is_refused_without_showing_it() -> None:
    text = format_secret(SECRET)
    for position in range(len(text)):
        for replacement in "a7z0!é":
            if text[position] == replacement:
                continue
            changed = text[:position] + replacement + text[position + 1 :]
            refused(parse_secret, changed)
    for cut in range(len(text)):
        refused(parse_secret, text[:cut])
    refused(parse_secret, text + "a")
    refused(parse_secret, text + "=")
    refused(parse_secret, f"{text} {text}")


def refused(parse: Any, text: str) -> None:
    """The error names the source and no part of the text that is longer than a prefix."""
    with pytest.raises(UsageError, match="file secret-file") as caught:
        parse(text, source="file secret-file")
    shown = "".join(traceback.format_exception(caught.value))
    body = text.strip().split("-", 1)[-1]
    for start in range(0, len(body) - 12, 4):
        assert body[start : start + 12] not in shown


def test_token_round_trip() -> None:
    made = token()
    text = format_token(made)
    assert parse_token(f"\n{text}  \n", source="test") == made
    assert text.startswith("mct1-")
    assert "\n" not in text
    assert made.key == token_psk(SECRET, made.id, made.uses, made.expiry_s)
    assert made.cluster == GENESIS[:16].hex()


def test_every_changed_character_of_a_token_is_refused_without_showing_it() -> None:
    text = format_token(token())
    for position in range(len(text)):
        for replacement in "Az-_=é":
            if text[position] != replacement:
                changed = text[:position] + replacement + text[position + 1 :]
                refused(parse_token, changed)
    for cut in range(len(text)):
        refused(parse_token, text[:cut])
    refused(parse_token, text + "A")
    refused(parse_token, text + "=")
    refused(parse_token, TOKEN_PREFIX + "A" * 5_000)


def test_a_token_with_values_out_of_bounds_is_refused() -> None:
    good = (b"token-id", 1, 5, GENESIS, (), b"k" * 32)
    for index, bad in ((0, b"x"), (1, 0), (1, 65_536), (2, -1), (3, b""), (4, ("a b",)), (5, b"")):
        body = encode((*good[:index], bad, *good[index + 1 :]))
        raw = base64.urlsafe_b64encode(body + checksum(body, TOKEN_PREFIX)).decode()
        refused(parse_token, TOKEN_PREFIX + raw.rstrip("="))


@pytest.mark.parametrize(
    "change",
    [
        {"token_id": b"short"},
        {"uses": 0},
        {"uses": 65_536},
        {"expiry_s": -1},
        {"genesis": b"x"},
        {"addresses": ("not an address",)},
        {"addresses": ("a",) * 17},
    ],
    ids=repr,
)
def test_no_such_token_can_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no such token"):
        token(**change)


def test_token_keys_differ_with_what_they_are_made_from() -> None:
    keys = {
        token_psk(SECRET, b"token-id", 1, 5),
        token_psk(SECRET, b"token-iD", 1, 5),
        token_psk(SECRET, b"token-id", 2, 5),
        token_psk(SECRET, b"token-id", 1, 6),
        token_psk(b"other" * 6 + b"xx", b"token-id", 1, 5),
        secret_psk(SECRET),
    }
    assert len(keys) == 6


def test_lengths_of_secrets_are_checked_without_showing_them() -> None:
    canary = b"CANARY-CANARY"
    for call in (format_secret, secret_psk, secret_psk_id, SecretCredential, generate_secret):
        with pytest.raises(UsageError) as caught:
            call(canary)
        assert "CANARY" not in "".join(traceback.format_exception(caught.value))
        assert canary.hex() not in str(caught.value)


def test_no_record_prints_a_secret() -> None:
    canary = b"CANARY" * 5 + b"xx"
    made = evolve(token(), key=canary)
    records: list[object] = [
        Identity(canary),
        SecretCredential(canary),
        Psk(key=canary),
        Admission(genesis=b"g", secret=canary),
        made,
    ]
    for record in records:
        for text in (repr(record), str(record), f"{record}", repr([record])):
            assert "CANARY" not in text
            assert canary.hex() not in text
