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
from typing import Any, assert_never

from meshcrdt.dataplane import netlink, observe
from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError, NamespaceGone
from meshcrdt.dataplane.linux_links import (
    change,
    create,
    device_index,
    read_setting,
    set_inside,
    write_setting,
)
from meshcrdt.dataplane.model import DataplaneConfig, Desired
from meshcrdt.dataplane.namespaces import call_inside
from meshcrdt.dataplane.netlink import RouteSocket
from meshcrdt.dataplane.nft import Rules
from meshcrdt.dataplane.observed import Observed, PortSeen
from meshcrdt.dataplane.overlap import HostRoute
from meshcrdt.errors import MissingExtra

try:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
except ImportError as error:
    raise MissingExtra("linux", "pyroute2") from error

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_FORWARD_V6 = "/proc/sys/net/ipv6/conf/all/forwarding"


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
            mtu = observe.underlay_mtu(config, found, held)
        gone: set[str] = set()
        unreadable: dict[str, str] = {}
        visits: dict[str, observe.NamespaceSeen] = {}
        for name, port in wanted.items():
            try:
                visits[name] = observe.visit(port, found.get(name))
            except NamespaceGone:
                gone.add(name)
            except DataplaneError as error:
                unreadable[name] = str(error)
            except OSError as error:
                unreadable[name] = f"{port.namespace}: {_reason(error)}"
        rules, rules_unreadable = self._seen_rules()
        return Observed(
            underlay_mtu=mtu,
            bridge=observe.bridge_seen(bridge, held) if bridge else None,
            vxlan=observe.vxlan_seen(vxlan, names) if vxlan else None,
            ports={
                name: PortSeen(
                    master=names.get(link.master),
                    mtu=link.mtu,
                    is_up=link.is_up,
                    inside=visits[name].inside if name in visits else None,
                )
                for name, link in found.items()
                if name.startswith(config.outside_prefix) and link.kind == "veth"
            },
            own_defaults={name: visit.own_defaults for name, visit in visits.items()},
            forwarding=forwarding,
            bridge_forwarding=tied,
            neighbours=known,
            gone=frozenset(gone),
            unreadable=unreadable,
            rules=rules,
            rules_unreadable=rules_unreadable,
            is_forwarding=read_setting(_FORWARD) == "1",
            is_forwarding_v6=read_setting(_FORWARD_V6) == "1",
            was_forwarding=not self._rules.restore_forwarding,
        )

    def _seen_rules(self) -> tuple[str | None, str | None]:
        """Return (our rules, why they cannot be looked at)."""
        try:
            return self._rules.seen(), None
        except DataplaneError as error:
            return None, str(error)

    def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
        """Apply in order, each on its own; return one line for each that failed."""
        failures: list[str] = []
        if not operations:
            return failures
        try:
            with IPRoute() as route:
                for operation in operations:
                    self._try(route, operation, failures)
        except (NetlinkError, OSError) as error:
            failures.append(f"cannot change the kernel: {_reason(error)}")
        return failures

    def _try(self, route: Any, operation: op.Operation, failures: list[str]) -> None:
        """Apply one operation; add a line to `failures` when it cannot be."""
        try:
            self._apply(route, operation)
        except DataplaneError as error:
            failures.append(str(error))
        except (NetlinkError, OSError, ValueError, subprocess.SubprocessError) as error:
            # ValueError: a text that is no address or MAC is one entry's fault alone.
            failures.append(f"{_shown(operation)}: {_reason(error)}")

    def _apply(self, route: Any, operation: op.Operation) -> None:
        match operation:
            case op.CreateBridge() | op.CreateVxlan() | op.CreatePort():
                create(route, operation)
            case op.SetInside():
                call_inside(operation.namespace, operation.identity, lambda: set_inside(operation))
            case op.SetRules(text=text, restore_forwarding=restore):
                self._rules.replace(text, restore_forwarding=restore)
            case op.RemoveRules():
                self._rules.remove()
            case op.AllowForwarding():
                write_setting(_FORWARD, "1")
            case op.DenyForwarding():
                write_setting(_FORWARD, "0")
                self._rules.forget()
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
                change(route, operation, device_index(route, operation.name))
            case (
                op.SetForwarding()
                | op.RemoveForwarding()
                | op.SetBridgeForwarding()
                | op.RemoveBridgeForwarding()
                | op.SetNeighbours()
                | op.RemoveNeighbours()
            ):
                _apply_entries(operation, device_index(route, operation.name))
            case _:
                assert_never(operation)


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


def _shown(operation: op.Operation) -> str:
    name = getattr(operation, "name", None) or getattr(operation, "outside", None)
    where = name or getattr(operation, "namespace", None)
    return f"{type(operation).__name__} {where}" if where else type(operation).__name__


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if code == errno.EPERM:
        return "not permitted (CAP_NET_ADMIN is needed)"
    return os.strerror(code) if isinstance(code, int) else str(error)
