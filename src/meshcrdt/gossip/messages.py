"""The messages between two replicas on one link: codes 16 to 31.

Every one is a tuple whose first item is its code, so the node can put several in one
frame. Reading is strict and bounded here and nowhere else; a MalformedTree becomes a
closed link. Each message makes sense alone: loss, repetition and reordering cost time,
never correctness.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from attrs import frozen

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_str, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.channels import Kind
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.compact import HOPS_MAX, Compact, build_compact, read_compact
from meshcrdt.gossip.header import (
    Envelope,
    KeyOnWire,
    Ref,
    StreamKey,
    stream_fields,
    take_stream,
)
from meshcrdt.gossip.merkle import DEPTH_MAX, FANOUT, LEAF_ENTRIES_MAX
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.tree_messages import (
    Have,
    Turn,
    Wish,
    build_have,
    build_turn,
    read_have,
    read_turn,
    take_streams,
    take_wishes,
    wish_trees,
)
from meshcrdt.wire import HASH_BYTES

Message: TypeAlias = tuple[Tree, ...]

MESSAGE_BYTES_MAX = 128 * 1024
"""What one message aims to stay below; a frame holds at least two."""
ANSWER_MESSAGES_MAX = 4
"""Messages that answer one Get."""
HEADS_MAX = 512
PATHS_MAX = 256
ROOT_BYTES = 16
"""What is sent of a root: enough to tell that two differ, and nothing is built from it."""


class Ending(IntEnum):
    """What follows an answer to GET."""

    MORE = 0
    DONE = 1
    MOVED = 2


@frozen
class Head:
    """Which header one replica holds of one stream."""

    stream: StreamKey
    ref: Ref


@frozen
class Root:
    """The first bytes of the roots of both trees over all streams."""

    durable: bytes
    volatile: bytes


@frozen
class NodeAt:
    """One node of the tree over all streams: sixteen hashes, or the heads below it."""

    kind: Kind
    path: bytes
    children: tuple[bytes, ...] | None
    heads: tuple[Head, ...]


@frozen
class Heads:
    """Headers that the sender holds and the receiver seemed to lack."""

    heads: tuple[Head, ...]


@frozen
class Want:
    """Asks for the newest headers of some streams."""

    wishes: tuple[Wish, ...]


@frozen
class Delta:
    """A header and what changed since the header `since` (None: since nothing)."""

    envelope: Envelope
    since: Ref | None
    puts: tuple[Record, ...]
    drops: tuple[bytes, ...]
    hops: int = 0
    """How far it came from its origin along the tree, 0 in an answer; see `broadcast`."""


@frozen
class Part:
    """One node of a stream's state tree, or some of the records of one leaf.

    It names its hash, so that a late answer is told from a lie.
    """

    path: bytes
    hash: bytes
    children: tuple[bytes, ...] | None
    total: int
    offset: int
    records: tuple[Record, ...]


@frozen
class Announce:
    """A header whose state is to be fetched by tree; the parts that fit come along."""

    envelope: Envelope
    parts: tuple[Part, ...]


class Wanted(NamedTuple):
    """One node that is asked for; of a leaf, its records from `offset` on."""

    path: bytes
    hash: bytes
    offset: int = 0


@frozen
class Get:
    """Asks for nodes of a stream's state tree by path and hash."""

    stream: StreamKey
    items: tuple[Wanted, ...]


@frozen
class Nodes:
    """Answers Get."""

    stream: StreamKey
    parts: tuple[Part, ...]
    ending: Ending


@frozen
class Absent:
    """The sender has nothing newer of some streams, and no room now for what it has of others."""

    streams: tuple[StreamKey, ...]
    later: tuple[StreamKey, ...] = ()


@frozen
class Proof:
    """Two signed headers for one place of one stream."""

    first: Envelope
    second: Envelope


@frozen
class Refused:
    """The sender judged this header invalid: do not offer it again on this link (F11)."""

    stream: StreamKey
    hash: bytes
    rule: str


