"""A history-independent radix-16 Merkle map: the root that a header signs (finding F24).

Why a tree and not an XOR or a sum of record hashes: both are forgeable, so a relay could
leave out a live record and still hit the root (F1). The shape is a pure function of the
content: a subtree of at most 64 entries is a leaf, a larger one has sixteen children by
the next nibble of BLAKE2b(key). So equal content has an equal root on every replica,
whatever happened before, and equal subtrees can be skipped or reused while fetching.

Nodes are immutable and shared: a fork costs nothing, which is what staging needs. Hashes
are computed when asked and kept, so a flush rehashes the paths that it touched only. A
simulator lets maps of equal content share their nodes too, over all of its hosts (`memo`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar, Union, cast

from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.wire import HASH_BYTES

V = TypeVar("V")

FANOUT = 16
LEAF_ENTRIES_MAX = 64
"""Entries in one leaf bucket: part of the signed format, so not a knob."""
DEPTH_MAX = 2 * HASH_BYTES
TOKEN_BYTES = 16
NO_HASH = b"\0" * HASH_BYTES
"""Stands for an empty child inside an inner node."""


def _blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def key_path(key: bytes) -> bytes:
    """Return the 32 bytes whose 64 nibbles lead to a key."""
    return _blake(key)


def _nibble(path: bytes, depth: int) -> int:
    byte = path[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


class Entry(NamedTuple, Generic[V]):
    """One entry of a leaf: its key, the hash of what it holds, and what it holds."""

    path: bytes
    key: bytes
    hash: bytes
    value: V

    @property
    def token(self) -> int:
        """A number that stands for the entry while nodes are shared; see `_changed_shared`."""
        return int.from_bytes(self.hash[:TOKEN_BYTES], "big")


def entry_of(key: bytes, entry_hash: bytes, value: V) -> Entry[V]:
    """Return the entry of a key."""
    return Entry(key_path(key), key, entry_hash, value)


class Leaf(Generic[V]):
    """At most 64 entries, sorted by key, hashed over (key, entry hash).

    The order makes what is sent of a leaf a function of its content, not of its history.
    """

    __slots__ = ("_hash", "_token", "entries")

    def __init__(self, entries: dict[bytes, Entry[V]]) -> None:
        self.entries = entries
        self._hash: bytes | None = None
        self._token: int | None = None

    @property
    def count(self) -> int:
        """How many entries are below."""
        return len(self.entries)

    @property
    def hash(self) -> bytes:
        """32 bytes over the content."""
        if self._hash is None:
            self._hash = leaf_hash((key, entry.hash) for key, entry in self.entries.items())
        return self._hash

    @property
    def token(self) -> int:
        """The tokens of all entries, folded in no order."""
        if self._token is None:
            self._token = 0
            for entry in self.entries.values():
                self._token ^= entry.token
        return self._token


class Inner(Generic[V]):
    """Sixteen children, more than 64 entries in all."""

    __slots__ = ("_hash", "_token", "children", "count")

    def __init__(self, children: tuple[Node[V] | None, ...], token: int | None = None) -> None:
        self.children = children
        self.count: int = sum(child.count for child in children if child is not None)
        self._hash: bytes | None = None
        self._token = token

    @property
    def token(self) -> int:
        """The tokens of all entries below, folded in no order."""
        if self._token is None:
            self._token = 0
            for child in self.children:
                self._token ^= 0 if child is None else child.token
        return self._token

    @property
    def hash(self) -> bytes:
        """32 bytes over the hashes of the children."""
        if self._hash is None:
            self._hash = inner_hash(self.child_hashes())
        return self._hash

    def child_hashes(self) -> tuple[bytes, ...]:
        """Return sixteen hashes, `NO_HASH` where there is no child."""
        return tuple(NO_HASH if child is None else child.hash for child in self.children)


Node: TypeAlias = Union["Leaf[V]", "Inner[V]"]


def leaf_hash(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the hash of a leaf from its (key, entry hash) pairs, sorted by key."""
    parts = [b"\0"]
    for key, entry_hash in entries:
        parts += (len(key).to_bytes(4, "big"), key, entry_hash)
    return _blake(b"".join(parts))


def inner_hash(child_hashes: Sequence[bytes]) -> bytes:
    """Return the hash of an inner node from its sixteen child hashes."""
    return _blake(b"\1" + b"".join(child_hashes))


