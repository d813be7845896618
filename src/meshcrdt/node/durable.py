"""The node's own durable rows: boot counter, genesis, the addresses that it was given, and
whom `minority` counts against.

Table "node". The boot counter is written before a process says anything in its new epoch,
so no two runs of one store share an epoch (finding F14).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from meshcrdt.abc import Row
from meshcrdt.base.ids import PEER_ID_BYTES, Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import take_bytes, take_int, take_str, take_tuple
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.errors import CapacityError, CorruptStore, MalformedTree, WrongStore
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.trust.hello import cluster_id
from meshcrdt.wire import HASH_BYTES, decode, encode

TABLE = "node"
BOOT_KEY = b"boot"
GENESIS_KEY = b"genesis"
PEERS_KEY = b"peers"
OWNER_KEY = b"owner"
JOINING_KEY = b"joining"
BASELINE_KEY = b"baseline"
NONCE_KEY = b"nonce"

Tables = Mapping[str, Mapping[bytes, bytes]]


def next_epoch(tables: Tables, instance: bytes) -> tuple[Epoch, tuple[Row, ...]]:
    """Return the epoch of a new run and the rows to make durable before it says anything."""
    epoch = Epoch(_boot_counter(tables) + 1, instance)
    return epoch, (boot_row(epoch),)


def boot_row(epoch: Epoch) -> Row:
    """Return the row that remembers an epoch's counter."""
    return (TABLE, BOOT_KEY, encode(epoch.counter))


def store_nonce(
    tables: Tables, fresh: bytes, genesis: Genesis | None
) -> tuple[bytes, tuple[Row, ...]]:
    """Return the nonce of this store, and the row to make durable when it begins now.

    A store that comes with a genesis and without a nonce is that of the founder, whose
    nonce the genesis names. Any other draws `fresh`: what the store of an earlier run
    promised is not known to it (rule 4 of the registers). Raises CorruptStore.
    """
    raw = tables.get(TABLE, {}).get(NONCE_KEY)
    if raw is not None:
        if len(raw) != STORE_NONCE_BYTES:
            raise CorruptStore(f"table {TABLE!r}, key 'nonce': {len(raw)} bytes")
        return raw, ()
    nonce = fresh if genesis is None else genesis.nonce[:STORE_NONCE_BYTES]
    return nonce, ((TABLE, NONCE_KEY, nonce),)


def owner_row(peer: PeerId) -> Row:
    """Return the row that binds a store to one identity."""
    return (TABLE, OWNER_KEY, bytes(peer))


def check_owner(tables: Tables, peer: PeerId, where: str) -> None:
    """Raise WrongStore, naming both identities, when the store belongs to another one."""
    found = tables.get(TABLE, {}).get(OWNER_KEY)
    if found is not None and found != bytes(peer):
        raise WrongStore(
            f"{where} belongs to node {found.hex()}, but the key beside it is that of {peer}: "
            "restore the matching key, or start with an empty state directory"
        )


def genesis_row(genesis: Genesis) -> Row:
    """Return the row that keeps the genesis."""
    return (TABLE, GENESIS_KEY, encode(genesis.to_tree()))


def read_genesis(tables: Tables) -> Genesis | None:
    """Return the stored genesis; raises CorruptStore when it does not verify."""
    raw = tables.get(TABLE, {}).get(GENESIS_KEY)
    if raw is None:
        return None
    try:
        return Genesis.from_tree(decode(raw))
    except MalformedTree as error:
        raise CorruptStore(f"table {TABLE!r}, key 'genesis': {error}") from error


@frozen
class Joining:
    """Which cluster a node set out to join, and whom it asks: known before it is admitted."""

    genesis: bytes
    peers: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """The cluster id, 32 hex digits."""
        return cluster_id(self.genesis)


def joining_row(joining: Joining) -> Row:
    """Return the row that keeps a node from founding a cluster when its joining is cut off."""
    return (TABLE, JOINING_KEY, encode((joining.genesis, joining.peers)))


def read_joining(tables: Tables) -> Joining | None:
    """Return what the store says of joining; raises CorruptStore."""
    raw = tables.get(TABLE, {}).get(JOINING_KEY)
    if raw is None:
        return None
    try:
        genesis, peers = take_tuple(decode(raw), "joining", size=2)
        addresses = tuple(take_str(item, "peer address") for item in take_tuple(peers, "peers"))
        return Joining(take_bytes(genesis, "genesis", size=HASH_BYTES), addresses)
    except MalformedTree as error:
        raise CorruptStore(f"table {TABLE!r}, key 'joining': {error}") from error


def peers_row(addresses: Iterable[str], *, limits: Limits = DEFAULT_LIMITS) -> Row:
    """Return the row that keeps the addresses given by the operator, sorted.

    Raises CapacityError for more than a node dials, or more than can be read back.
    """
    kept = tuple(sorted(set(addresses)))
    if len(kept) > limits.members_max:
        raise CapacityError(f"{len(kept)} addresses of peers: members_max={limits.members_max}")
    raw = encode(kept)
    if len(raw) > DEFAULT_LIMITS.frame_bytes_max:
        raise CapacityError(
            f"the addresses of peers take {len(raw)} bytes: at most "
            f"{DEFAULT_LIMITS.frame_bytes_max} are kept"
        )
    return (TABLE, PEERS_KEY, raw)


def read_peers(tables: Tables) -> tuple[str, ...]:
    """Return the stored addresses; raises CorruptStore."""
    raw = tables.get(TABLE, {}).get(PEERS_KEY)
    if raw is None:
        return ()
    try:
        return tuple(take_str(item, "peer address") for item in take_tuple(decode(raw), "peers"))
    except MalformedTree as error:
        raise CorruptStore(f"table {TABLE!r}, key 'peers': {error}") from error


def baseline_row(baseline: Iterable[PeerId]) -> Row:
    """Return the row that keeps whom `minority` counts against."""
    return (TABLE, BASELINE_KEY, encode(b"".join(sorted(baseline))))


def read_baseline(tables: Tables) -> frozenset[PeerId] | None:
    """Return whom `minority` counted against; None when nothing is kept. Raises CorruptStore."""
    raw = tables.get(TABLE, {}).get(BASELINE_KEY)
    if raw is None:
        return None
    try:
        ids = take_bytes(decode(raw), "baseline")
        if len(ids) % PEER_ID_BYTES:
            raise MalformedTree(f"baseline has {len(ids)} bytes: whole ids are expected")
    except MalformedTree as error:
        raise CorruptStore(f"table {TABLE!r}, key 'baseline': {error}") from error
    return frozenset(
        PeerId(ids[at : at + PEER_ID_BYTES]) for at in range(0, len(ids), PEER_ID_BYTES)
    )


def _boot_counter(tables: Tables) -> int:
    raw = tables.get(TABLE, {}).get(BOOT_KEY)
    if raw is None:
        return 0
    try:
        return take_int(decode(raw), "boot counter")
    except MalformedTree as error:
        raise CorruptStore(f"table {TABLE!r}, key 'boot': {error}") from error