Parsed: TypeAlias = (
    Root
    | NodeAt
    | Heads
    | Want
    | Delta
    | Announce
    | Get
    | Nodes
    | Absent
    | Proof
    | Refused
    | Have
    | Turn
    | Compact
)


def _head_tree(head: Head) -> Tree:
    return (*stream_fields(head.stream), head.ref.to_tree())


def _part_tree(part: Part, stream: StreamKey) -> Tree:
    records = tuple(record.to_tree(stream.origin, None) for record in part.records)
    return (part.path, part.hash, part.children, part.total, part.offset, records)


def build(message: Parsed, key: KeyOnWire = KeyOnWire.SENT) -> Message:
    """Return the tuple of a message."""
    match message:
        case Root(durable, volatile):
            return (Code.ROOT.value, durable, volatile)
        case NodeAt(kind, path, children, heads):
            return (Code.NODE.value, kind.value, path, children, tuple(map(_head_tree, heads)))
        case Heads(heads):
            return (Code.HEADS.value, tuple(map(_head_tree, heads)))
        case Want(wishes):
            return (Code.WANT.value, wish_trees(wishes))
        case Delta(envelope, since, puts, drops, hops):
            header = envelope.header
            records = tuple(record.to_tree(header.origin, header.epoch) for record in puts)
            tree = None if since is None else since.to_tree()
            return (Code.DELTA.value, envelope.to_tree(key), tree, records, drops, hops)
        case Announce(envelope, parts):
            stream = envelope.header.stream
            trees = tuple(_part_tree(part, stream) for part in parts)
            return (Code.HEADER.value, envelope.to_tree(KeyOnWire.SENT), trees)
        case Get(stream, items):
            trees = tuple(item[: 3 if item.offset else 2] for item in items)
            return (Code.GET.value, *stream_fields(stream), trees)
        case Nodes(stream, parts, ending):
            trees = tuple(_part_tree(part, stream) for part in parts)
            return (Code.NODES.value, *stream_fields(stream), trees, ending.value)
        case Absent(streams, later):
            return (Code.ABSENT.value, *(tuple(map(stream_fields, m)) for m in (streams, later)))
        case Proof(first, second):
            return (Code.PROOF.value, *(e.to_tree(KeyOnWire.SENT) for e in (first, second)))
        case Refused(stream, digest, rule):
            return (Code.REFUSED.value, *stream_fields(stream), digest, rule)
        case Have():
            return build_have(message)
        case Turn():
            return build_turn(message)
        case Compact():
            return build_compact(message)


def parse(message: Message, genesis: bytes) -> Parsed:
    """Read a message from a link; raises MalformedTree."""
    code = take_int(message[0] if message else None, "code")
    reader = _READERS.get(code)
    if reader is None:
        raise MalformedTree(f"gossip code {code} is not known")
    arity, read = reader
    fields = take_tuple(message, "message", size=arity + 1)[1:]
    return read(fields, genesis)


def _kind(tree: Tree) -> Kind:
    return Kind(take_int(tree, "kind", high=1))


def _hash(tree: Tree) -> bytes:
    return take_bytes(tree, "hash", size=HASH_BYTES)


def _root(tree: Tree) -> bytes:
    return take_bytes(tree, "root", size=ROOT_BYTES)


def _path(tree: Tree) -> bytes:
    path = take_bytes(tree, "path", size_max=DEPTH_MAX)
    if any(nibble >= FANOUT for nibble in path):
        raise MalformedTree("path has a nibble above 15")
    return path


def _children(tree: Tree) -> tuple[bytes, ...] | None:
    if tree is None:
        return None
    return tuple(_hash(child) for child in take_tuple(tree, "children", size=FANOUT))


def _heads(tree: Tree) -> tuple[Head, ...]:
    items = take_tuple(tree, "heads")
    if len(items) > HEADS_MAX:
        raise MalformedTree(f"heads has {len(items)} items: at most {HEADS_MAX} are accepted")
    heads = []
    for item in items:
        channel, origin, ref = take_tuple(item, "head", size=3)
        heads.append(Head(take_stream(channel, origin), Ref.from_tree(ref)))
    return tuple(heads)