Change: TypeAlias = tuple[bytes, bytes, "Entry[V] | None"]
"""(path, key, new entry or None to remove it)."""


def _apply(node: Node[V] | None, depth: int, changes: list[Change[V]]) -> Node[V] | None:
    """Return the canonical node after the changes; None when nothing is left."""
    if node is None or isinstance(node, Leaf):
        entries = {} if node is None else dict(node.entries)
        size = len(entries)
        for _, key, entry in changes:
            if entry is None:
                size -= entries.pop(key, None) is not None
            else:
                entries[key] = entry
        return _shaped(entries if len(entries) <= size else _ordered(entries), depth)
    groups: dict[int, list[Change[V]]] = {}
    for change in changes:
        groups.setdefault(_nibble(change[0], depth), []).append(change)
    children = list(node.children)
    for nibble, group in groups.items():
        children[nibble] = _apply(children[nibble], depth + 1, group)
    grown = Inner(tuple(children))
    if grown.count > LEAF_ENTRIES_MAX:
        return grown
    return _shaped(_ordered({entry.key: entry for entry in _walk(grown)}), depth)


def _changed_shared(
    node: Node[V] | None, depth: int, change: Change[V], token: int, memo: Memo
) -> Node[V] | None:
    """Do what `_apply` does, but return a node of equal content where the memo has one.

    `token` is that of the node to be: the exclusive or of what its entries' hashes begin
    with. That is no proof of content, as roots are, and need not be one: nobody in a
    simulated world looks for collisions of 128 bits. An entry's hash must cover its key.
    """
    key = (MerkleMap, depth, token)
    found = cast("Node[V] | None", memo.known(key))
    if found is not None:
        return found
    made: Node[V] | None = None
    if isinstance(node, Inner):
        nibble = _nibble(change[0], depth)
        child = node.children[nibble]
        below = (0 if child is None else child.token) ^ node.token ^ token
        children = list(node.children)
        children[nibble] = _changed_shared(child, depth + 1, change, below, memo)
        made = Inner(tuple(children), token)
    if made is None or made.count <= LEAF_ENTRIES_MAX:
        made = _apply(node, depth, [change])
    return None if made is None else memo.one(key, made)


def _ordered(entries: dict[bytes, Entry[V]]) -> dict[bytes, Entry[V]]:
    return dict(sorted(entries.items()))


def _shaped(entries: dict[bytes, Entry[V]], depth: int) -> Node[V] | None:
    if not entries:
        return None
    if len(entries) <= LEAF_ENTRIES_MAX:
        return Leaf(entries)
    groups: list[dict[bytes, Entry[V]]] = [{} for _ in range(FANOUT)]
    for key, entry in entries.items():
        groups[_nibble(entry.path, depth)][key] = entry
    return Inner(tuple(_shaped(group, depth + 1) for group in groups))


def _walk(node: Node[V] | None) -> Iterator[Entry[V]]:
    if node is None:
        return
    if isinstance(node, Leaf):
        yield from node.entries.values()
        return
    for child in node.children:
        yield from _walk(child)


