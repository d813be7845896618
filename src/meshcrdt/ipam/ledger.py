"""What a shard remembers of the requests of one peer, so that a retry gets the same block.

Part of the shard's value, kept under a key of its own for each requester, so that a carve
rewrites bytes in proportion to itself. Bounded: the last requests of a peer, and a floor
below which a request is answered `stale` for ever. A requester never has as many requests
under way as are remembered, so only a late duplicate can fall below the floor (rule 2).
"""

from __future__ import annotations

import itertools

from attrs import evolve, field, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import Tree, epoch_tree, take_epoch, take_int, take_peer, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.register import BOTTOM_STAMP, Proof, RequestId, Stamp, take_stamp
from meshcrdt.ranges import Cidr
from meshcrdt.wire import content_hash, decode, encode

LEDGER_FORMAT = 1
REQUESTS_REMEMBERED_MAX = 32


@frozen
class Granted:
    """One remembered request and the block that it got."""

    epoch: Epoch
    number: int
    cidr: Cidr

    @property
    def order(self) -> tuple[Epoch, int]:
        """Requests of one peer are ordered by instance, then number."""
        return (self.epoch, self.number)


@frozen
class Ledger:
    """The last granted requests of one peer in one shard, ascending by (instance, number)."""

    peer: PeerId
    stamp: Stamp = BOTTOM_STAMP
    shard: int = 0
    floor: tuple[Epoch, int] | None = None
    granted: tuple[Granted, ...] = ()
    proof: Proof | None = field(default=None, repr=False)

    def find(self, request: RequestId) -> Cidr | None:
        """Return the block that this very request got, or None."""
        for entry in self.granted:
            if (entry.epoch, entry.number) == (request.epoch, request.number):
                return entry.cidr
        return None

    def is_stale(self, request: RequestId) -> bool:
        """Return True when the request is so old that it may have been forgotten."""
        return self.floor is not None and (request.epoch, request.number) <= self.floor

    def add(self, request: RequestId, cidr: Cidr, *, stamp: Stamp) -> Ledger:
        """Return the ledger with one more granted request, unsigned."""
        entry = Granted(request.epoch, request.number, cidr)
        granted = sorted((*self.granted, entry), key=lambda item: item.order)
        forgotten = granted[:-REQUESTS_REMEMBERED_MAX]
        return evolve(
            self,
            stamp=stamp,
            floor=forgotten[-1].order if forgotten else self.floor,
            granted=tuple(granted[-REQUESTS_REMEMBERED_MAX:]),
            proof=None,
        )

    def body_tree(self) -> Tree:
        """Return the tree of the value without its proof."""
        floor: Tree = None
        if self.floor is not None:
            floor = (epoch_tree(self.floor[0]), self.floor[1])
        granted: Tree = tuple(
            (epoch_tree(entry.epoch), entry.number, entry.cidr.to_tree()) for entry in self.granted
        )
        return (LEDGER_FORMAT, bytes(self.peer), tuple(self.stamp), self.shard, floor, granted)

    @property
    def value_hash(self) -> bytes:
        """The hash that guardians sign."""
        return content_hash(self.body_tree())

    def encode(self) -> bytes:
        """Return the bytes that are replicated."""
        proof = None if self.proof is None else self.proof.to_tree()
        return encode((self.body_tree(), proof))

    @classmethod
    def decode(cls, value: bytes) -> Ledger:
        """Read bytes from outside; raises MalformedTree."""
        body, proof_tree = take_tuple(decode(value), "ledger", size=2)
        form, peer, stamp, shard, floor_tree, granted = take_tuple(body, "ledger body", size=6)
        take_int(form, "ledger format", low=LEDGER_FORMAT, high=LEDGER_FORMAT)
        floor = None
        if floor_tree is not None:
            epoch, number = take_tuple(floor_tree, "ledger floor", size=2)
            floor = (take_epoch(epoch, "ledger floor"), take_int(number, "ledger floor"))
        entries = tuple(_take_granted(item) for item in take_tuple(granted, "granted"))
        if len(entries) > REQUESTS_REMEMBERED_MAX:
            raise MalformedTree(f"ledger has {len(entries)} entries")
        orders = [entry.order for entry in entries]
        if any(low >= high for low, high in itertools.pairwise(orders)):
            raise MalformedTree("ledger is not in order")
        return cls(
            take_peer(peer, "ledger peer"),
            take_stamp(stamp, "ledger stamp"),
            take_int(shard, "ledger shard", high=65_535),
            floor,
            entries,
            None if proof_tree is None else Proof.from_tree(proof_tree),
        )


def _take_granted(tree: Tree) -> Granted:
    epoch, number, cidr = take_tuple(tree, "granted", size=3)
    return Granted(
        take_epoch(epoch, "granted epoch"),
        take_int(number, "granted number"),
        Cidr.from_tree(cidr),
    )


def join_ledgers(a: Ledger, b: Ledger) -> Ledger:
    """Return the ledger with the higher stamp; equal stamps settle by bytes, the same everywhere.

    Two different ledgers with one stamp come with two registers with that stamp, which raise
    the alarm and are FROZEN.
    """
    if a.stamp != b.stamp:
        return a if a.stamp > b.stamp else b
    return max(a, b, key=Ledger.encode)
