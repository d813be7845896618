"""The messages that keep the broadcast tree: what a lazy link says, and turning a link."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple

from attrs import frozen

from meshcrdt.base.tree import Tree, take_int, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.header import Place, Ref, StreamKey, stream_fields, take_stream

ANNOUNCED_MAX = 512
WANTED_MAX = 256


class Branch(IntEnum):
    """How one end sends deltas on a link; the values are on the wire."""

    LAZY = 0
    """It says what it holds."""
    EAGER = 1
    """It sends at once."""


class Spread(Enum):
    """How deltas spread; all but the first are for measuring what the tree is worth."""

    TREE = "tree"
    FLOOD = "flood"
    """Every delta on every link but where it came from; nothing is pruned or announced."""


class Held(NamedTuple):
    """A header that the sender holds."""

    stream: StreamKey
    place: Place


@frozen
class Have:
    """What a lazy link says: the newest headers of streams that moved (IHAVE)."""

    items: tuple[Held, ...]


class Wish(NamedTuple):
    """A stream that is asked for, by delta from `have` where that is possible."""

    stream: StreamKey
    have: Ref | None


@frozen
class Turn:
    """Asks the peer to send lazily (PRUNE) or eagerly (GRAFT) from now on, and for some streams."""

    branch: Branch
    wishes: tuple[Wish, ...]


def build_have(message: Have) -> tuple[Tree, ...]:
    """Return the whole tuple of a Have."""
    return (Code.HAVE.value, tuple((*stream_fields(key), *place) for key, place in message.items))


def read_have(fields: tuple[Tree, ...], _genesis: bytes) -> Have:
    """Read the fields after the code; raises MalformedTree."""
    items = _items(fields[0], ANNOUNCED_MAX)
    return Have(
        tuple(
            Held(take_stream(*held[:2]), Place.from_fields(*held[2:]))
            for held in (take_tuple(item, "held", size=5) for item in items)
        )
    )


def wish_trees(wishes: tuple[Wish, ...]) -> Tree:
    """Return the tree of a list of wishes."""
    return tuple(
        (*stream_fields(key), None if have is None else have.to_tree()) for key, have in wishes
    )


def take_wishes(tree: Tree) -> tuple[Wish, ...]:
    """Read such a list from outside; raises MalformedTree."""
    wishes = []
    for item in _items(tree, WANTED_MAX):
        channel, origin, have = take_tuple(item, "wish", size=3)
        ref = None if have is None else Ref.from_tree(have)
        wishes.append(Wish(take_stream(channel, origin), ref))
    return tuple(wishes)


def take_streams(tree: Tree) -> tuple[StreamKey, ...]:
    """Read a list of streams from outside; raises MalformedTree."""
    items = _items(tree, WANTED_MAX)
    return tuple(take_stream(*take_tuple(item, "stream", size=2)) for item in items)


def build_turn(message: Turn) -> tuple[Tree, ...]:
    """Return the whole tuple of a Turn."""
    return (Code.TURN.value, message.branch.value, wish_trees(message.wishes))


def read_turn(fields: tuple[Tree, ...], _genesis: bytes) -> Turn:
    """Read the fields after the code; raises MalformedTree."""
    return Turn(Branch(take_int(fields[0], "branch", high=1)), take_wishes(fields[1]))


def _items(tree: Tree, count_max: int) -> tuple[Tree, ...]:
    items = take_tuple(tree, "items")
    if len(items) > count_max:
        raise MalformedTree(f"items has {len(items)} streams: at most {count_max} are accepted")
    return items
