"""Addresses and CIDR blocks against the standard library's ipaddress."""

from __future__ import annotations

import ipaddress
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ranges import (
    IPV4,
    IPV6,
    Cidr,
    HostBits,
    bits_of,
    format_address,
    parse_address,
)
from meshcrdt.wire import decode, encode

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def oracle(cidr: Cidr) -> Network:
    made = ipaddress.IPv4Network if cidr.family == IPV4 else ipaddress.IPv6Network
    return made((cidr.network, cidr.length))


@st.composite
def cidrs(draw: st.DrawFn, length_min: int = 0) -> Cidr:
    family = draw(st.sampled_from((IPV4, IPV6)))
    bits = bits_of(family)
    # Few distinct bits, at the top, so that blocks meet.
    number = draw(st.integers(0, 15)) << (bits - 4) | draw(st.integers(0, 3))
    return Cidr.of_address(family, number, length=draw(st.integers(length_min, bits)))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_address_text_agrees_with_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert parse_address(str(address)) == (address.version, int(address))
    assert parse_address(address.exploded) == (address.version, int(address))
    assert ipaddress.ip_address(format_address(address.version, int(address))) == address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.32.0.1", "10.32.0.1"),
        ("FD00:0:0::1", "fd00::1"),
        ("::", "::"),
        ("::ffff:102:304", "::ffff:1.2.3.4"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    ],
)
def test_address_text_is_canonical(text: str, canonical: str) -> None:
    assert format_address(*parse_address(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.256", "10.0.0.01", " 10.0.0.1", "x", "::g", "1::2::3", "10.0.0.1/32",
     "fe80::1%eth0", "１.2.3.4", "10.0.0.1\n"],
)  # fmt: skip
def test_bad_address_is_refused_naming_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("family", "number"), [(4, -1), (4, 1 << 32), (6, 1 << 128), (5, 0), (4, True), (4, 1.0)]
)
def test_number_outside_its_family_is_refused(family: int, number: int) -> None:
    with pytest.raises(UsageError):
        format_address(family, number)


@given(cidrs())
def test_block_agrees_with_the_standard_library(cidr: Cidr) -> None:
    network = oracle(cidr)
    assert Cidr.parse(str(network)) == cidr
    assert ipaddress.ip_network(cidr.text) == network
    assert str(cidr) == cidr.text
    assert cidr.size == network.num_addresses
    assert cidr.end == int(network.broadcast_address) + 1
    if cidr.parent is None:
        assert cidr.length == 0
    else:
        assert oracle(cidr.parent) == network.supernet()
        assert cidr in (cidr.parent.children or ())
    if cidr.children is None:
        assert cidr.size == 1
    else:
        assert list(map(oracle, cidr.children)) == list(network.subnets())


@given(cidrs(), cidrs())
def test_relations_agree_with_the_standard_library(one: Cidr, other: Cidr) -> None:
    mine, theirs = oracle(one), oracle(other)
    same_family = one.family == other.family
    assert one.overlaps(other) == (same_family and mine.overlaps(theirs))  # type: ignore[arg-type]
    assert one.contains(other) == (
        same_family and theirs.subnet_of(mine)  # type: ignore[arg-type]
    )
    assert one.contains_address(other.family, other.network) == (
        same_family and theirs.network_address in mine
    )
    if same_family:
        assert (one < other) == ((int(mine.network_address), mine.prefixlen)
                                 < (int(theirs.network_address), theirs.prefixlen))  # fmt: skip
    else:
        assert (one < other) == (one.family == IPV4)


@given(cidrs(), st.integers(0, 6))
def test_split_agrees_with_the_standard_library(cidr: Cidr, further: int) -> None:
    length = min(cidr.length + further, bits_of(cidr.family))
    assert list(map(oracle, cidr.split(length))) == list(oracle(cidr).subnets(new_prefix=length))


def test_split_refuses_at_the_call() -> None:
    block = Cidr.parse("10.32.0.0/12")
    with pytest.raises(UsageError, match="smaller than one"):
        block.split(11)
    with pytest.raises(UsageError, match="not an IPv4 prefix length"):
        block.split(33)
    with pytest.raises(UsageError, match="more than 65536 parts"):
        block.split(29)
    assert len(list(islice(block.split(28), 70_000))) == 65_536


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "fd00::/129",
     "10.0.0.0/255.0.0.0", "10.0.0.0/8/8", "10.0.0/8", "10.0.0.0/ 8", "10.0.0.0/٨", "10.1.0.0/8",
     "10.0.0.0/0008"],
)  # fmt: skip
def test_bad_block_is_refused_naming_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Cidr.parse(text)
    assert repr(text) in str(caught.value)


def test_host_bits_are_refused_unless_asked() -> None:
    with pytest.raises(UsageError, match=r"host bits set: 10\.32\.0\.0/12 is accepted"):
        Cidr.parse("10.32.0.1/12")
    assert Cidr.parse("10.32.0.1/12", host_bits=HostBits.CLEAR).text == "10.32.0.0/12"
    with pytest.raises(UsageError, match="host bits"):
        Cidr(IPV4, 1, 31)


@given(cidrs())
def test_tree_survives_the_wire(cidr: Cidr) -> None:
    assert Cidr.from_tree(decode(encode(cidr.to_tree()))) == cidr


@pytest.mark.parametrize(
    "tree",
    [None, (b"\n\0\0\0",), (b"\n\0\0\0", 33), (b"\n\0\0\1", 8), (b"\n\0\0", 8),
     (b"\n\0\0\0", True), (b"\0" * 16, 129), ("10.0.0.0", 8), (b"\n\0\0\0", -1)],
)  # fmt: skip
def test_malformed_tree_is_refused(tree: object) -> None:
    with pytest.raises(MalformedTree):
        Cidr.from_tree(tree)  # type: ignore[arg-type]


def test_one_address_is_a_block() -> None:
    assert Cidr.of_address(*parse_address("10.0.0.1")).text == "10.0.0.1/32"
    assert Cidr.of_address(*parse_address("fd00::1")).text == "fd00::1/128"
