"""Signed headers: the only thing that an origin ever signs about its stream.

A header fixes the whole live state of one (channel, origin) after one flush through its
state root (rules R1, R2), so relays can add, omit and reorder
nothing. Verifying costs 114 us, which is why signatures cover flushes and not records.
The signed bytes begin with a domain tag and the genesis hash: a header of one cluster
means nothing in another (F34).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_peer,
    take_str,
    take_tuple,
)
from meshcrdt.errors import MalformedTree
from meshcrdt.trust.identity import PUBLIC_BYTES, SIGNATURE_BYTES, Identity, peer_id
from meshcrdt.wire import HASH_BYTES, encode

HEADER_DOMAIN = "gossip/header/1"
DEPS_MAX = 256
"""Owners that one header may depend on. A full list keeps cancels instead of dropping them."""

Verify: TypeAlias = Callable[[bytes, str, bytes, bytes], bool]
"""(public, domain, message, signature) -> whether it is good; pure, so it can be memoised."""


class StreamKey(NamedTuple):
    """Which stream: one origin's records in one channel."""

    channel: str
    origin: PeerId

    @property
    def raw(self) -> bytes:
        """The bytes under which the tree over all streams knows it."""
        return bytes(self.origin) + self.channel.encode()

    def __str__(self) -> str:
        return f"{self.channel}/{self.origin.short}"


PLACE_HASH_BYTES = 8


class Place(NamedTuple):
    """The short form of a Ref: enough to tell which of two is newer, and to name one.

    Nothing is merged for what it says. Two instances of one identity may compare wrongly;
    anti-entropy compares whole hashes and puts that right.
    """

    counter: int
    seq: int
    hash: bytes

    @classmethod
    def from_fields(cls, counter: Tree, seq: Tree, digest: Tree) -> Place:
        """Read three fields from outside; raises MalformedTree."""
        return cls(
            take_int(counter, "place.counter"),
            take_int(seq, "place.seq", low=1),
            take_bytes(digest, "place.hash", size=PLACE_HASH_BYTES),
        )


class Ref(NamedTuple):
    """Which header of a stream. Compared in this order: the greatest valid one wins (F9)."""

    epoch: Epoch
    seq: int
    hash: bytes

    @property
    def place(self) -> Place:
        """The short form."""
        return Place(self.epoch.counter, self.seq, self.hash[:PLACE_HASH_BYTES])

    def to_tree(self) -> Tree:
        """Return the tree."""
        return (epoch_tree(self.epoch), self.seq, self.hash)

    @classmethod
    def from_tree(cls, tree: Tree) -> Ref:
        """Read a tree from outside; raises MalformedTree."""
        epoch, seq, digest = take_tuple(tree, "ref", size=3)
        return cls(
            take_epoch(epoch, "ref.epoch"),
            take_int(seq, "ref.seq", low=1),
            take_bytes(digest, "ref.hash", size=HASH_BYTES),
        )


class Dep(NamedTuple):
    """A header of another origin in the same channel that must be held first (F7)."""

    origin: PeerId
    ref: Ref


@frozen
class Header:
    """What an origin signs about one flush; see docs/protocol/replication.md for each field."""

    genesis: bytes
    channel: str
    origin: PeerId
    epoch: Epoch
    seq: int
    previous: bytes
    """Hash of the header before this one, over epochs; zeros for the first ever."""
    base: Ref | None
    """For the first header of an epoch: the header of an earlier epoch whose state it goes on."""
    records_root: bytes
    """Hash over what this flush changed; evidence for auditors, never a reason to refuse."""
    state_root: bytes
    live_keys: int
    live_bytes: int
    deps: tuple[Dep, ...] = ()
    capability: bytes | None = None

    @property
    def stream(self) -> StreamKey:
        """The stream that this header belongs to."""
        return StreamKey(self.channel, self.origin)

    @cached_property
    def ref(self) -> Ref:
        """The place of this header in the order of its stream."""
        return Ref(self.epoch, self.seq, self.hash)

    @cached_property
    def body(self) -> bytes:
        """The signed bytes."""
        return encode((HEADER_DOMAIN, self.genesis, *self._fields()))

    @cached_property
    def hash(self) -> bytes:
        """BLAKE2b-256 of the signed bytes."""
        return hashlib.blake2b(self.body, digest_size=HASH_BYTES).digest()

    def _fields(self) -> tuple[Tree, ...]:
        return (
            self.channel,
            bytes(self.origin),
            epoch_tree(self.epoch),
            self.seq,
            self.previous,
            None if self.base is None else self.base.to_tree(),
            self.records_root,
            self.state_root,
            self.live_keys,
            self.live_bytes,
            dep_trees(self.deps),
            self.capability,
        )

    def to_tree(self) -> Tree:
        """Return the tree without domain tag and genesis: both ends of a link agree on those."""
        return self._fields()

    @classmethod
    def from_tree(cls, tree: Tree, genesis: bytes) -> Header:
        """Read a tree from outside; raises MalformedTree."""
        items = take_tuple(tree, "header", size=12)
        (channel, origin, epoch, seq, previous, base, records, state, keys, size, deps, cap) = items
        return cls(
            genesis=genesis,
            channel=take_channel(channel),
            origin=take_peer(origin, "header.origin"),
            epoch=take_epoch(epoch, "header.epoch"),
            seq=take_int(seq, "header.seq", low=1),
            previous=take_bytes(previous, "header.previous", size=HASH_BYTES),
            base=None if base is None else Ref.from_tree(base),
            records_root=take_bytes(records, "header.records_root", size=HASH_BYTES),
            state_root=take_bytes(state, "header.state_root", size=HASH_BYTES),
            live_keys=take_int(keys, "header.live_keys"),
            live_bytes=take_int(size, "header.live_bytes"),
            deps=take_deps(deps),
            capability=None if cap is None else take_bytes(cap, "capability", size=HASH_BYTES),
        )


