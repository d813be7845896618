"""Where others can dial this node, when nobody said: the addresses of its listeners.

A listener on one address is reached there. One on a wildcard (0.0.0.0, ::) is reached on
every global address of the host, asked from the kernel by means of the standard library
alone; loopback and link-local addresses would mislead other hosts.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IF_INET6 = Path("/proc/net/if_inet6")
_SCOPE_GLOBAL = "00"


def advertised(listening: Iterable[str]) -> tuple[str, ...]:
    """Return the URLs to advertise for the bound URLs of listeners, without repetition."""
    host = tuple(str(each) for each in (*_ipv4_addresses(), *_ipv6_addresses()))
    return tuple(dict.fromkeys(each for url in listening for each in reachable(url, host)))


def reachable(url: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the URLs at which others reach a listener on a host with these addresses.

    A wildcard stands for the addresses of its own family alone: `meshcrdt.transports.tcp`
    binds [::] to IPv6 only.
    """
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp":
        return (url,)
    try:
        bound = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return (url,)
    if not bound.is_unspecified:
        return (url,)
    own = (each for each in map(ip_address, addresses) if each.version == bound.version)
    return tuple(
        f"tcp://{each}:{port}" if each.version == 4 else f"tcp://[{each}]:{port}" for each in own
    )


def _ipv4_addresses() -> list[IPv4Address]:
    """Return the first global IPv4 address of each interface."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # this interface has no IPv4 address
            address = IPv4Address(answer[20:24])
            if not (address.is_loopback or address.is_link_local):
                found.append(address)
    return found


def _ipv6_addresses() -> list[IPv6Address]:
    """Return the global IPv6 addresses; none where the kernel has no IPv6."""
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        digits, _, _, scope, *_ = line.split()
        if scope == _SCOPE_GLOBAL:
            found.append(IPv6Address(bytes.fromhex(digits)))
    return found
