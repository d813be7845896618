"""Frames: several messages of one link in one encoding, and their framing on a byte stream.

A frame is the tree (FRAME_VERSION, message, message, ...). A message is a list that
starts with its code, so that a machine can skip a code of a later version. On a stream
transport each frame follows its length, 4 bytes, big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import Tree
from meshcrdt.errors import (
    CapacityError,
    InternalError,
    MalformedTree,
    RemoteProtocolError,
    UsageError,
)
from meshcrdt.wire.codec import decode, encode, encode_list

FRAME_VERSION = 1
FRAME_MESSAGES_MAX = 1_024
"""What we put into one frame at most; a receiver accepts as many as a list may have items."""
FRAME_VERSION_BYTES = encode(FRAME_VERSION)
PREFIX_BYTES = 4
SEAL_BYTES = 16
"""What a session adds to a frame: `limits.frame_bytes_max` is measured after sealing."""

Message: TypeAlias = tuple[Tree, ...]


def encode_frame(messages: Sequence[Message], *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return one frame; raises CapacityError when it would exceed the limit once sealed."""
    for message in messages:
        if not message or type(message[0]) is bool or not isinstance(message[0], int):
            raise UsageError("a message starts with its integer code")
    frame = encode((FRAME_VERSION, *messages))
    if len(frame) + SEAL_BYTES > limits.frame_bytes_max:
        raise CapacityError(
            f"a frame of {len(frame)} bytes: frame_bytes_max allows "
            f"{limits.frame_bytes_max - SEAL_BYTES}"
        )
    return frame


def join_frame(messages: Sequence[bytes]) -> bytes:
    """Return one frame of messages that are encoded already; the caller keeps the bounds.

    The same bytes as `encode_frame` gives: so one encoding of a message serves many links.
    """
    return encode_list((FRAME_VERSION_BYTES, *messages))


def decode_frame(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Message, ...]:
    """Return the messages of a frame, unknown codes included; raises MalformedTree."""
    tree = decode(data, limits=limits)
    if type(tree) is not tuple or not tree or type(tree[0]) is not int:
        raise MalformedTree("a frame is a list that starts with its version")
    if tree[0] != FRAME_VERSION:
        raise MalformedTree(f"frame version {tree[0]}: {FRAME_VERSION} is accepted")
    messages: list[Message] = []
    for message in tree[1:]:
        if type(message) is not tuple or not message or type(message[0]) is not int:
            raise MalformedTree("a message is a list that starts with its integer code")
        if message[0] < 0:
            raise MalformedTree(f"message code {message[0]} is negative")
        messages.append(message)
    return tuple(messages)


def prefix(frame: bytes) -> bytes:
    """Return the length of a frame as it goes before it on a byte stream."""
    return len(frame).to_bytes(PREFIX_BYTES, "big")


@frozen
class SplitterStatistics:
    """What a splitter has seen: frames given out, and bytes that wait for their frame's end."""

    frames: int
    buffered_bytes: int


class FrameSplitter:
    """Cuts a byte stream into frames; holds at most one incomplete frame.

    A length above the limit is refused when its four bytes are in, before anything is
    kept for it. The splitter is unusable after that: the stream has no next boundary.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._frames = 0
        self._broken: str | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the frames that they complete.

        Raises RemoteProtocolError when a length exceeds the limit. Frames that were
        complete before it, in the same bytes, are lost with the stream.
        """
        if self._broken is not None:
            raise RemoteProtocolError(self._broken)
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= PREFIX_BYTES:
            body = start + PREFIX_BYTES
            size = int.from_bytes(self._buffer[start:body], "big")
            if size > self._frame_bytes_max:
                self._broken = (
                    f"a frame of {size} bytes is announced: "
                    f"at most {self._frame_bytes_max} are accepted"
                )
                self._buffer.clear()
                raise RemoteProtocolError(self._broken)
            if len(self._buffer) < body + size:
                break
            frames.append(bytes(self._buffer[body : body + size]))
            start = body + size
        del self._buffer[:start]
        self._frames += len(frames)
        return frames

    @property
    def is_empty(self) -> bool:
        """True between frames: an end of the stream here is an orderly one."""
        return not self._buffer

    def check(self) -> None:
        """Raise InternalError when more is kept than one incomplete frame."""
        if len(self._buffer) >= PREFIX_BYTES + self._frame_bytes_max:
            raise InternalError(f"a splitter keeps {len(self._buffer)} bytes")

    def statistics(self) -> SplitterStatistics:
        """Return the counts so far."""
        return SplitterStatistics(frames=self._frames, buffered_bytes=len(self._buffer))
