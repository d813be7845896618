"""Small arithmetic on blocks that only IPAM needs: sizes, and which addresses are never given."""

from __future__ import annotations

from meshcrdt.errors import UsageError
from meshcrdt.ranges import Address, Cidr, HostBits, bits_of, format_address, parse_address


def length_of_size(family: int, size: int) -> int:
    """Return the prefix length of a block of `size` addresses, a power of two."""
    return bits_of(family) - (size.bit_length() - 1)


def first_block(room: Cidr, size: int) -> Cidr:
    """Return the first block of at most `size` addresses, a power of two, in `room`."""
    length = length_of_size(room.family, min(size, room.size))
    return Cidr.of_address(room.family, room.network, length=length)


def last_block(room: Cidr, size: int) -> Cidr:
    """Return the last block of at most `size` addresses, a power of two, in `room`."""
    length = length_of_size(room.family, min(size, room.size))
    return Cidr.of_address(room.family, room.end - 1, length=length)


def block_around(exact: Cidr, size: int) -> Cidr:
    """Return the block of `size` addresses, a power of two, that covers an address."""
    length = length_of_size(exact.family, size)
    return Cidr.of_address(exact.family, exact.network, length=length)


def single(address: Address) -> Cidr:
    """Return the range of one address."""
    family, number = address
    return Cidr.of_address(family, number)


def usable_bounds(cidr: Cidr) -> tuple[int, int]:
    """Return (first, end) of the addresses of a subnet that workloads may have.

    The network and the broadcast address are never given; in IPv6 the first is the
    subnet-router anycast address (RFC 4291 section 2.6.1) and the last is left out for
    uniformity. A subnet of one or two addresses is all usable (RFC 3021, RFC 6164).
    """
    if cidr.size <= 2:
        return cidr.network, cidr.end
    return cidr.network + 1, cidr.end - 1


def usable_in(universe: Cidr, subnet: Cidr) -> tuple[int, int]:
    """Return (first, end) of the addresses of a subnet that are usable in its universe too."""
    (low, high), (first, end) = usable_bounds(universe), usable_bounds(subnet)
    return max(low, first), min(high, end)


def show(address: Address, subnet: Cidr) -> str:
    """Return the text "ADDRESS/LENGTH" of an address in its subnet."""
    family, number = address
    return f"{format_address(family, number)}/{subnet.length}"


def parse_claim(text: str) -> tuple[Address, Cidr | None]:
    """Read ADDRESS or ADDRESS/LENGTH; the second gives its subnet too. Raises UsageError."""
    if not isinstance(text, str):
        raise UsageError(f"an address is text, not {type(text).__name__}")
    address_text, slash, _ = text.partition("/")
    address = parse_address(address_text)
    if not slash:
        return address, None
    return address, Cidr.parse(text, host_bits=HostBits.CLEAR)
