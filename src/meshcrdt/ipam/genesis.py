"""The genesis: the one signed record that a cluster begins with.

It fixes the universes, the number of shards, the first guardians and the block policy. Its
hash is bound into every handshake, so that two clusters refuse each other by name instead
of corrupting each other. Trust sees only the 32 bytes of the hash. The first launch without
peers makes it; agreement of hosts launched together is a later change that ends in the
same record.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from ipaddress import IPv6Address

from attrs import evolve, field, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ipam.policy import BlockPolicy
from meshcrdt.ranges import Cidr
from meshcrdt.trust.identity import PUBLIC_BYTES, SIGNATURE_BYTES, Identity, peer_id, verify
from meshcrdt.wire import content_hash, decode, encode

GENESIS_DOMAIN = "meshcrdt genesis"
GENESIS_FORMAT = 1
GENESIS_NONCE_BYTES = 16
GENESIS_SET_VERSION = 1
"""The version of the guardian set that the genesis names; each change adds one."""

UNIVERSE_IPV4_DEFAULT = "10.32.0.0/12"
UNIVERSES_MAX = 16
GUARDIANS_MAX = 5
SHARDS_MAX = 256


def default_universes(nonce: bytes) -> tuple[str, str]:
    """Return the default ranges: 10.32.0.0/12, and an IPv6 ULA /48 drawn from the nonce.

    RFC 4193 wants 40 random bits behind fd00::/8. They come from the nonce and not from the
    cluster id, because the id is a hash over the universes.
    """
    random_bits = blake2b(nonce, digest_size=5, person=b"meshcrdt ula").digest()
    prefix = IPv6Address(b"\xfd" + random_bits + b"\0" * 10)
    return UNIVERSE_IPV4_DEFAULT, f"{prefix}/48"


def check_universes(universes: Sequence[str]) -> tuple[str, ...]:
    """Return canonical texts; raises UsageError naming what is malformed or overlaps."""
    if not universes:
        raise UsageError("no universe is given: at least one CIDR is needed")
    if len(universes) > UNIVERSES_MAX:
        raise UsageError(f"{len(universes)} universes: at most {UNIVERSES_MAX} are accepted")
    parsed = [Cidr.parse(text) for text in universes]
    for index, cidr in enumerate(parsed):
        for other in parsed[:index]:
            if cidr.overlaps(other):
                raise UsageError(f"universes {other} and {cidr} overlap")
    return tuple(str(cidr) for cidr in parsed)


@frozen(slots=False)
class Genesis:
    """The founding record; equal hashes mean the same cluster.

    `maker` and `guardian_keys` are Ed25519 public keys, `universes` canonical CIDR texts.
    """

    maker: bytes
    nonce: bytes
    universes: tuple[str, ...]
    shards: int
    guardian_keys: tuple[bytes, ...]
    policy: BlockPolicy
    signature: bytes = field(repr=False)

    @classmethod
    def make(
        cls,
        identity: Identity,
        universes: Sequence[str] | None = None,
        *,
        nonce: bytes,
        policy: BlockPolicy | None = None,
    ) -> Genesis:
        """Make and sign a genesis whose maker is the lone first guardian.

        `nonce` is 16 bytes of entropy from the shell. Raises UsageError for bad universes.
        """
        if len(nonce) != GENESIS_NONCE_BYTES:
            raise UsageError(f"the nonce has {len(nonce)} bytes, not {GENESIS_NONCE_BYTES}")
        unsigned = cls(
            maker=identity.public,
            nonce=nonce,
            universes=check_universes(default_universes(nonce) if universes is None else universes),
            shards=1,
            guardian_keys=(identity.public,),
            policy=policy or BlockPolicy(),
            signature=b"",
        )
        signature = identity.sign(GENESIS_DOMAIN, encode(unsigned.body_tree()))
        return evolve(unsigned, signature=signature)

    def body_tree(self) -> Tree:
        """Return the tree that is hashed and signed."""
        return (
            GENESIS_FORMAT,
            self.maker,
            self.nonce,
            self.universes,
            self.shards,
            self.guardian_keys,
            self.policy.to_tree(),
        )

    def to_tree(self) -> Tree:
        """Return the canonical tree: (body, signature)."""
        return (self.body_tree(), self.signature)

    @classmethod
    def from_tree(cls, tree: Tree) -> Genesis:
        """Read a tree from outside and verify it; raises MalformedTree."""
        body, signature = take_tuple(tree, "genesis", size=2)
        form, maker, nonce, universes, shards, guardians, policy = take_tuple(
            body, "genesis body", size=7
        )
        take_int(form, "genesis format", low=GENESIS_FORMAT, high=GENESIS_FORMAT)
        texts = tuple(
            take_str(item, "universe", size_max=64) for item in take_tuple(universes, "universes")
        )
        keys = tuple(
            take_bytes(item, "guardian key", size=PUBLIC_BYTES)
            for item in take_tuple(guardians, "guardian keys")
        )
        genesis = cls(
            maker=take_bytes(maker, "maker", size=PUBLIC_BYTES),
            nonce=take_bytes(nonce, "nonce", size=GENESIS_NONCE_BYTES),
            universes=texts,
            shards=take_int(shards, "shards", low=1, high=SHARDS_MAX),
            guardian_keys=keys,
            policy=BlockPolicy.from_tree(policy),
            signature=take_bytes(signature, "signature", size=SIGNATURE_BYTES),
        )
        genesis._check_remote()
        return genesis

    def _check_remote(self) -> None:
        """Raise MalformedTree where a well-shaped record breaks a rule."""
        try:
            canonical = check_universes(self.universes)
        except UsageError as error:
            raise MalformedTree(f"genesis: {error}") from None
        if canonical != self.universes:
            raise MalformedTree("genesis: a universe is not in canonical form")
        if not 1 <= len(self.guardian_keys) <= GUARDIANS_MAX:
            raise MalformedTree(f"genesis: {len(self.guardian_keys)} guardians")
        if len(set(self.guardian_keys)) != len(self.guardian_keys):
            raise MalformedTree("genesis: a guardian is named twice")
        if not verify(self.maker, GENESIS_DOMAIN, encode(self.body_tree()), self.signature):
            raise MalformedTree("genesis: the signature of its maker does not hold")

    def encode(self) -> bytes:
        """Return the bytes that are stored and sent."""
        return encode(self.to_tree())

    @classmethod
    def decode(cls, value: bytes) -> Genesis:
        """Read bytes from outside and verify them; raises MalformedTree."""
        return cls.from_tree(decode(value))

    @cached_property
    def hash(self) -> bytes:
        """The 32 bytes that handshakes, headers and proofs bind to."""
        return content_hash(self.body_tree())

    @property
    def cluster(self) -> str:
        """The cluster id: 32 hex digits of the hash."""
        return self.hash[:16].hex()

    @property
    def guardians(self) -> tuple[PeerId, ...]:
        """The peer ids of the first guardians."""
        return tuple(peer_id(public) for public in self.guardian_keys)

    @cached_property
    def ranges(self) -> tuple[Cidr, ...]:
        """The universes as ranges, in their order."""
        return tuple(Cidr.parse(text) for text in self.universes)
