"""Apply operations to Linux: pyroute2 for set-up, hand-packed batches for entries.

Every call blocks and acts on the network namespace that the calling thread is in, so a
daemon started in a namespace manages that one. Needs CAP_NET_ADMIN, and CAP_SYS_ADMIN to
enter workloads' namespaces.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface
from typing import Any, assert_never

from meshcrdt.dataplane import netlink, observe
from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.model import DataplaneConfig, Desired
from meshcrdt.dataplane.namespaces import call_inside, opened
from meshcrdt.dataplane.netlink import RouteSocket
from meshcrdt.dataplane.nft import Rules
from meshcrdt.dataplane.observed import Observed
from meshcrdt.dataplane.overlap import HostRoute
from meshcrdt.errors import MissingExtra

try:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
except ImportError as error:
    raise MissingExtra("linux", "pyroute2") from error

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_NO_DUPLICATE_DETECTION = 0x02
"""IFA_F_NODAD: addresses are unique by allocation; waiting a second proves nothing."""
_NO_ADDRESSES = "1"
"""addr_gen_mode: no link-local address on a bridge's port."""


class LinuxKernel:
    """The kernel under this process; see `kernel.Kernel`."""

    def __init__(self, config: DataplaneConfig) -> None:
        self._rules = Rules(config.table)

    def why_unable(self) -> str | None:
        """Try what a dataplane needs on devices that go at once; return what is missing."""
        if os.geteuid() != 0:
            return "the dataplane needs root: start as root, or with --dataplane none"
        probe = f"mcprobe{os.getpid() % 10**7}"
        try:
            with IPRoute() as route:
                for kind, details in (
                    ("bridge", {}),
                    ("vxlan", {"vxlan_id": 1, "vxlan_port": 1, "vxlan_learning": False}),
                    ("veth", {"peer": {"ifname": f"{probe}p"[:15]}}),
                ):
                    try:
                        route.link("add", ifname=probe, kind=kind, **details)
                    except NetlinkError as error:
                        return f"this kernel makes no {kind} device: {_reason(error)}"
                    route.link("del", ifname=probe)
        except (NetlinkError, OSError) as error:
            return f"this kernel cannot be set up: {_reason(error)}"
        return None

    def routes(self) -> Sequence[HostRoute]:
        """Return the routes and addresses of this host."""
        return observe.host_routes()

    def observe(self, config: DataplaneConfig, desired: Desired) -> Observed:
        """Return what exists now. Raises DataplaneError."""
        try:
            return self._observe(config, desired)
        except OSError as error:
            raise DataplaneError(f"cannot look at the kernel: {error.strerror or error}") from error

    def _observe(self, config: DataplaneConfig, desired: Desired) -> Observed:
        wanted = {config.outside(port.workload): port for port in desired.ports}
        with RouteSocket() as sock:
            found = observe.links(sock)
            names = {link.index: link.name for link in found.values()}
            held = observe.addresses(sock)
            bridge, vxlan = found.get(config.bridge), found.get(config.vxlan)
            forwarding, tied = observe.entries(sock, vxlan) if vxlan else (frozenset(), frozenset())
            known = observe.neighbours(sock, bridge.index) if bridge else frozenset()
            mtu = observe.underlay_mtu(config, sock)
        return Observed(
            underlay_mtu=mtu,
            bridge=observe.bridge_seen(bridge, held) if bridge else None,
            vxlan=observe.vxlan_seen(vxlan, names) if vxlan else None,
            ports={
                name: observe.port_seen(link, wanted.get(name), names)
                for name, link in found.items()
                if name.startswith(config.outside_prefix) and link.kind == "veth"
            },
            forwarding=forwarding,
            bridge_forwarding=tied,
            neighbours=known,
            gone=observe.gone_namespaces(desired),
            rules=self._rules.seen(),
            is_forwarding=_read(_FORWARD) == "1",
        )

    def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
        """Apply in order, each on its own; return one line for each that failed."""
        failures: list[str] = []
        if not operations:
            return failures
        with IPRoute() as route:
            for operation in operations:
                try:
                    self._apply(route, operation)
                except DataplaneError as error:
                    failures.append(str(error))
                except (NetlinkError, OSError, subprocess.SubprocessError) as error:
                    failures.append(f"{_shown(operation)}: {_reason(error)}")
        return failures

    def _apply(self, route: Any, operation: op.Operation) -> None:
        match operation:
            case op.CreateBridge() | op.CreateVxlan() | op.CreatePort():
                _create(route, operation)
            case op.SetInside():
                call_inside(operation.namespace, operation.identity, lambda: _set_inside(operation))
            case op.SetRules(text=text, restore_forwarding=restore):
                self._rules.replace(text, restore_forwarding=restore)
            case op.RemoveRules():
                self._rules.remove()
            case op.AllowForwarding():
                _write(_FORWARD, "1")
            case op.DenyForwarding():
                _write(_FORWARD, "0")
            case (
                op.RemoveLink()
                | op.QuietBridge()
                | op.SetMac()
                | op.SetMtu()
                | op.SetMaster()
                | op.GuardPort()
                | op.SetUp()
                | op.AddAddress()
                | op.RemoveAddress()
            ):
                _change(route, operation, _index(route, operation.name))
            case (
                op.SetForwarding()
                | op.RemoveForwarding()
                | op.SetBridgeForwarding()
                | op.RemoveBridgeForwarding()
                | op.SetNeighbours()
                | op.RemoveNeighbours()
            ):
                _apply_entries(operation, _index(route, operation.name))
            case _:
                assert_never(operation)