def stream_fields(stream: StreamKey) -> tuple[Tree, Tree]:
    """Return the two fields by which a message names a stream."""
    return (stream.channel, bytes(stream.origin))


def take_stream(channel: Tree, origin: Tree) -> StreamKey:
    """Read those two fields from outside; raises MalformedTree."""
    return StreamKey(take_channel(channel), take_peer(origin, "origin"))


def take_channel(tree: Tree) -> str:
    """Return `tree` as a channel name; raises MalformedTree."""
    channel = take_str(tree, "channel", size_max=DEFAULT_LIMITS.channel_name_bytes_max)
    if not channel or len(channel.encode()) > DEFAULT_LIMITS.channel_name_bytes_max:
        raise MalformedTree(f"channel {channel!r} is empty or too long")
    return channel


def dep_trees(deps: tuple[Dep, ...]) -> Tree:
    """Return the tree of a list of deps."""
    return tuple((bytes(dep.origin), dep.ref.to_tree()) for dep in deps)


def take_deps(tree: Tree) -> tuple[Dep, ...]:
    """Read such a list from outside; raises MalformedTree."""
    items = take_tuple(tree, "header.deps")
    if len(items) > DEPS_MAX:
        raise MalformedTree(f"header.deps has {len(items)} items: at most {DEPS_MAX} are accepted")
    deps = []
    for item in items:
        origin, ref = take_tuple(item, "dep", size=2)
        deps.append(Dep(take_peer(origin, "dep.origin"), Ref.from_tree(ref)))
    if any(a.origin >= b.origin for a, b in pairwise(deps)):
        raise MalformedTree("header.deps is not sorted by origin")
    return tuple(deps)


class KeyOnWire(Enum):
    """Whether an envelope carries its public key."""

    SENT = "sent"
    OMITTED = "omitted"


@frozen
class Envelope:
    """A header with the key and the signature that prove it."""

    header: Header
    public: bytes
    signature: bytes

    def is_signed(self, verify: Verify) -> bool:
        """Return whether the key is the origin's and the signature is good."""
        return self.is_signed_by(self.header.origin, verify)

    def is_signed_by(self, signer: PeerId, verify: Verify) -> bool:
        """Return whether the key is the signer's and the signature is good."""
        return peer_id(self.public) == signer and self.verified_by(verify)

    @property
    def signer(self) -> PeerId:
        """Whose key it carries: the origin's, or that of who adopted its stream."""
        header = self.header
        return header.origin if header.capability is None else peer_id(self.public)

    def verified_by(self, verify: Verify) -> bool:
        """Return whether the signature is the key's, whoever owns that."""
        return verify(self.public, HEADER_DOMAIN, self.header.body, self.signature)

    def to_tree(self, key: KeyOnWire) -> Tree:
        """Return the tree; a receiver that holds the stream needs no public key."""
        public = self.public if key is KeyOnWire.SENT else b""
        return (self.header.to_tree(), public, self.signature)

    @classmethod
    def from_tree(cls, tree: Tree, genesis: bytes) -> Envelope:
        """Read a tree from outside; `public` may be empty. Raises MalformedTree."""
        header, public, signature = take_tuple(tree, "envelope", size=3)
        key = take_bytes(public, "envelope.public", size_max=PUBLIC_BYTES)
        if len(key) not in (0, PUBLIC_BYTES):
            raise MalformedTree(f"envelope.public has {len(key)} bytes")
        return cls(
            Header.from_tree(header, genesis),
            key,
            take_bytes(signature, "envelope.signature", size=SIGNATURE_BYTES),
        )


def seal(header: Header, identity: Identity) -> Envelope:
    """Sign a header of this identity's own stream."""
    return Envelope(header, identity.public, identity.sign(HEADER_DOMAIN, header.body))
