"""Look at the kernel: dumps parsed into the records that a plan compares."""

from __future__ import annotations

import socket
import struct
import sys
from functools import partial
from ipaddress import ip_address, ip_interface

from attrs import frozen

from meshcrdt.dataplane import netlink
from meshcrdt.dataplane.model import DataplaneConfig, Port
from meshcrdt.dataplane.namespaces import call_inside
from meshcrdt.dataplane.netlink import RouteSocket, attributes
from meshcrdt.dataplane.observed import BridgeSeen, InsideSeen, VxlanSeen
from meshcrdt.dataplane.overlap import HostRoute
from meshcrdt.dataplane.paths import local_address

ROUTE_PROTOCOL = 109
"""Marks routes as ours (rtm_protocol; values from 5 on are free for programs to take)."""

_UP = 0x1
_MAIN_TABLE = 254
_UNICAST = 1
_LINK_MAC, _LINK_NAME, _LINK_MTU, _LINK_PEER, _LINK_MASTER, _LINK_INFO = 1, 3, 4, 5, 10, 18
_INFO_KIND, _INFO_DATA, _INFO_PORT = 1, 2, 5
_BRIDGE_STP, _BRIDGE_SNOOPING = 5, 23
_VXLAN_VNI, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT, _VXLAN_LOCAL6 = 1, 4, 7, 15, 17
_PORT_LEARNING, _PORT_FLOOD, _PORT_MULTICAST, _PORT_BROADCAST, _PORT_SUPPRESS = 8, 9, 27, 30, 32
_ADDRESS, _ADDRESS_LOCAL = 1, 2
_ROUTE_PREFIX, _ROUTE_DEVICE, _ROUTE_GATEWAY, _ROUTE_TABLE = 1, 4, 5, 15


@frozen(kw_only=True)
class LinkSeen:
    """One device of a namespace."""

    index: int
    name: str
    mac: str
    mtu: int
    is_up: bool
    peer: int
    """Index of its other end, in that end's namespace; 0 when it has none."""
    master: int
    kind: str
    details: dict[int, bytes]
    port_details: dict[int, bytes]


@frozen(kw_only=True)
class RouteSeen:
    """One unicast route."""

    prefix: str
    device: int
    gateway: str | None
    protocol: int


def links(sock: RouteSocket) -> dict[str, LinkSeen]:
    """Return every device of the socket's namespace, by name."""
    body = netlink.LINK_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = (_link(payload) for _, payload in sock.dump(netlink.GET_LINK, body))
    return {link.name: link for link in found}


def _link(payload: bytes) -> LinkSeen:
    _family, _type, index, flags, _change = netlink.LINK_HEADER.unpack_from(payload)
    seen = attributes(payload[netlink.LINK_HEADER.size :])
    info = attributes(seen.get(_LINK_INFO, b""))
    return LinkSeen(
        index=index,
        name=_text(seen.get(_LINK_NAME, b"")),
        mac=seen.get(_LINK_MAC, b"").hex(":"),
        mtu=_number(seen.get(_LINK_MTU)),
        is_up=bool(flags & _UP),
        peer=_number(seen.get(_LINK_PEER)),
        master=_number(seen.get(_LINK_MASTER)),
        kind=_text(info.get(_INFO_KIND, b"")) or "device",
        details=attributes(info.get(_INFO_DATA, b"")),
        port_details=attributes(info.get(_INFO_PORT, b"")),
    )


def addresses(sock: RouteSocket) -> list[tuple[int, str]]:
    """Return (device index, address with prefix) of the socket's namespace."""
    body = netlink.ADDRESS_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = []
    for _, payload in sock.dump(netlink.GET_ADDRESS, body):
        _family, prefix, _flags, _scope, index = netlink.ADDRESS_HEADER.unpack_from(payload)
        seen = attributes(payload[netlink.ADDRESS_HEADER.size :])
        raw = seen.get(_ADDRESS_LOCAL) or seen.get(_ADDRESS)
        if raw is not None:
            found.append((index, f"{ip_address(raw)}/{prefix}"))
    return found


def routes(sock: RouteSocket) -> list[RouteSeen]:
    """Return the unicast routes of the main table, both families."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = netlink.ROUTE_HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for _, payload in sock.dump(netlink.GET_ROUTE, body):
            header = netlink.ROUTE_HEADER.unpack_from(payload)
            length, table, protocol, kind = header[1], header[4], header[5], header[7]
            seen = attributes(payload[netlink.ROUTE_HEADER.size :])
            if (_number(seen.get(_ROUTE_TABLE)) or table) != _MAIN_TABLE or kind != _UNICAST:
                continue
            raw = seen.get(_ROUTE_PREFIX, bytes(4 if family == socket.AF_INET else 16))
            gateway = seen.get(_ROUTE_GATEWAY)
            found.append(
                RouteSeen(
                    prefix=f"{ip_address(raw)}/{length}",
                    device=_number(seen.get(_ROUTE_DEVICE)),
                    gateway=str(ip_address(gateway)) if gateway else None,
                    protocol=protocol,
                )
            )
    return found


def host_routes() -> list[HostRoute]:
    """Return routes and addresses of this namespace, link-local ones left out."""
    with RouteSocket() as sock:
        names = {link.index: link.name for link in links(sock).values()}
        pairs = [(route.device, route.prefix) for route in routes(sock)] + addresses(sock)
    return [
        HostRoute(prefix=prefix, device=names.get(device, ""))
        for device, prefix in pairs
        if not ip_interface(prefix).is_link_local
    ]


def bridge_seen(link: LinkSeen, held: list[tuple[int, str]]) -> BridgeSeen:
    """Return the bridge's record from its device and the host's addresses."""
    return BridgeSeen(
        kind=link.kind,
        mac=link.mac,
        mtu=link.mtu,
        is_up=link.is_up,
        is_quiet=not _number(link.details.get(_BRIDGE_STP))
        and not _number(link.details.get(_BRIDGE_SNOOPING)),
        addresses=_on_device(link.index, held),
    )


def vxlan_seen(link: LinkSeen, names: dict[int, str]) -> VxlanSeen:
    """Return the VXLAN device's record."""
    details, port = link.details, link.port_details
    local = details.get(_VXLAN_LOCAL) or details.get(_VXLAN_LOCAL6)
    quiet = (_PORT_LEARNING, _PORT_FLOOD, _PORT_MULTICAST, _PORT_BROADCAST)
    return VxlanSeen(
        kind=link.kind,
        vni=_number(details.get(_VXLAN_VNI)),
        local=str(ip_address(local)) if local else None,
        port=int.from_bytes(details.get(_VXLAN_PORT, b""), "big"),
        is_learning=bool(_number(details.get(_VXLAN_LEARNING))),
        mtu=link.mtu,
        is_up=link.is_up,
        master=names.get(link.master),
        is_guarded=not any(_number(port.get(kind, b"\1")) for kind in quiet)
        and bool(_number(port.get(_PORT_SUPPRESS))),
    )


