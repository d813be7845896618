"""Admission: only the pinned genesis is taken, and every other shape is refused."""

from __future__ import annotations

import hashlib

import pytest

from meshcrdt.base.tree import Tree
from meshcrdt.errors import MalformedTree, ProtocolError, RemoteProtocolError
from meshcrdt.trust.admission import (
    Admission,
    admission_taken,
    read_admission,
    read_admission_taken,
)
from meshcrdt.wire import decode, encode

SECRET = b"S" * 32


def hash_of(genesis: bytes) -> bytes:
    return hashlib.blake2b(genesis, digest_size=32).digest()


def test_round_trip() -> None:
    admission = Admission(genesis=b"the genesis", secret=SECRET)
    back = read_admission(admission.to_bytes(), pinned=hash_of(b"the genesis"), hash_of=hash_of)
    assert back == admission
    read_admission_taken(admission_taken())


def test_another_genesis_is_refused_by_name() -> None:
    data = Admission(genesis=b"another", secret=SECRET).to_bytes()
    pinned = hash_of(b"the genesis")
    with pytest.raises(RemoteProtocolError) as caught:
        read_admission(data, pinned=pinned, hash_of=hash_of)
    assert pinned[:16].hex() in str(caught.value)
    assert hash_of(b"another")[:16].hex() in str(caught.value)


def test_a_genesis_that_cannot_be_read_is_refused() -> None:
    def unreadable(_: bytes) -> bytes:
        raise MalformedTree("not a genesis")

    data = Admission(genesis=b"x", secret=SECRET).to_bytes()
    with pytest.raises(MalformedTree):
        read_admission(data, pinned=b"p" * 32, hash_of=unreadable)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        (),
        (2,),
        (2, b"g", SECRET, ()),
        (1, "g", SECRET, ()),
        (1, b"g", SECRET[:31], ()),
        (1, b"g", SECRET, None),
        (1, b"g", SECRET, (None,) * 17),
        (1, b"g" * 65_537, SECRET, ()),
        (1, b"g", SECRET, (), ()),
    ],
    ids=lambda tree: repr(tree)[:40],
)
def test_malformed(tree: Tree) -> None:
    with pytest.raises(MalformedTree):
        read_admission(encode(tree), pinned=hash_of(b"g"), hash_of=hash_of)


@pytest.mark.parametrize("data", [b"", encode(()), encode((1,)), encode((2, 2)), encode(2)])
def test_malformed_answer(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_admission_taken(data)


def test_extensions_are_kept() -> None:
    admission = Admission(genesis=b"g", secret=SECRET, extensions=((1, b"ring"),))
    back = read_admission(admission.to_bytes(), pinned=hash_of(b"g"), hash_of=hash_of)
    assert back.extensions == ((1, b"ring"),)
    assert decode(admission.to_bytes())