def _create(route: Any, operation: op.CreateBridge | op.CreateVxlan | op.CreatePort) -> None:
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
        case op.CreateVxlan(name=name, vni=vni, local=local, port=port, mtu=mtu):
            key = "vxlan_local" if ip_address(local).version == 4 else "vxlan_local6"
            route.link(
                "add",
                ifname=name,
                kind="vxlan",
                vxlan_id=vni,
                vxlan_port=port,
                vxlan_learning=False,
                mtu=mtu,
                **{key: local},
            )
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


def _change(
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
            route.link("set", index=index, master=_index(route, bridge))
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


def _set_inside(operation: op.SetInside) -> None:
    """Bring the workload's end to its state; runs inside its namespace."""
    with IPRoute() as route:
        index = _index(route, operation.inside)
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
            _default_route(route, "replace", index, gateway)


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


def _apply_entries(
    operation: op.SetForwarding
    | op.RemoveForwarding
    | op.SetBridgeForwarding
    | op.RemoveBridgeForwarding
    | op.SetNeighbours
    | op.RemoveNeighbours,
    index: int,
) -> None:
    is_absence_fine = False
    flags = netlink.CREATE | netlink.REPLACE
    kind = netlink.NEW_NEIGHBOUR
    match operation:
        case op.SetForwarding(entries=entries):
            bodies = [netlink.forwarding_body(index, mac, host) for mac, host in entries]
        case op.RemoveForwarding(entries=entries):
            kind, flags, is_absence_fine = netlink.DEL_NEIGHBOUR, 0, True
            bodies = [netlink.forwarding_body(index, mac, host) for mac, host in entries]
        case op.SetBridgeForwarding(macs=macs):
            bodies = [netlink.bridge_body(index, mac) for mac in macs]
        case op.RemoveBridgeForwarding(macs=macs):
            kind, flags, is_absence_fine = netlink.DEL_NEIGHBOUR, 0, True
            bodies = [netlink.bridge_body(index, mac) for mac in macs]
        case op.SetNeighbours(entries=entries):
            bodies = [netlink.neighbour_body(index, address, mac) for address, mac in entries]
        case op.RemoveNeighbours(entries=entries):
            kind, flags, is_absence_fine = netlink.DEL_NEIGHBOUR, 0, True
            bodies = [netlink.neighbour_body(index, address, mac) for address, mac in entries]
        case _:
            assert_never(operation)
    with RouteSocket() as sock:
        failed = sock.batch(kind, flags, bodies)
    codes = [c for c in failed.values() if not (is_absence_fine and netlink.is_absence(c))]
    if codes:
        raise DataplaneError(
            f"{_shown(operation)}: {len(codes)} of {len(bodies)} entries: {os.strerror(codes[0])}"
        )


def _index(route: Any, name: str) -> int:
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
        _write(path, value)


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as setting:
            setting.write(value)
    except OSError as error:
        raise DataplaneError(f"cannot write {value} to {path}: {error.strerror}") from error


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as setting:
            return setting.read().strip()
    except OSError:
        return ""


def _shown(operation: op.Operation) -> str:
    name = getattr(operation, "name", None) or getattr(operation, "outside", None)
    where = name or getattr(operation, "namespace", None)
    return f"{type(operation).__name__} {where}" if where else type(operation).__name__


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if code == errno.EPERM:
        return "not permitted (CAP_NET_ADMIN is needed)"
    return os.strerror(code) if isinstance(code, int) else str(error)
