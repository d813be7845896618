"""Addresses as (family, number): the form in which ranges and tries compute.

The only reader and writer of address text below the surfaces. Text goes in by the strict
rules of `ipaddress` (no leading zeros, no scope) and comes out as RFC 5952 says, the same
on every Python version.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TypeAlias

from meshcrdt.errors import UsageError

Address: TypeAlias = tuple[int, int]
"""(family, number): family 4 or 6, number from 0 below 2**32 or 2**128."""

IPV4 = 4
IPV6 = 6
_BITS = {IPV4: 32, IPV6: 128}
_MAPPED = 0xFFFF


def bits_of(family: int) -> int:
    """Return the address width of a family in bits; raises UsageError unless it is 4 or 6."""
    bits = _BITS.get(family)
    if bits is None:
        raise UsageError(f"{family!r} is not an address family: 4 and 6 are accepted")
    return bits


def parse_address(text: str) -> Address:
    """Read an IPv4 or IPv6 address; raises UsageError naming the text.

    A scope (`fe80::1%eth0`) is refused: it means something on one host only.
    """
    try:
        if ":" in text:
            if "%" in text:
                raise UsageError(f"{text!r} has a scope: an address without one is accepted")
            return IPV6, int(IPv6Address(text))
        return IPV4, int(IPv4Address(text))
    except AddressValueError as error:
        raise UsageError(
            f"{text!r} is not an address: IPv4 such as 10.32.0.1 "
            "or IPv6 such as fd00::1 is accepted"
        ) from error


def format_address(family: int, number: int) -> str:
    """Return the text of an address; raises UsageError when it is out of range."""
    check_number(family, number)
    if family == IPV4:
        return str(IPv4Address(number))
    if number >> 32 == _MAPPED:
        # Python 3.13 began to write mapped addresses so; older ones write plain hex.
        return f"::ffff:{IPv4Address(number & 0xFFFF_FFFF)}"
    return str(IPv6Address(number))


def check_number(family: int, number: int) -> None:
    """Raise UsageError unless `number` is an address of `family`."""
    if type(number) is not int or not 0 <= number < 1 << bits_of(family):
        raise UsageError(f"{number!r} is not an IPv{family} address number")
