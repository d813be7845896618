"""Address ranges: half-open intervals of one family, of any size.

What allocators count and carve in, where blocks would force powers of two. `cidrs` goes
back to blocks, with as few as there can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from attrs import frozen

from meshcrdt.errors import UsageError
from meshcrdt.ranges.address import bits_of, format_address
from meshcrdt.ranges.cidr import Cidr


@frozen(order=True)
class AddressRange:
    """Addresses `start` <= a < `end` of one family, never empty; sorts by family and start.

    Raises UsageError for a bad family, an empty range, or an end beyond the family.
    """

    family: int
    start: int
    end: int

    def __attrs_post_init__(self) -> None:
        """Check the range; an AddressRange that exists is valid."""
        top = 1 << bits_of(self.family)
        if not 0 <= self.start < self.end <= top:
            raise UsageError(
                f"[{self.start}, {self.end}) is not an IPv{self.family} range: "
                f"0 <= start < end <= {top} is accepted"
            )

    @classmethod
    def of_cidr(cls, cidr: Cidr) -> Self:
        """Return the addresses of a block."""
        return cls(cidr.family, cidr.network, cidr.end)

    @property
    def size(self) -> int:
        """The number of addresses, at least 1."""
        return self.end - self.start

    @property
    def text(self) -> str:
        """FIRST-LAST, both included."""
        first = format_address(self.family, self.start)
        return f"{first}-{format_address(self.family, self.end - 1)}"

    def contains_address(self, family: int, number: int) -> bool:
        """Return True when the address is in the range."""
        return family == self.family and self.start <= number < self.end

    def contains(self, other: AddressRange) -> bool:
        """Return True when `other` lies within this range, or is it."""
        return self.family == other.family and self.start <= other.start and other.end <= self.end

    def overlaps(self, other: AddressRange) -> bool:
        """Return True when the ranges share an address."""
        return self.family == other.family and self.start < other.end and other.start < self.end

    def cidrs(self) -> Iterator[Cidr]:
        """Yield the fewest blocks that cover exactly this range, in order."""
        width = bits_of(self.family)
        start = self.start
        while start < self.end:
            aligned = (start & -start).bit_length() - 1 if start else width
            fitting = (self.end - start).bit_length() - 1
            host_bits = min(aligned, fitting)
            yield Cidr(self.family, start, width - host_bits)
            start += 1 << host_bits

    def __str__(self) -> str:
        return self.text
