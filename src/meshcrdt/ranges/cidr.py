"""CIDR blocks: a network number and a prefix length (RFC 4632, RFC 4291 section 2.3).

The unit of ownership in IPAM and the key of the prefix trie. Two blocks either nest or
are disjoint, which is what makes splitting safe to replicate.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Self

from attrs import field, frozen

from meshcrdt.base.tree import Tree, take_bytes, take_int, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ranges.address import IPV4, IPV6, bits_of, check_number, format_address, parse_address

SPLIT_PARTS_MAX = 65_536
"""Parts that one split may yield: a typing error must not fill the memory."""


class HostBits(Enum):
    """What to do with bits set beyond the prefix length, as in 10.32.0.1/12."""

    REFUSE = auto()
    CLEAR = auto()


@frozen(order=True)
class Cidr:
    """A block of 2**(width - length) addresses; sorts by family, network, then widest first.

    Raises UsageError for a bad family, a length out of range, or host bits that are set.
    """

    family: int
    network: int
    length: int = field()

    def __attrs_post_init__(self) -> None:
        """Check the block; a Cidr that exists is valid."""
        check_number(self.family, self.network)
        _check_length(self.family, self.length)
        if self.network & self._host_mask:
            clear = self.network & ~self._host_mask
            raise UsageError(
                f"{format_address(self.family, self.network)}/{self.length} has host bits set: "
                f"{format_address(self.family, clear)}/{self.length} is accepted"
            )

    @classmethod
    def parse(cls, text: str, *, host_bits: HostBits = HostBits.REFUSE) -> Self:
        """Read ADDRESS/LENGTH; raises UsageError naming the text and what is accepted."""
        address_text, slash, length_text = text.partition("/")
        plain = length_text.isascii() and length_text.isdigit() and len(length_text) <= 3
        if not slash or not plain or (length_text[0] == "0" and length_text != "0"):
            raise UsageError(
                f"{text!r} is not a CIDR block: ADDRESS/LENGTH such as 10.32.0.0/12 is accepted"
            )
        try:
            family, number = parse_address(address_text)
            length = int(length_text)
            _check_length(family, length)
            if host_bits is HostBits.CLEAR:
                number &= ~_host_mask(family, length)
            return cls(family, number, length)
        except UsageError as error:
            raise UsageError(f"{text!r} is not a CIDR block: {error}") from error

    @classmethod
    def of_address(cls, family: int, number: int, *, length: int | None = None) -> Self:
        """Return the block of `length` (one address by default) that holds an address."""
        check_number(family, number)
        if length is None:
            length = bits_of(family)
        _check_length(family, length)
        return cls(family, number & ~_host_mask(family, length), length)

    @property
    def _host_mask(self) -> int:
        return _host_mask(self.family, self.length)

    @property
    def size(self) -> int:
        """The number of addresses."""
        return self._host_mask + 1

    @property
    def end(self) -> int:
        """The first address number after the block."""
        return self.network + self.size

    @property
    def text(self) -> str:
        """ADDRESS/LENGTH in canonical form."""
        return f"{format_address(self.family, self.network)}/{self.length}"

    @property
    def parent(self) -> Self | None:
        """The block of twice the size around this one; None for the whole family."""
        if self.length == 0:
            return None
        return self.of_address(self.family, self.network, length=self.length - 1)

    @property
    def children(self) -> tuple[Self, Self] | None:
        """The lower and the upper half; None for a single address."""
        if self.length == bits_of(self.family):
            return None
        length = self.length + 1
        upper = self.network + self.size // 2
        make = type(self)
        return make(self.family, self.network, length), make(self.family, upper, length)

    def contains(self, other: Cidr) -> bool:
        """Return True when `other` lies within this block, or is it."""
        return self.length <= other.length and self.contains_address(other.family, other.network)

    def contains_address(self, family: int, number: int) -> bool:
        """Return True when the address is in the block."""
        return family == self.family and self.network == number & ~self._host_mask

    def overlaps(self, other: Cidr) -> bool:
        """Return True when the blocks share an address: one contains the other."""
        return self.contains(other) or other.contains(self)

    def split(self, length: int) -> Iterator[Self]:
        """Yield the parts of prefix length `length`, in order.

        Raises UsageError at once for a shorter length than the block's own, one beyond the
        family's width, or more than 65536 parts.
        """
        _check_length(self.family, length)
        if length < self.length:
            raise UsageError(f"{self.text} cannot be split into /{length}: it is smaller than one")
        if 1 << (length - self.length) > SPLIT_PARTS_MAX:
            raise UsageError(
                f"{self.text} has more than {SPLIT_PARTS_MAX} parts of /{length}: split it in steps"
            )
        step = 1 << (bits_of(self.family) - length)
        make = type(self)
        return (make(self.family, number, length) for number in range(self.network, self.end, step))

    def to_tree(self) -> Tree:
        """Return (network in network byte order, length); 4 or 16 bytes say the family."""
        return (self.network.to_bytes(bits_of(self.family) // 8, "big"), self.length)

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        packed_tree, length_tree = take_tuple(tree, "cidr", size=2)
        packed = take_bytes(packed_tree, "cidr network")
        family = {4: IPV4, 16: IPV6}.get(len(packed))
        if family is None:
            raise MalformedTree(f"cidr network has {len(packed)} bytes: 4 or 16 are expected")
        length = take_int(length_tree, "cidr length", high=bits_of(family))
        try:
            return cls(family, int.from_bytes(packed, "big"), length)
        except UsageError as error:
            raise MalformedTree(f"cidr: {error}") from error

    def __str__(self) -> str:
        return self.text


def _check_length(family: int, length: int) -> None:
    bits = bits_of(family)
    if type(length) is not int or not 0 <= length <= bits:
        raise UsageError(f"/{length} is not an IPv{family} prefix length: 0 to {bits} is accepted")


def _host_mask(family: int, length: int) -> int:
    return (1 << (bits_of(family) - length)) - 1
