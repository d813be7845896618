"""Which of a host's addresses others are told."""

from __future__ import annotations

from meshcrdt.daemon.underlay import HostAddress, default_advertise, tunnel_ends, usable

FOUND = (
    HostAddress("192.0.2.7", "eth0"),
    HostAddress("fd00::7", "eth0"),
    HostAddress("10.32.0.5", "meshcrdt"),
    HostAddress("10.33.0.5", "other0"),
)


def test_the_overlays_own_addresses_are_no_underlay() -> None:
    addresses = usable(FOUND, ranges=("10.32.0.0/12",), own_bridge="meshcrdt")
    assert addresses == ("192.0.2.7", "fd00::7")


def test_a_wildcard_listener_advertises_every_address_of_its_family() -> None:
    addresses = ("192.0.2.7", "fd00::7")
    assert default_advertise(("tcp://0.0.0.0:6783",), addresses) == ("tcp://192.0.2.7:6783",)
    # The listener takes IPv6 alone (IPV6_V6ONLY), so nobody reaches it over IPv4.
    assert default_advertise(("tcp://[::]:1",), addresses) == ("tcp://[fd00::7]:1",)
    assert default_advertise(("tcp://0.0.0.0:1", "tcp://[::]:1"), addresses) == (
        "tcp://192.0.2.7:1",
        "tcp://[fd00::7]:1",
    )
    assert default_advertise(("tcp://127.0.0.1:5",), addresses) == ("tcp://127.0.0.1:5",)
    assert default_advertise(("tcp://127.0.0.1:0", "unix:///x"), addresses) == ()


def test_a_tunnel_ends_in_a_trusted_subnet_when_there_is_one() -> None:
    assert tunnel_ends(("192.0.2.7", "10.0.0.1", "fd00::7"), ("10.0.0.0/8",)) == (
        "10.0.0.1",
        "192.0.2.7",
        "fd00::7",
    )