class MerkleMap(Generic[V]):
    """An immutable map key -> (entry hash, value) with a root hash."""

    __slots__ = ("_top",)

    def __init__(self, top: Node[V] | None = None) -> None:
        self._top = top

    def __len__(self) -> int:
        return 0 if self._top is None else self._top.count

    @property
    def root(self) -> bytes:
        """32 bytes that determine the whole content."""
        return EMPTY_ROOT if self._top is None else self._top.hash

    def get(self, key: bytes) -> V | None:
        """Return what a key holds, or None."""
        node = self._top
        if isinstance(node, Inner):
            entry = self._entry(key_path(key), key)
        else:
            entry = None if node is None else node.entries.get(key)
        return None if entry is None else entry.value

    def changed(self, key: bytes, entry: Entry[V] | None, memo: Memo = NO_MEMO) -> MerkleMap[V]:
        """Return this map with one entry put under its key, or the key dropped."""
        path = key_path(key) if entry is None else entry.path
        change: Change[V] = (path, key, entry)
        if not memo.remembers:
            return MerkleMap(_apply(self._top, 0, [change]))
        before = self._entry(path, key)
        token = 0 if self._top is None else self._top.token
        token ^= 0 if before is None else before.token
        token ^= 0 if entry is None else entry.token
        return MerkleMap(_changed_shared(self._top, 0, change, token, memo))

    def _entry(self, path: bytes, key: bytes) -> Entry[V] | None:
        node, depth = self._top, 0
        while isinstance(node, Inner):
            node = node.children[_nibble(path, depth)]
            depth += 1
        return None if node is None else node.entries.get(key)

    def updated(
        self, puts: Iterable[tuple[bytes, bytes, V]], drops: Iterable[bytes] = ()
    ) -> MerkleMap[V]:
        """Return this map with (key, entry hash, value) items put and keys dropped."""
        changes: list[Change[V]] = [(key_path(key), key, None) for key in drops]
        for key, entry_hash, value in puts:
            path = key_path(key)
            changes.append((path, key, Entry(path, key, entry_hash, value)))
        return MerkleMap(_apply(self._top, 0, changes)) if changes else self

    def entries(self) -> Iterator[Entry[V]]:
        """Yield every entry, in an order that the content alone determines."""
        return _walk(self._top)

    def node(self, path: bytes) -> Node[V] | None:
        """Return the node at a path of nibbles (one a byte), or None where none is.

        The empty path is the top; an empty map has an empty leaf there.
        """
        if not path:
            return Leaf({}) if self._top is None else self._top
        node = self._top
        for nibble in path:
            if not isinstance(node, Inner) or nibble >= FANOUT:
                return None
            node = node.children[nibble]
        return node

    def below(self, path: bytes) -> Iterator[Entry[V]]:
        """Yield the entries whose key path begins with these nibbles, whatever the shape."""
        node, depth = self._top, 0
        while depth < len(path) and isinstance(node, Inner):
            node = node.children[path[depth]]
            depth += 1
        for entry in _walk(node):
            if all(_nibble(entry.path, i) == path[i] for i in range(depth, len(path))):
                yield entry

    def check(self) -> None:
        """Raise InternalError unless shape and hashes are canonical."""
        rebuilt = MerkleMap(_shaped(_ordered({e.key: e for e in self.entries()}), 0))
        if rebuilt.root != self.root or len(rebuilt) != len(self):
            raise InternalError("a Merkle map is not in its canonical shape")


EMPTY_ROOT = leaf_hash(())


def changed_keys(old: MerkleMap[V], new: MerkleMap[V]) -> set[bytes]:
    """Return the keys that differ; equal subtrees are skipped."""
    found: set[bytes] = set()
    _differ(old.node(b""), new.node(b""), found)
    return found


def _differ(old: Node[V] | None, new: Node[V] | None, found: set[bytes]) -> None:
    if old is new or (old is not None and new is not None and old.hash == new.hash):
        return
    if isinstance(old, Inner) and isinstance(new, Inner):
        for before, after in zip(old.children, new.children, strict=True):
            _differ(before, after, found)
        return
    before_hashes = {entry.key: entry.hash for entry in _walk(old)}
    after_hashes = {entry.key: entry.hash for entry in _walk(new)}
    for key in before_hashes.keys() | after_hashes.keys():
        if before_hashes.get(key) != after_hashes.get(key):
            found.add(key)


def make_leaf(path: bytes, items: Iterable[tuple[bytes, bytes, V]]) -> Leaf[V]:
    """Return a leaf received from outside; raises MalformedTree when it cannot stand at `path`."""
    entries: dict[bytes, Entry[V]] = {}
    for key, entry_hash, value in items:
        where = key_path(key)
        if any(_nibble(where, i) != nibble for i, nibble in enumerate(path)):
            raise MalformedTree("a leaf holds a key that belongs elsewhere in the tree")
        entries[key] = Entry(where, key, entry_hash, value)
    if len(entries) > LEAF_ENTRIES_MAX:
        raise MalformedTree(f"a leaf holds {len(entries)} entries: {LEAF_ENTRIES_MAX} at most")
    return Leaf(_ordered(entries))


def make_inner(children: Sequence[Node[V] | None]) -> Inner[V]:
    """Return an inner node assembled from outside; raises MalformedTree when not canonical."""
    inner = Inner(tuple(children))
    if inner.count <= LEAF_ENTRIES_MAX:
        raise MalformedTree(f"an inner node has only {inner.count} entries: a leaf is expected")
    return inner
