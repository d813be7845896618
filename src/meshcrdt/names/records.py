"""The value of one record in channel "names": what one origin says about one name.

Tree: (display name, (address, ...)), addresses as the text that `ranges` writes (RFC 5952,
the same on every Python version), sorted, without duplicates; so equal meanings have equal
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from meshcrdt.base.dnsname import NAME_CHARACTERS_MAX, check_name
from meshcrdt.base.tree import Tree, take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ranges import format_address, parse_address
from meshcrdt.wire import decode, encode

ADDRESSES_PER_NAME_MAX = 256
"""Addresses that one origin may give to one name."""

_ADDRESS_CHARACTERS_MAX = 64


def normalise_address(text: str) -> str:
    """Return the canonical text of an IPv4 or IPv6 address; raises UsageError naming `text`."""
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is not an address: text such as '10.32.0.1' is accepted")
    return format_address(*parse_address(text))


def address_order(text: str) -> tuple[int, int]:
    """Sort key of a canonical address: IPv4 before IPv6, then by value."""
    return parse_address(text)


def normalise_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return canonical addresses, sorted, without duplicates; raises UsageError."""
    found = {normalise_address(address) for address in addresses}
    if len(found) > ADDRESSES_PER_NAME_MAX:
        raise UsageError(
            f"{len(found)} addresses for one name: at most {ADDRESSES_PER_NAME_MAX} are accepted"
        )
    return tuple(sorted(found, key=address_order))


@frozen
class NameRecord:
    """One origin's addresses for one name; `display` keeps the case that was given."""

    display: str
    addresses: tuple[str, ...]

    @classmethod
    def make(cls, display: str, addresses: Iterable[str]) -> NameRecord:
        """Return the record of a local write; raises UsageError naming the bad value."""
        return cls(check_name(display), normalise_addresses(addresses))

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.display, self.addresses)

    @classmethod
    def from_tree(cls, tree: Tree) -> NameRecord:
        """Read a tree from outside; raises MalformedTree also for text that is not canonical."""
        display_tree, addresses_tree = take_tuple(tree, "name record", size=2)
        display = take_str(display_tree, "display name", size_max=NAME_CHARACTERS_MAX)
        addresses = tuple(
            take_str(item, "address", size_max=_ADDRESS_CHARACTERS_MAX)
            for item in take_tuple(addresses_tree, "addresses")
        )
        try:
            record = cls.make(display, addresses)
        except UsageError as error:
            raise MalformedTree(f"name record: {error}") from None
        if record.display != display or record.addresses != addresses:
            raise MalformedTree("name record: it is not in canonical form")
        return record

    def encode(self) -> bytes:
        """Return the bytes that go into the channel."""
        return encode(self.to_tree())

    @classmethod
    def decode(cls, value: bytes) -> NameRecord:
        """Read the bytes of the channel; raises MalformedTree."""
        return cls.from_tree(decode(value))
