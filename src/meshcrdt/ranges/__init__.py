"""Floor 1: IPv4 and IPv6 addresses, blocks, ranges, range sets and the prefix trie.

An address is (family, number). Nothing here knows of ownership or replication; `ipam`
builds on it, and so may any other allocator.
"""

from meshcrdt.ranges.address import (
    IPV4,
    IPV6,
    Address,
    bits_of,
    format_address,
    parse_address,
)
from meshcrdt.ranges.cidr import Cidr, HostBits
from meshcrdt.ranges.rangeset import RangeSet
from meshcrdt.ranges.spans import AddressRange
from meshcrdt.ranges.trie import PrefixTrie, TrieStatistics

__all__ = [
    "IPV4",
    "IPV6",
    "Address",
    "AddressRange",
    "Cidr",
    "HostBits",
    "PrefixTrie",
    "RangeSet",
    "TrieStatistics",
    "bits_of",
    "format_address",
    "parse_address",
]