def _part(tree: Tree, stream: StreamKey) -> Part:
    path, digest, children, total, offset, records = take_tuple(tree, "part", size=6)
    return Part(
        _path(path),
        _hash(digest),
        _children(children),
        take_int(total, "part.total", high=LEAF_ENTRIES_MAX),
        take_int(offset, "part.offset", high=LEAF_ENTRIES_MAX),
        tuple(
            Record.from_tree(record, stream.origin, None)
            for record in take_tuple(records, "part.records")
        ),
    )


def _parts(tree: Tree, stream: StreamKey) -> tuple[Part, ...]:
    return tuple(_part(item, stream) for item in take_tuple(tree, "parts"))


def _read_delta(fields: tuple[Tree, ...], genesis: bytes) -> Delta:
    envelope = Envelope.from_tree(fields[0], genesis)
    header = envelope.header
    return Delta(
        envelope,
        None if fields[1] is None else Ref.from_tree(fields[1]),
        tuple(
            Record.from_tree(record, header.origin, header.epoch)
            for record in take_tuple(fields[2], "puts")
        ),
        tuple(
            take_bytes(key, "drop", size_max=DEFAULT_LIMITS.key_bytes_max)
            for key in take_tuple(fields[3], "drops")
        ),
        take_int(fields[4], "hops", low=-HOPS_MAX, high=HOPS_MAX),
    )


def _read_announce(fields: tuple[Tree, ...], genesis: bytes) -> Announce:
    envelope = Envelope.from_tree(fields[0], genesis)
    return Announce(envelope, _parts(fields[1], envelope.header.stream))


def _read_get(fields: tuple[Tree, ...], genesis: bytes) -> Get:
    items = take_tuple(fields[2], "items")
    if len(items) > PATHS_MAX:
        raise MalformedTree(f"items has {len(items)} paths: at most {PATHS_MAX} are accepted")
    return Get(take_stream(*fields[:2]), tuple(map(_wanted, items)))


def _wanted(tree: Tree) -> Wanted:
    item = take_tuple(tree, "item")
    if len(item) not in (2, 3):
        raise MalformedTree(f"item has {len(item)} fields: 2 or 3 are expected")
    offset = take_int(item[2], "item.offset", low=1, high=LEAF_ENTRIES_MAX) if item[2:] else 0
    return Wanted(_path(item[0]), _hash(item[1]), offset)


def _read_nodes(fields: tuple[Tree, ...], genesis: bytes) -> Nodes:
    stream = take_stream(*fields[:2])
    ending = Ending(take_int(fields[3], "ending", high=2))
    return Nodes(stream, _parts(fields[2], stream), ending)


def _read_proof(fields: tuple[Tree, ...], genesis: bytes) -> Proof:
    first, second = (Envelope.from_tree(field, genesis) for field in fields)
    return Proof(first, second)


_READERS: dict[int, tuple[int, Callable[[tuple[Tree, ...], bytes], Parsed]]] = {
    Code.ROOT: (2, lambda f, g: Root(_root(f[0]), _root(f[1]))),
    Code.NODE: (
        4,
        lambda f, g: NodeAt(_kind(f[0]), _path(f[1]), _children(f[2]), _heads(f[3])),
    ),
    Code.HEADS: (1, lambda f, g: Heads(_heads(f[0]))),
    Code.WANT: (1, lambda f, g: Want(take_wishes(f[0]))),
    Code.DELTA: (5, _read_delta),
    Code.HEADER: (2, _read_announce),
    Code.GET: (3, _read_get),
    Code.NODES: (4, _read_nodes),
    Code.ABSENT: (2, lambda f, g: Absent(take_streams(f[0]), take_streams(f[1]))),
    Code.PROOF: (2, _read_proof),
    Code.REFUSED: (
        4,
        lambda f, g: Refused(take_stream(*f[:2]), _hash(f[2]), take_str(f[3], "rule", size_max=64)),
    ),
    Code.HAVE: (1, read_have),
    Code.TURN: (2, read_turn),
    Code.COMPACT: (11, read_compact),
}
