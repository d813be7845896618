"""This host's own addresses: what to advertise when nobody said, and where tunnels can end.

The choice is pure; only `host_addresses` asks the kernel.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from attrs import frozen

from meshcrdt.base.hosts import split_host_port
from meshcrdt.mesh.addresses import reachable

GLOBAL_SCOPE = 0
_DEPRECATED_OR_TENTATIVE = 0x20 | 0x40


@frozen
class HostAddress:
    """One address of one interface of this host."""

    address: str
    interface: str


def host_addresses() -> tuple[HostAddress, ...]:
    """Return every usable global address of this host, as the kernel tells."""
    from pyroute2 import IPRoute

    with IPRoute() as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        return tuple(
            HostAddress(entry.get_attr("IFA_ADDRESS"), names.get(entry["index"], ""))
            for entry in kernel.get_addr()
            if entry["scope"] == GLOBAL_SCOPE
            and not (entry.get_attr("IFA_FLAGS") or 0) & _DEPRECATED_OR_TENTATIVE
        )


def usable(
    found: Iterable[HostAddress], *, ranges: Sequence[str], own_bridge: str
) -> tuple[str, ...]:
    """Return the addresses that other hosts may use: none of the overlay's own."""
    networks = [ipaddress.ip_network(text) for text in ranges]
    return tuple(
        entry.address
        for entry in found
        if entry.interface != own_bridge
        and not any(ipaddress.ip_address(entry.address) in network for network in networks)
    )


def tunnel_ends(addresses: Sequence[str], trusted: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses in the order in which they suit a tunnel: trusted subnets first."""
    networks = [ipaddress.ip_network(text) for text in trusted]

    def distrust(address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return not any(parsed in network for network in networks)

    return tuple(sorted(addresses, key=distrust))


def default_advertise(listen: Sequence[str], addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs to tell others: the tcp listeners', with real addresses for wildcards."""
    urls = (each for url in listen if _tcp_port(url) for each in reachable(url, addresses))
    return tuple(dict.fromkeys(urls))


def _tcp_port(url: str) -> int:
    """Return the port of a tcp URL; 0 where it is not known yet, or for any other URL."""
    scheme, _, rest = url.partition("://")
    return split_host_port(rest, default_port=0)[1] if scheme == "tcp" else 0
