"""The Hello: what a peer says about itself in a handshake, and has proved when it ends.

It travels sealed, in messages 2 and 3 (finding T2), so a stranger reads none of it. It
is small, because message 2 must never be larger than message 1 (finding T1).
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Attribute, field, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_line,
    take_lines,
    take_tuple,
)
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.trust.identity import PUBLIC_BYTES, Identity, peer_id
from meshcrdt.wire import HASH_BYTES, encode

PROTOCOL_VERSIONS = (1,)
"""The versions of the protocol after the handshake that this code speaks."""

HELLO_BYTES_MAX = 1_280
NAME_CHARACTERS_MAX = 255
VERSIONS_MAX = 16
VERSION_MAX = 65_535
FEATURES_MAX = 32
FEATURE_CHARACTERS_MAX = 64
ADVERTISE_MAX = 16
ADDRESS_CHARACTERS_MAX = 512
EXTENSIONS_MAX = 16
CLUSTER_ID_BYTES = 16


def cluster_id(genesis: bytes) -> str:
    """Return the cluster id, 32 hex digits, of a 32-byte genesis hash."""
    return genesis[:CLUSTER_ID_BYTES].hex()


def _is_own_hash(hello: Hello, _: Attribute[PeerId], value: PeerId) -> None:
    if value != peer_id(hello.public):
        raise UsageError(f"{value} is not the peer id of the public key beside it")


@frozen(kw_only=True)
class Hello:
    """One peer, one run: identity, name, epoch, cluster, and how to talk to it.

    `genesis` is the 32-byte genesis hash, or None for a node that has none yet.
    `advertise` are URLs where the peer can be dialled: hints, the directory holds all.
    `extensions` is for later versions: (name, tree) pairs, ignored where unknown.
    """

    public: bytes
    peer: PeerId = field(validator=_is_own_hash)
    name: str
    epoch: Epoch
    genesis: bytes | None = None
    versions: tuple[int, ...] = PROTOCOL_VERSIONS
    features: tuple[str, ...] = ()
    advertise: tuple[str, ...] = ()
    extensions: tuple[Tree, ...] = ()

    @classmethod
    def of(
        cls,
        identity: Identity,
        *,
        name: str,
        epoch: Epoch,
        genesis: bytes | None = None,
        features: Sequence[str] = (),
        advertise: Sequence[str] = (),
    ) -> Hello:
        """Return this node's own Hello, with as many of `advertise` as fit, in order.

        Raises UsageError when the rest alone breaks a bound.
        """
        kept = tuple(advertise[:ADVERTISE_MAX])
        while True:
            hello = cls(
                public=identity.public,
                peer=identity.peer,
                name=name,
                epoch=epoch,
                genesis=genesis,
                features=tuple(sorted(set(features))),
                advertise=kept,
            )
            try:
                return cls.from_tree(hello.to_tree())
            except MalformedTree as error:
                if not kept:
                    raise UsageError(f"this node's hello is not accepted: {error}") from None
                kept = kept[:-1]

    @property
    def cluster(self) -> str | None:
        """The cluster id, 32 hex digits, or None without a genesis."""
        return None if self.genesis is None else cluster_id(self.genesis)

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (
            self.public,
            self.name,
            epoch_tree(self.epoch),
            self.genesis,
            self.versions,
            self.features,
            self.advertise,
            self.extensions,
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> Hello:
        """Read a Hello from outside; raises MalformedTree. Proves nothing by itself."""
        public, name, epoch, genesis, versions, features, advertise, extensions = take_tuple(
            tree, "hello", size=8
        )
        key = take_bytes(public, "hello.public", size=PUBLIC_BYTES)
        hello = cls(
            public=key,
            peer=peer_id(key),
            name=take_line(name, "hello.name", size_max=NAME_CHARACTERS_MAX),
            epoch=take_epoch(epoch, "hello.epoch"),
            genesis=take_genesis(genesis, "hello.genesis"),
            versions=take_versions(versions, "hello.versions"),
            features=take_features(features, "hello.features"),
            advertise=take_lines(
                advertise,
                "hello.advertise",
                count_max=ADVERTISE_MAX,
                size_max=ADDRESS_CHARACTERS_MAX,
            ),
            extensions=take_tuple(extensions, "hello.extensions"),
        )
        if len(hello.extensions) > EXTENSIONS_MAX:
            raise MalformedTree(f"hello.extensions has more than {EXTENSIONS_MAX} items")
        size = len(encode(tree))
        if size > HELLO_BYTES_MAX:
            raise MalformedTree(f"hello has {size} bytes: {HELLO_BYTES_MAX} are accepted")
        return hello


def take_genesis(tree: Tree, field_name: str) -> bytes | None:
    """Return `tree` as a genesis hash or None; raises MalformedTree."""
    return None if tree is None else take_bytes(tree, field_name, size=HASH_BYTES)


def take_versions(tree: Tree, field_name: str) -> tuple[int, ...]:
    """Return `tree` as protocol versions: one or more; raises MalformedTree."""
    items = take_tuple(tree, field_name)
    if not 1 <= len(items) <= VERSIONS_MAX:
        raise MalformedTree(
            f"{field_name} has {len(items)} items: 1 to {VERSIONS_MAX} are accepted"
        )
    return tuple(take_int(item, field_name, high=VERSION_MAX) for item in items)


def take_features(tree: Tree, field_name: str) -> tuple[str, ...]:
    """Return `tree` as feature names; raises MalformedTree."""
    return take_lines(tree, field_name, count_max=FEATURES_MAX, size_max=FEATURE_CHARACTERS_MAX)
