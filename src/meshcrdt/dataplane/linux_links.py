"""Devices, addresses and default routes by pyroute2: what a plan's set-up operations become.

Every function acts on the network namespace that the calling thread is in.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from typing import Any, assert_never

from meshcrdt.dataplane import netlink, observe
from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.namespaces import opened
from meshcrdt.errors import MissingExtra

try:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
except ImportError as error:
    raise MissingExtra("linux", "pyroute2") from error

_NO_DUPLICATE_DETECTION = 0x02
"""IFA_F_NODAD: addresses are unique by allocation; waiting a second proves nothing."""
_NO_ADDRESSES = "1"
"""addr_gen_mode: no link-local address on a bridge's port."""


def create(route: Any, operation: op.CreateBridge | op.CreateVxlan | op.CreatePort) -> None:
    """Make a device; raises NetlinkError or DataplaneError."""
    match operation:
        case op.CreateBridge(name=name, mac=mac, mtu=mtu):
            route.link(
                "add",
                ifname=name,
                kind="bridge",
                br_stp_state=0,
                br_mcast_snooping=0,
                br_forward_delay=0,
                address=mac,
                mtu=mtu,
            )
            _refuse_advertisements(name)
            _write_setting("ipv4", name, "rp_filter", "1")
        case op.CreateVxlan(name=name):
            _create_vxlan(route, operation)
            _refuse_advertisements(name)
            _write_setting("ipv6", name, "addr_gen_mode", _NO_ADDRESSES)
        case op.CreatePort(outside=outside, namespace=namespace, inside=inside):
            with opened(namespace, operation.identity) as descriptor:
                peer = {
                    "ifname": inside,
                    "net_ns_fd": descriptor,
                    "address": operation.mac,
                    "mtu": operation.mtu,
                }
                try:
                    route.link("add", ifname=outside, kind="veth", mtu=operation.mtu, peer=peer)
                except NetlinkError as error:
                    if error.code == errno.EEXIST:
                        raise DataplaneError(
                            f"namespace {namespace} already has an interface {inside}"
                        ) from error
                    raise
            _refuse_advertisements(outside)
            _write_setting("ipv6", outside, "addr_gen_mode", _NO_ADDRESSES)
        case _:
            assert_never(operation)


def _create_vxlan(route: Any, operation: op.CreateVxlan) -> None:
    local = ip_address(operation.local)
    try:
        route.link(
            "add",
            ifname=operation.name,
            kind="vxlan",
            vxlan_id=operation.vni,
            vxlan_port=operation.port,
            vxlan_learning=False,
            mtu=operation.mtu,
            **{"vxlan_local" if local.version == 4 else "vxlan_local6": operation.local},
        )
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise DataplaneError(
                f"another VXLAN device of this host has VNI {operation.vni} on UDP port "
                f"{operation.port}"
            ) from error
        raise


