"""Packing and parsing of netlink, and which messages are worth looking again."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.dataplane import netlink
from meshcrdt.dataplane.watch import is_telling

HEADER = struct.Struct("=IHHII")
REACHABLE, STALE = 0x02, 0x04


def packed(kind: int, body: bytes) -> bytes:
    raw = HEADER.pack(HEADER.size + len(body), kind, 0, 7, 0) + body
    return raw + b"\0" * (-len(raw) % 4)


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=6))
def test_attributes_come_back_as_packed(found: dict[int, bytes]) -> None:
    raw = b"".join(netlink.attribute(kind, payload) for kind, payload in found.items())
    assert len(raw) % 4 == 0
    assert netlink.attributes(raw) == found


@given(st.binary(max_size=200))
def test_broken_bytes_end_the_parsing_and_raise_nothing(raw: bytes) -> None:
    assert all(0 <= kind <= 0x3FFF for kind in netlink.attributes(raw))
    for kind, _sequence, body in netlink.messages(raw):
        assert 0 <= kind <= 0xFFFF
        assert len(body) <= len(raw)
    assert is_telling(raw) in {True, False}


def test_messages_are_split() -> None:
    raw = packed(16, b"abc") + packed(3, b"")
    assert list(netlink.messages(raw)) == [(16, 7, b"abc"), (3, 7, b"")]


def test_a_forwarding_entry_names_the_devices_own_table() -> None:
    body = netlink.forwarding_body(9, "02:00:00:00:00:01", "192.0.2.1")
    family, index, state, flags, _ = struct.unpack_from("=BxxxiHBB", body)
    assert (family, index) == (socket.AF_BRIDGE, 9)
    assert state & netlink.PERMANENT
    assert flags == netlink.FLAG_SELF, "without it a bridged port's destination is dropped"
    assert netlink.attributes(body[12:]) == {
        netlink.NEIGHBOUR_MAC: bytes.fromhex("020000000001"),
        netlink.NEIGHBOUR_ADDRESS: socket.inet_aton("192.0.2.1"),
    }


def test_a_bridge_entry_is_static_and_in_the_bridges_table() -> None:
    body = netlink.bridge_body(9, "02:00:00:00:00:01")
    _, _, state, flags, _ = struct.unpack_from("=BxxxiHBB", body)
    assert (state, flags) == (netlink.NO_ARP, netlink.FLAG_MASTER)


@pytest.mark.parametrize(
    ("address", "family"), [("10.0.0.1", socket.AF_INET), ("fd00::1", socket.AF_INET6)]
)
def test_a_neighbour_is_permanent(address: str, family: int) -> None:
    body = netlink.neighbour_body(3, address, "02:00:00:00:00:01")
    assert struct.unpack_from("=BxxxiHBB", body)[:3] == (family, 3, netlink.PERMANENT)


@pytest.mark.parametrize(
    ("kind", "family", "state", "expected"),
    [
        (netlink.NEW_NEIGHBOUR, socket.AF_INET, REACHABLE, False),
        (netlink.NEW_NEIGHBOUR, socket.AF_INET, STALE, False),
        (netlink.DEL_NEIGHBOUR, socket.AF_INET, STALE, False),
        (netlink.DEL_NEIGHBOUR, socket.AF_INET, netlink.PERMANENT, True),
        (netlink.NEW_NEIGHBOUR, socket.AF_BRIDGE, REACHABLE, False),
        (netlink.DEL_NEIGHBOUR, socket.AF_BRIDGE, REACHABLE, True),
        (netlink.NEW_NEIGHBOUR, socket.AF_BRIDGE, netlink.NO_ARP, True),
    ],
)
def test_ordinary_neighbour_traffic_is_not_worth_a_look(
    kind: int, family: int, state: int, expected: bool
) -> None:
    body = netlink.NEIGHBOUR_HEADER.pack(family, 3, state, 0, 0)
    assert is_telling(packed(kind, body)) is expected


def test_links_and_addresses_are_worth_a_look() -> None:
    for kind in (netlink.NEW_LINK, netlink.DEL_ADDRESS, netlink.DEL_ROUTE):
        assert is_telling(packed(kind, b"\0" * 16))


def test_a_dump_of_this_hosts_links_finds_the_loopback() -> None:
    with netlink.RouteSocket() as sock:
        body = netlink.LINK_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        names = {
            netlink.attributes(payload[netlink.LINK_HEADER.size :])[3]
            for _, payload in sock.dump(netlink.GET_LINK, body)
        }
    assert b"lo\0" in names


def test_a_refused_batch_names_each_entry() -> None:
    # No device has this index: refused with or without rights, and every entry is named.
    bodies = [netlink.neighbour_body(2**30, f"10.0.0.{n}", "02:00:00:00:00:01") for n in range(9)]
    with netlink.RouteSocket() as sock:
        failed = sock.batch(netlink.NEW_NEIGHBOUR, netlink.CREATE | netlink.REPLACE, bodies)
    assert set(failed) == set(range(9))
    assert set(failed.values()) <= {errno.ENODEV, errno.EPERM}


def test_absence_is_told_from_refusal() -> None:
    assert netlink.is_absence(errno.ENOENT)
    assert not netlink.is_absence(errno.EPERM)
