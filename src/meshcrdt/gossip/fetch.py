"""Fetching a state by its Merkle tree: staged, bounded, resumable (findings F1, F2).

A fetch begins with a verified header. Nodes are asked for by path and hash, and each
answer is proved by the hash that asked for it, so any holder can serve and none can lie.
Subtrees that the held state, or the stage of an earlier header, already has are reused.
Nothing of it is visible until the whole tree stands under the signed root.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from attrs import define, field

from meshcrdt.errors import MalformedTree, ProtocolError
from meshcrdt.gossip.header import Envelope
from meshcrdt.gossip.merkle import (
    EMPTY_ROOT,
    NO_HASH,
    Inner,
    Leaf,
    MerkleMap,
    Node,
    inner_hash,
    leaf_hash,
    make_inner,
    make_leaf,
)
from meshcrdt.gossip.messages import PATHS_MAX, Get, Part, Wanted
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.validity import STREAM_BYTES_MAX, counts_rule, record_rule

Stage = dict[tuple[bytes, bytes], "Leaf[Record] | tuple[bytes, ...]"]
"""(path, hash) -> a proved leaf, or the proved child hashes of an inner node."""


class BrokenRule(ProtocolError):
    """The signed header itself is wrong: its state breaks a rule for everybody."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


@define
class Fetch:
    """One state on its way in."""

    envelope: Envelope
    link: int
    """Who is asked, or will be: nobody else's answers are taken."""
    _held: MerkleMap[Record]
    deadline: float | None = None
    """When an answer is due; None while it waits for its turn, or for a link."""
    asked_at: float = 0.0
    tries: int = 0
    taken: int = 0
    """Parts that were new; a server that adds none is not asked for ever."""
    newer_seen: bool = False
    _stage: Stage = field(factory=dict)
    _parts: dict[bytes, dict[int, Record]] = field(factory=dict)
    _staged_bytes: int = 0
    _kept_bytes: int = 0
    """Bytes staged for earlier headers of this fetch; bounded by the quota of a stream."""
    _lacking: list[tuple[bytes, bytes]] | None = None
    """What `missing` found, until something is staged."""

    def resume(self, envelope: Envelope, held: MerkleMap[Record]) -> None:
        """Aim at a newer header; proved subtrees stay proved."""
        self.envelope = envelope
        self._held = held
        self._lacking = None
        self._kept_bytes += self._staged_bytes
        self._parts.clear()
        self._staged_bytes = 0
        if self._kept_bytes > STREAM_BYTES_MAX:
            self._stage.clear()
            self._kept_bytes = 0

    def move_to(self, link: int) -> None:
        """Go on at another link. Parts of leaves are proved only together, so they stay behind."""
        if link != self.link:
            self.forget_parts()
        self.link = link

    def forget_parts(self) -> None:
        """Drop the parts of leaves that are not whole: one of them may be a lie."""
        for got in self._parts.values():
            self._staged_bytes -= sum(record.cost_bytes for record in got.values())
        self._parts.clear()

    def missing(self) -> list[tuple[bytes, bytes]]:
        """Return (path, hash) of nodes that are needed and not here, the shallow first."""
        if self._lacking is None:
            self._lacking = self._find_missing()
        return self._lacking

    def _find_missing(self) -> list[tuple[bytes, bytes]]:
        root = self.envelope.header.state_root
        if root == EMPTY_ROOT:
            return []
        found: list[tuple[bytes, bytes]] = []
        frontier = [(b"", root)]
        while frontier and len(found) < PATHS_MAX:
            deeper: list[tuple[bytes, bytes]] = []
            for path, digest in frontier:
                if self._reusable(path, digest) is not None:
                    continue
                staged = self._stage.get((path, digest))
                if staged is None:
                    found.append((path, digest))
                elif isinstance(staged, tuple):
                    deeper += [
                        (path + bytes([i]), child)
                        for i, child in enumerate(staged)
                        if child != NO_HASH
                    ]
            frontier = deeper
        return found[:PATHS_MAX]

    def _reusable(self, path: bytes, digest: bytes) -> Node[Record] | None:
        node = self._held.node(path)
        return node if node is not None and node.hash == digest else None

    def request(self) -> Get:
        """Return the message that asks for what is missing."""
        items = (Wanted(path, digest, self._got_to(path)) for path, digest in self.missing())
        return Get(self.envelope.header.stream, tuple(items))

    def _got_to(self, path: bytes) -> int:
        got = self._parts.get(path, {})
        return next(offset for offset in count() if offset not in got)

    def take(self, parts: tuple[Part, ...]) -> None:
        """Stage what was served; raises MalformedTree on a lie, BrokenRule on a bad header."""
        wanted = dict(self.missing())
        for part in parts:
            digest = wanted.get(part.path)
            if digest is None or digest != part.hash:
                continue
            if part.children is not None:
                if inner_hash(part.children) != digest:
                    raise MalformedTree("an inner node does not match its hash")
                self._stage[(part.path, digest)] = part.children
                self._lacking = None
                self.taken += 1
            else:
                self._take_records(part, digest)

    def _take_records(self, part: Part, digest: bytes) -> None:
        header = self.envelope.header
        got = self._parts.setdefault(part.path, {})
        for offset, record in enumerate(part.records, part.offset):
            if offset >= part.total:
                raise MalformedTree("a leaf has more records than it says")
            if offset not in got:
                self._staged_bytes += record.cost_bytes
                self.taken += 1
                got[offset] = record
        if len(got) < part.total:
            if self._staged_bytes > header.live_bytes:
                self.forget_parts()
                raise MalformedTree("more bytes were served than the header counts")
            return
        del self._parts[part.path]
        by_key = {record.key: record.hash for record in got.values()}
        if leaf_hash(sorted(by_key.items())) != digest:
            self._staged_bytes -= sum(record.cost_bytes for record in got.values())
            raise MalformedTree("a leaf does not match its hash")
        try:
            leaf = make_leaf(part.path, ((r.key, r.hash, r) for r in got.values()))
        except MalformedTree as error:
            raise BrokenRule("shape of the state tree") from error
        for record in got.values():
            rule = record_rule(record, header)
            if rule is not None:
                raise BrokenRule(rule)
        if self._staged_bytes > header.live_bytes:
            raise BrokenRule("counts of the state")
        self._stage[(part.path, digest)] = leaf
        self._lacking = None

    def assemble(self) -> MerkleMap[Record]:
        """Return the whole tree once nothing is missing; raises BrokenRule when not canonical."""
        header = self.envelope.header
        if header.state_root == EMPTY_ROOT:
            tree: MerkleMap[Record] = MerkleMap()
        else:
            try:
                tree = MerkleMap(self._build(b"", header.state_root))
            except MalformedTree as error:
                raise BrokenRule("shape of the state tree") from error
        cost = sum(entry.value.cost_bytes for entry in tree.entries())
        rule = counts_rule(header, keys=len(tree), cost_bytes=cost)
        if rule is not None:
            raise BrokenRule(rule)
        return tree

    def _build(self, path: bytes, digest: bytes) -> Node[Record]:
        reused = self._reusable(path, digest)
        if reused is not None:
            return reused
        staged = self._stage[(path, digest)]
        if not isinstance(staged, tuple):
            return staged
        return make_inner(
            [
                None if child == NO_HASH else self._build(path + bytes([i]), child)
                for i, child in enumerate(staged)
            ]
        )


def node_parts(
    path: bytes, node: Node[Record], *, bytes_max: int, offset: int = 0
) -> Iterator[Part]:
    """Yield the parts that carry one node, a leaf from `offset` on, each near or below a size."""
    if isinstance(node, Inner):
        yield Part(path, node.hash, node.child_hashes(), 0, 0, ())
        return
    records = [node.entries[key].value for key in sorted(node.entries)]
    chunk: list[Record] = []
    size = 0
    for record in records[offset:]:
        if chunk and size + record.cost_bytes > bytes_max:
            yield Part(path, node.hash, None, len(records), offset, tuple(chunk))
            offset += len(chunk)
            chunk, size = [], 0
        chunk.append(record)
        size += record.cost_bytes
    yield Part(path, node.hash, None, len(records), offset, tuple(chunk))


def part_bytes(part: Part) -> int:
    """Return about how many bytes a part takes in a message."""
    if part.children is not None:
        return 16 * 34 + 120
    return 120 + sum(record.cost_bytes + 24 for record in part.records)