def change(
    route: Any,
    operation: op.RemoveLink
    | op.QuietBridge
    | op.SetMac
    | op.SetMtu
    | op.SetMaster
    | op.GuardPort
    | op.SetUp
    | op.AddAddress
    | op.RemoveAddress,
    index: int,
) -> None:
    """Change the device with that index; raises NetlinkError or DataplaneError."""
    match operation:
        case op.RemoveLink():
            route.link("del", index=index)
        case op.QuietBridge():
            route.link("set", index=index, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        case op.SetMac(mac=mac):
            route.link("set", index=index, address=mac)
        case op.SetMtu(mtu=mtu):
            route.link("set", index=index, mtu=mtu)
        case op.SetMaster(bridge=bridge):
            route.link("set", index=index, master=device_index(route, bridge))
        case op.GuardPort():
            # Off: flooding of unknown unicast, multicast, broadcast, and learning. On:
            # answering ARP and ND from the bridge's neighbours, so that a known address
            # costs no frame on the wire (RFC 7432 section 10 calls this suppression).
            route.brport(
                "set",
                index=index,
                learning=0,
                unicast_flood=0,
                mcast_flood=0,
                bcast_flood=0,
                neigh_suppress=1,
            )
        case op.SetUp():
            route.link("set", index=index, state="up")
        case op.AddAddress(address=address):
            _address(route, "add", index, address)
        case op.RemoveAddress(address=address):
            _address(route, "del", index, address)
        case _:
            assert_never(operation)


def set_inside(operation: op.SetInside) -> None:
    """Bring the workload's end to its state; runs inside its namespace."""
    with IPRoute() as route:
        index = device_index(route, operation.inside)
        _refuse_advertisements(operation.inside)
        loopback = route.link_lookup(ifname="lo")
        if loopback:
            route.link("set", index=loopback[0], state="up")
        route.link("set", index=index, mtu=operation.mtu)
        seen = route.get_links(index)[0].get_attr("IFLA_ADDRESS")
        if seen != operation.mac:
            route.link("set", index=index, address=operation.mac)
        route.link("set", index=index, state="up")
        for gateway in operation.remove_gateways:
            _default_route(route, "del", index, gateway)
        for address in operation.remove_addresses:
            _address(route, "del", index, address)
        for address in operation.add_addresses:
            _address(route, "add", index, address)
        for gateway in operation.add_gateways:
            # Added, never replaced: a route of the workload's own would be the one to go.
            with _unless_there():
                _default_route(route, "add", index, gateway)


@contextmanager
def _unless_there() -> Iterator[None]:
    """Pass over the kernel's word that what is added is there already."""
    try:
        yield
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _address(route: Any, verb: str, index: int, text: str) -> None:
    address = ip_interface(text)
    family = netlink.address_family(str(address.ip))
    extra: dict[str, Any] = {}
    if address.version == 6 and verb == "add":
        extra["flags"] = _NO_DUPLICATE_DETECTION
    elif address.version == 4 and verb == "add" and address.network.prefixlen < 31:
        extra["broadcast"] = str(address.network.broadcast_address)
    route.addr(
        verb,
        index=index,
        address=str(address.ip),
        prefixlen=address.network.prefixlen,
        family=family,
        **extra,
    )


def _default_route(route: Any, verb: str, index: int, gateway: str) -> None:
    family = netlink.address_family(gateway)
    any_prefix = "0.0.0.0/0" if ip_address(gateway).version == 4 else "::/0"
    route.route(
        verb,
        dst=any_prefix,
        gateway=gateway,
        oif=index,
        family=family,
        proto=observe.ROUTE_PROTOCOL,
    )


def device_index(route: Any, name: str) -> int:
    """Return a device's index. Raises DataplaneError naming one that does not exist."""
    found = route.link_lookup(ifname=name)
    if not found:
        raise DataplaneError(f"device {name} does not exist")
    return int(found[0])


def _refuse_advertisements(name: str) -> None:
    """Let nobody on the overlay configure a device of ours by router advertisement."""
    _write_setting("ipv6", name, "accept_ra", "0")
    _write_setting("ipv6", name, "autoconf", "0")


def _write_setting(family: str, name: str, key: str, value: str) -> None:
    path = f"/proc/sys/net/{family}/conf/{name}/{key}"
    if os.path.exists(path):
        # Absent where the kernel has no IPv6: then there is nothing to switch off.
        write_setting(path, value)


def write_setting(path: str, value: str) -> None:
    """Write a kernel setting. Raises DataplaneError naming it."""
    try:
        with open(path, "w", encoding="ascii") as setting:
            setting.write(value)
    except OSError as error:
        raise DataplaneError(f"cannot write {value} to {path}: {error.strerror}") from error


def read_setting(path: str) -> str:
    """Return a kernel setting, "" when it cannot be read."""
    try:
        with open(path, encoding="ascii") as setting:
            return setting.read().strip()
    except OSError:
        return ""
