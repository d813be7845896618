"""Keys and rows: what goes into channel "ipam" and into this node's own table "ipam".

Channel "ipam", by the first byte of the key:

- "r" + range: a Register; "e" + range + hash: a second, conflicting value of a register,
  kept as evidence, so that every replica derives the same FROZEN;
- "q" + peer: the Ledger of a requester.
- "g" and "f" are kept free for guardian sets and fenced instances; unknown keys are skipped.

Own table, of the allocator alone: "b" + range: a block that this node owns, as its
Register; "a" + address: an allocation or an address that cools down; "c" + instance +
number: a carve that was asked and not yet settled, so that a restart asks the same again;
"d": the run in which this store was seen to be older than the world, see `Holdings.distrust`.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_epoch,
    take_int,
    take_str,
    take_tuple,
)
from meshcrdt.errors import MalformedTree
from meshcrdt.ranges import Address, Cidr, bits_of
from meshcrdt.wire import decode, encode

REGISTER_TAG = b"r"
EVIDENCE_TAG = b"e"
LEDGER_TAG = b"q"
BLOCK_TAG = b"b"
ALLOCATION_TAG = b"a"
CARVE_TAG = b"c"
DOUBT_KEY = b"d"

WORKLOAD_BYTES_MAX = 1_024
EVIDENCE_HASH_BYTES = 8

_ROW_FORMAT = 1


def range_key(cidr: Cidr) -> bytes:
    """Return a range as bytes that sort as ranges do."""
    width_bytes = bits_of(cidr.family) // 8
    return bytes([cidr.family]) + cidr.network.to_bytes(width_bytes, "big") + bytes([cidr.length])


def register_key(cidr: Cidr) -> bytes:
    """Key of a register in channel "ipam"."""
    return REGISTER_TAG + range_key(cidr)


def evidence_key(cidr: Cidr, value_hash: bytes) -> bytes:
    """Key of a conflicting value of a register in channel "ipam"."""
    return EVIDENCE_TAG + range_key(cidr) + value_hash[:EVIDENCE_HASH_BYTES]


def ledger_key(peer: PeerId) -> bytes:
    """Key of a requester's ledger in channel "ipam"."""
    return LEDGER_TAG + bytes(peer)


def block_key(cidr: Cidr) -> bytes:
    """Key of an owned block in the own table."""
    return BLOCK_TAG + range_key(cidr)


def allocation_key(address: Address) -> bytes:
    """Key of an address in the own table."""
    family, number = address
    return ALLOCATION_TAG + bytes([family]) + number.to_bytes(bits_of(family) // 8, "big")


def parse_allocation_key(key: bytes) -> Address:
    """Read the key of an address; raises MalformedTree."""
    family = key[1] if len(key) > 1 else 0
    if key[:1] != ALLOCATION_TAG or family not in (4, 6) or len(key) != 2 + bits_of(family) // 8:
        raise MalformedTree(f"{key.hex()} is not the key of an address")
    return family, int.from_bytes(key[2:], "big")


def carve_key(epoch: Epoch, number: int) -> bytes:
    """Key of an unsettled carve in the own table."""
    return CARVE_TAG + epoch.counter.to_bytes(8, "big") + epoch.instance + number.to_bytes(8, "big")


def encode_doubt(epoch: Epoch) -> bytes:
    """Return the row value that remembers in which run the store was found to be older."""
    return encode((_ROW_FORMAT, epoch_tree(epoch)))


def decode_doubt(value: bytes) -> Epoch:
    """Read the row value of a doubt; raises MalformedTree."""
    form, epoch = take_tuple(decode(value), "doubt row", size=2)
    take_int(form, "row format", low=_ROW_FORMAT, high=_ROW_FORMAT)
    return take_epoch(epoch, "doubt epoch")


class Use(IntEnum):
    """Why an address is not free."""

    ALLOCATED = 0
    CLAIMED = 1
    COOLING = 2


@frozen
class AllocationRow:
    """One address: who has it (or had it last, while it cools down) and in which subnet."""

    workload: str
    subnet: Cidr
    use: Use

    def encode(self) -> bytes:
        """Return the bytes of the row."""
        return encode((_ROW_FORMAT, self.workload, self.subnet.to_tree(), int(self.use)))

    @classmethod
    def decode(cls, value: bytes) -> AllocationRow:
        """Read the bytes of a row; raises MalformedTree."""
        form, workload, subnet, use = take_tuple(decode(value), "allocation row", size=4)
        take_int(form, "row format", low=_ROW_FORMAT, high=_ROW_FORMAT)
        return cls(
            take_str(workload, "workload", size_max=WORKLOAD_BYTES_MAX),
            Cidr.from_tree(subnet),
            Use(take_int(use, "use", high=int(Use.COOLING))),
        )


@frozen
class CarveRow:
    """A carve that was asked: with it a restarted node asks the very same thing again."""

    epoch: Epoch
    number: int
    within: Cidr
    size_bits: int
    exact: Cidr | None

    def encode(self) -> bytes:
        """Return the bytes of the row."""
        exact: Tree = None if self.exact is None else self.exact.to_tree()
        return encode(
            (
                _ROW_FORMAT,
                epoch_tree(self.epoch),
                self.number,
                self.within.to_tree(),
                self.size_bits,
                exact,
            )
        )

    @classmethod
    def decode(cls, value: bytes) -> CarveRow:
        """Read the bytes of a row; raises MalformedTree."""
        form, epoch, number, within, bits, exact = take_tuple(decode(value), "carve row", size=6)
        take_int(form, "row format", low=_ROW_FORMAT, high=_ROW_FORMAT)
        return cls(
            take_epoch(epoch, "carve epoch"),
            take_int(number, "carve number"),
            Cidr.from_tree(within),
            take_int(bits, "carve size", high=128),
            None if exact is None else Cidr.from_tree(exact),
        )
