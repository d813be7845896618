"""The codes of the messages between two replicas: 16 to 31, never used twice."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """First item of each message."""

    ROOT = 16
    NODE = 17
    HEADS = 18
    WANT = 19
    DELTA = 20
    HEADER = 21
    GET = 22
    NODES = 23
    ABSENT = 24
    PROOF = 25
    REFUSED = 26
    HAVE = 27
    TURN = 28
    COMPACT = 29
