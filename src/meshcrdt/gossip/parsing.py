"""Reading messages once for all hosts of a simulated world.

A delta crosses a world in thousands of frames, each with other messages beside it and with
another hop count in it. What it says is the same, so all of them get the same objects, and
whatever follows from those by identity is worked out once (ADR 0029). Without a memo this is
`parse` and nothing else.
"""

from __future__ import annotations

from attrs import evolve

from meshcrdt.base.memo import Memo
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.compact import HOPS_MAX, Compact
from meshcrdt.gossip.messages import Delta, Message, Parsed, parse
from meshcrdt.wire import fingerprint

HOPS_AT = {Code.DELTA.value: 5, Code.COMPACT.value: 6}
"""Where a message that is passed on says how far it came."""


def read_message(message: Message, genesis: bytes, memo: Memo) -> Parsed:
    """Read a message from a link; raises MalformedTree."""
    code = message[0] if message and memo.remembers else None
    at = HOPS_AT.get(code) if type(code) is int else None
    hops = None if at is None or at >= len(message) else message[at]
    if at is None or type(hops) is not int or abs(hops) > HOPS_MAX:
        return memo.of_same(parse, message, genesis)
    bare = (*message[:at], 0, *message[at + 1 :])
    key = (parse, genesis, fingerprint(bare))
    told = memo.known(key)
    if not isinstance(told, Delta | Compact):
        told = memo.one(key, parse(bare, genesis))
    return memo.of_same(_after, told, hops) if hops else told


def _after(told: Delta | Compact, hops: int) -> Delta | Compact:
    return evolve(told, hops=hops)