def underlay_mtu(
    config: DataplaneConfig, found: dict[str, LinkSeen], held: list[tuple[int, str]]
) -> int | None:
    """Return the MTU in bytes of the device that holds this host's tunnel address.

    `found` and `held` are the host's devices and addresses.
    """
    local = local_address(config)
    by_index = {link.index: link for link in found.values()}
    for index, text in held:
        if text.partition("/")[0] == local and index in by_index:
            return by_index[index].mtu
    return None


def entries(
    sock: RouteSocket, vxlan: LinkSeen
) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Return (the VXLAN device's own destinations, MACs that its bridge ties to it)."""
    body = netlink.NEIGHBOUR_HEADER.pack(socket.AF_BRIDGE, vxlan.index, 0, 0, 0)
    own: set[tuple[str, str]] = set()
    tied: set[str] = set()
    for _, payload in sock.dump(netlink.GET_NEIGHBOUR, body):
        _family, index, state, _flags, _type = netlink.NEIGHBOUR_HEADER.unpack_from(payload)
        seen = attributes(payload[netlink.NEIGHBOUR_HEADER.size :])
        mac = seen.get(netlink.NEIGHBOUR_MAC, b"").hex(":")
        host = seen.get(netlink.NEIGHBOUR_ADDRESS)
        if index != vxlan.index or not mac:
            continue
        if netlink.NEIGHBOUR_MASTER not in seen:
            if host is not None:
                own.add((mac, str(ip_address(host))))
        elif state & netlink.NO_ARP:
            tied.add(mac)
    return frozenset(own), frozenset(tied)


def neighbours(sock: RouteSocket, index: int) -> frozenset[tuple[str, str]]:
    """Return the permanent neighbours of a device: (address, MAC)."""
    body = netlink.NEIGHBOUR_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    body += netlink.attribute(netlink.NEIGHBOUR_INTERFACE, struct.pack("=I", index))
    found = set()
    for _, payload in sock.dump(netlink.GET_NEIGHBOUR, body):
        _family, device, state, _flags, _type = netlink.NEIGHBOUR_HEADER.unpack_from(payload)
        seen = attributes(payload[netlink.NEIGHBOUR_HEADER.size :])
        raw, mac = seen.get(netlink.NEIGHBOUR_ADDRESS), seen.get(netlink.NEIGHBOUR_MAC)
        if device == index and state & netlink.PERMANENT and raw and mac:
            found.add((str(ip_address(raw)), mac.hex(":")))
    return frozenset(found)


@frozen(kw_only=True)
class NamespaceSeen:
    """What one visit to a workload's namespace shows."""

    inside: InsideSeen | None
    own_defaults: frozenset[int]


def visit(port: Port, outside: LinkSeen | None) -> NamespaceSeen:
    """Look into a port's namespace; `outside` is the host's end of its link, if there is one.

    Raises NamespaceGone, or DataplaneError when it cannot be entered.
    """
    return call_inside(port.namespace, port.identity, partial(_look_around, port, outside))


def _look_around(port: Port, outside: LinkSeen | None) -> NamespaceSeen:
    with RouteSocket() as sock:
        found, held, known = links(sock), addresses(sock), routes(sock)
    link, loopback = found.get(port.inside), found.get("lo")
    is_ours = (
        link is not None
        and outside is not None
        and (link.index, link.peer) == (outside.peer, outside.index)
    )
    index = link.index if link is not None and is_ours else 0
    ours: set[str] = set()
    own: set[int] = set()
    for route in known:
        destination = ip_interface(route.prefix)
        if destination.network.prefixlen != 0:
            continue
        if route.protocol == ROUTE_PROTOCOL and route.device == index and route.gateway:
            ours.add(route.gateway)
        else:
            own.add(destination.version)
    if link is None or not is_ours:
        return NamespaceSeen(inside=None, own_defaults=frozenset(own))
    inside = InsideSeen(
        mac=link.mac,
        mtu=link.mtu,
        is_up=link.is_up,
        is_loopback_up=loopback is None or loopback.is_up,
        addresses=_on_device(link.index, held),
        gateways=frozenset(ours),
    )
    return NamespaceSeen(inside=inside, own_defaults=frozenset(own))


def _on_device(index: int, held: list[tuple[int, str]]) -> frozenset[str]:
    mine = (ip_interface(text) for device, text in held if device == index)
    return frozenset(str(address) for address in mine if not address.is_link_local)


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw or b"", sys.byteorder)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
