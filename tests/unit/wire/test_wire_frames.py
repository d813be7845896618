"""Frames and the splitter of byte streams."""

from __future__ import annotations

import pytest
from attrs import evolve

from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import Tree
from meshcrdt.errors import CapacityError, MalformedTree, RemoteProtocolError, UsageError
from meshcrdt.wire import (
    FRAME_VERSION,
    FrameSplitter,
    decode_frame,
    encode,
    encode_frame,
    join_frame,
    prefix,
)


def test_frame_and_back_with_unknown_codes() -> None:
    messages = ((1, b"x"), (250, "later", (1, 2)), (0,))
    assert decode_frame(encode_frame(messages)) == messages
    assert decode_frame(encode_frame(())) == ()


@pytest.mark.parametrize(
    "tree",
    [
        None,
        (),
        7,
        (True, (1,)),
        ("1", (1,)),
        (FRAME_VERSION + 1, (1,)),
        (FRAME_VERSION, 1),
        (FRAME_VERSION, ()),
        (FRAME_VERSION, ("x",)),
        (FRAME_VERSION, (True,)),
        (FRAME_VERSION, (-1,)),
        (FRAME_VERSION, (1,), None),
    ],
    ids=repr,
)
def test_malformed_frame(tree: Tree) -> None:
    with pytest.raises(MalformedTree):
        decode_frame(encode(tree))


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 300, 65_534, 65_535])
def test_messages_that_are_encoded_already_make_the_same_frame(count: int) -> None:
    messages = [(number % 50, b"x") for number in range(count)]
    limits = Limits(frame_bytes_max=1 << 20)
    assert join_frame([encode(m) for m in messages]) == encode_frame(messages, limits=limits)


def test_frame_limit_leaves_room_for_the_seal() -> None:
    limits = evolve(DEFAULT_LIMITS, frame_bytes_max=100)
    largest = encode_frame([(1, b"x" * 78)], limits=limits)
    assert len(largest) == 84
    with pytest.raises(CapacityError, match="frame_bytes_max"):
        encode_frame([(1, b"x" * 79)], limits=limits)


def test_message_without_code_is_misuse() -> None:
    for bad in ((), ("x",), (True,)):
        with pytest.raises(UsageError):
            encode_frame([bad])


def test_splitter_byte_by_byte() -> None:
    frames = [b"", b"a", b"hello" * 10]
    stream = b"".join(prefix(frame) + frame for frame in frames)
    splitter = FrameSplitter(64)
    out = []
    for index in range(len(stream)):
        out += splitter.feed(stream[index : index + 1])
        splitter.check()
    assert out == frames
    assert splitter.is_empty
    assert splitter.statistics().frames == 3


def test_splitter_refuses_a_length_above_the_limit_for_good() -> None:
    splitter = FrameSplitter(64)
    assert splitter.feed(prefix(b"x" * 64)) == []
    assert not splitter.is_empty
    assert splitter.feed(b"x" * 64) == [b"x" * 64]
    with pytest.raises(RemoteProtocolError, match="65"):
        splitter.feed(prefix(b"x" * 65))
    splitter.check()
    assert splitter.statistics().buffered_bytes == 0
    with pytest.raises(RemoteProtocolError):
        splitter.feed(prefix(b""))


def test_splitter_refuses_before_the_body_arrives() -> None:
    splitter = FrameSplitter(256 * 1024)
    with pytest.raises(RemoteProtocolError):
        splitter.feed(b"\xff\xff\xff\xff")
