"""Which message codes belong to which machine.

A message is a tuple whose first item is its code. Codes are never reused. A code that a
version does not know is ignored, so that a minor version can add one.
"""

from __future__ import annotations

from meshcrdt.base.memo import Memo
from meshcrdt.wire import decode_frame
from meshcrdt.wire.frames import Message

LINK_CODES = range(16)
"""Between neighbours, of members or not. The topology owns 0, 1 (ping and pong), 4 to 8 (the
overlay's views: ask, answer, part, and shuffle) and 10, 11 (probes through others); the node
2, 3 (the genesis) and 14; 9, 12, 13 and 15 are free.
"""
GENESIS_ASK = 2
GENESIS = 3
GOVERNED = 14
"""The newest decision of the governance register that the sender knows."""

GOSSIP_CODES = range(16, 32)
UNICAST_CODES = range(32, 48)

RECEIPT_PAYLOADS = range(64, 80)
IPAM_PAYLOADS = range(80, 96)
CONSENSUS_PAYLOADS = range(96, 112)
FRESHNESS_PAYLOADS = range(112, 120)

REMEMBERED_BYTES_MIN = 96
"""Shorter frames are heartbeats, of which no two are the same."""


def read_frame(frame: bytes, memo: Memo) -> tuple[Message, ...]:
    """Return the messages of a frame; raises MalformedTree."""
    if len(frame) < REMEMBERED_BYTES_MIN:
        return decode_frame(frame)
    return memo.of_equal(decode_frame, frame)
