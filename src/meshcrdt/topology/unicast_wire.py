"""How unicast messages travel: one form for all of them, parsed in one place."""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_epoch,
    take_int,
    take_peer,
    take_str,
    take_tuple,
)
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import encode

HOPS_MAX = 255
REASON_CHARACTERS_MAX = 256


class Code(IntEnum):
    """What a message is; the first item of its tree."""

    DATA = 32
    """A payload, on a link of its two ends."""
    ACK = 33
    """It came, said on the same link."""
    ERROR = 34
    """A relay knows no way; a hint, and nothing more."""
    KEY_ASK = 35
    KEY = 36
    SEALED = 37
    """A payload that relays may carry."""
    CONFIRM = 38
    """It came, and was opened."""
    STALE = 39
    """It was sealed to a key that is gone; a hint."""


QUESTIONS = (Code.DATA, Code.KEY_ASK, Code.SEALED)
"""Relays tell the sender of these when they know no way. Answers are not answered."""


@frozen
class Arrival:
    """A message that came on the link of `from_peer`; the rest is what it says of itself."""

    from_peer: PeerId
    kind: Code
    origin: PeerId
    run: Epoch
    number: int
    body: Tree


def read(from_peer: PeerId, message: tuple[Tree, ...]) -> tuple[Arrival, PeerId, int]:
    """Return a message, for whom it is, and the hops that are left; raises MalformedTree."""
    code, source, dest, epoch, number, ttl, body = take_tuple(message, "unicast", size=7)
    kind = Code(take_int(code, "unicast.code", low=Code.DATA, high=Code.STALE))
    origin = take_peer(source, "unicast.source")
    target = take_peer(dest, "unicast.dest")
    run = take_epoch(epoch, "unicast.epoch")
    message_id = take_int(number, "unicast.id")
    hops_left = take_int(ttl, "unicast.ttl", low=1, high=HOPS_MAX)
    if kind is Code.ERROR:
        take_str(body, "unicast.reason", size_max=REASON_CHARACTERS_MAX)
    elif kind in (Code.ACK, Code.STALE) and body is not None:
        raise MalformedTree(f"unicast.body of a message of code {kind:d} is not empty")
    return Arrival(from_peer, kind, origin, run, message_id, body), target, hops_left


def head_of(source: PeerId, dest: PeerId, run: Epoch, number: int) -> bytes:
    """Return what is authenticated with a sealed message: all of its head but the hops left."""
    return encode((int(Code.SEALED), bytes(source), bytes(dest), epoch_tree(run), number))
