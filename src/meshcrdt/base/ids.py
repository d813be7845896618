"""Who and when: peer ids, epochs and dots.

A peer id is the BLAKE2b-128 hash of an Ed25519 public key, so it certifies itself.
An epoch is (durable boot counter, random instance id), compared in that order
(finding F14): two instances of one identity never share a dot. A dot names one write.
"""

from __future__ import annotations

from typing import NamedTuple

from meshcrdt.errors import UsageError

PEER_ID_BYTES = 16
INSTANCE_BYTES = 8


class PeerId(bytes):
    """16 bytes that name a peer; prints as 32 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> PeerId:
        """Take 16 bytes; raises UsageError for another number."""
        if len(raw) != PEER_ID_BYTES:
            raise UsageError(f"a peer id has {PEER_ID_BYTES} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Read 32 hex digits; raises UsageError naming the text."""
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != PEER_ID_BYTES:
            raise UsageError(f"{text!r} is not a peer id: 32 hex digits are accepted")
        return cls(raw)

    @property
    def short(self) -> str:
        """The first 8 hex digits, for people."""
        return self.hex()[:8]

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"PeerId({self.hex()})"


class Epoch(NamedTuple):
    """One run of one identity: (durable boot counter, random instance id)."""

    counter: int
    instance: bytes

    def __str__(self) -> str:
        return f"{self.counter}.{self.instance.hex()[:8]}"


class Dot(NamedTuple):
    """One write: origin, its epoch, and the sequence number in (channel, origin, epoch)."""

    origin: PeerId
    epoch: Epoch
    seq: int

    def __str__(self) -> str:
        return f"{self.origin.short}@{self.epoch}:{self.seq}"


BOTTOM_EPOCH = Epoch(0, b"\0" * INSTANCE_BYTES)
