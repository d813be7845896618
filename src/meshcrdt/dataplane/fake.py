"""A kernel in memory, strict: what Linux would refuse, it refuses.

It proves plans without root: the order (no port before its bridge), the absence of
duplicates, and that what was planned reaches what was wanted. It ships, as all fakes do:
embedders test what they build on the Linux dataplane against it (docs: dataplane).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, TypeVar, assert_never

from attrs import define, evolve, field

from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.model import DataplaneConfig, Desired
from meshcrdt.dataplane.observed import (
    BridgeSeen,
    InsideSeen,
    Observed,
    PortSeen,
    VxlanSeen,
)
from meshcrdt.dataplane.overlap import HostRoute

T = TypeVar("T")


@define
class FakeLink:
    """A veth pair: where its inner end is, and what both ends look like."""

    namespace: str
    inside: str
    seen: PortSeen


@define
class FakeKernel:
    """State that operations change and `observe` shows; tests may damage it at will."""

    namespaces: set[str] = field(factory=set)
    """Paths of the namespaces that there are."""
    identities: dict[str, str] = field(factory=dict)
    """Path -> which namespace it stands for; without one it stands for any that is meant."""
    own_defaults: dict[str, frozenset[int]] = field(factory=dict)
    """Path of a namespace -> IP versions for which it has a default route of its own."""
    underlay_mtu: int | None = 1500
    host_routes: list[HostRoute] = field(factory=list)
    unable: str | None = None
    bridge: BridgeSeen | None = None
    vxlan: VxlanSeen | None = None
    links: dict[str, FakeLink] = field(factory=dict)
    forwarding: set[tuple[str, str]] = field(factory=set)
    bridge_forwarding: set[str] = field(factory=set)
    neighbours: set[tuple[str, str]] = field(factory=set)
    rules: str | None = None
    is_forwarding: bool = False
    is_forwarding_v6: bool = False
    was_forwarding: bool = True
    log: list[op.Operation] = field(factory=list)

    def observe(self, config: DataplaneConfig, desired: Desired) -> Observed:
        """Return the state, as the desired ports let one look into namespaces."""
        wanted = {config.outside(port.workload): port for port in desired.ports}
        ports: dict[str, PortSeen] = {}
        for name, link in self.links.items():
            port = wanted.get(name)
            is_there = (
                port is not None
                and (port.namespace, port.inside) == (link.namespace, link.inside)
                and self._stands(port.namespace, port.identity)
            )
            ports[name] = link.seen if is_there else evolve(link.seen, inside=None)
        return Observed(
            underlay_mtu=self.underlay_mtu,
            bridge=self.bridge,
            vxlan=self.vxlan,
            ports=ports,
            forwarding=frozenset(self.forwarding),
            bridge_forwarding=frozenset(self.bridge_forwarding),
            neighbours=frozenset(self.neighbours),
            gone=frozenset(
                name for name, p in wanted.items() if not self._stands(p.namespace, p.identity)
            ),
            own_defaults={
                name: self.own_defaults[p.namespace]
                for name, p in wanted.items()
                if p.namespace in self.own_defaults and self._stands(p.namespace, p.identity)
            },
            rules=self.rules,
            is_forwarding=self.is_forwarding,
            is_forwarding_v6=self.is_forwarding_v6,
            was_forwarding=self.was_forwarding,
        )

    def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
        """Apply in order; return one line for each that the kernel refuses."""
        failures = []
        for operation in operations:
            self.log.append(operation)
            try:
                self._apply(config, operation)
            except DataplaneError as error:
                failures.append(str(error))
        return failures

    def routes(self) -> Sequence[HostRoute]:
        """Return what the test set."""
        return self.host_routes

    def why_unable(self) -> str | None:
        """Return what the test set."""
        return self.unable

    def remove_namespace(self, path: str) -> None:
        """Destroy a namespace: both ends of its links go with it."""
        self.namespaces.discard(path)
        self.identities.pop(path, None)
        for name in [n for n, link in self.links.items() if link.namespace == path]:
            del self.links[name]

    def replace_namespace(self, path: str, identity: str) -> None:
        """Destroy the namespace of a path, and let the path stand for another one."""
        self.remove_namespace(path)
        self.namespaces.add(path)
        self.identities[path] = identity

    def _stands(self, path: str, identity: str | None) -> bool:
        """Return whether a path stands for the namespace that is meant."""
        now = self.identities.get(path)
        return path in self.namespaces and (now is None or identity in (None, now))

    def _apply(self, config: DataplaneConfig, operation: op.Operation) -> None:
        match operation:
            case (
                op.CreateBridge()
                | op.CreateVxlan()
                | op.CreatePort()
                | op.RemoveLink()
                | op.QuietBridge()
            ):
                self._apply_device(config, operation)
            case op.SetMac() | op.SetMtu() | op.SetMaster() | op.GuardPort() | op.SetUp():
                self._apply_setting(config, operation)
            case op.AddAddress() | op.RemoveAddress() | op.SetInside():
                self._apply_address(config, operation)
            case op.AllowForwarding() | op.DenyForwarding() | op.SetRules() | op.RemoveRules():
                self._apply_rules(operation)
            case (
                op.SetForwarding()
                | op.RemoveForwarding()
                | op.SetBridgeForwarding()
                | op.RemoveBridgeForwarding()
                | op.SetNeighbours()
                | op.RemoveNeighbours()
            ):
                self._apply_entries(config, operation)
            case _:
                assert_never(operation)

    def _apply_device(
        self,
        config: DataplaneConfig,
        operation: op.CreateBridge
        | op.CreateVxlan
        | op.CreatePort
        | op.RemoveLink
        | op.QuietBridge,
    ) -> None:
        match operation:
            case op.CreateBridge(name=name, mac=mac, mtu=mtu):
                _require(self.bridge is None, f"{name}: exists")
                self.bridge = BridgeSeen(
                    kind="bridge", mac=mac, mtu=mtu, is_up=False, is_quiet=True
                )
            case op.QuietBridge(name=name):
                self.bridge = evolve(_present(self.bridge, name), is_quiet=True)
            case op.CreateVxlan(name=name, vni=vni, local=local, port=port, mtu=mtu):
                _require(self.vxlan is None, f"{name}: exists")
                self.vxlan = VxlanSeen(
                    kind="vxlan",
                    vni=vni,
                    local=local,
                    port=port,
                    is_learning=False,
                    mtu=mtu,
                    is_up=False,
                    master=None,
                    is_guarded=False,
                )
            case op.CreatePort(outside=outside, namespace=namespace, inside=inside):
                _require(outside not in self.links, f"{outside}: exists")
                is_there = self._stands(namespace, operation.identity)
                _require(is_there, f"{namespace}: no such namespace")
                taken = {(link.namespace, link.inside) for link in self.links.values()}
                _require((namespace, inside) not in taken, f"{inside}: exists in {namespace}")
                inner = InsideSeen(
                    mac=operation.mac,
                    mtu=operation.mtu,
                    is_up=False,
                    is_loopback_up=False,
                )
                seen = PortSeen(master=None, mtu=operation.mtu, is_up=False, inside=inner)
                self.links[outside] = FakeLink(namespace, inside, seen)
            case op.RemoveLink(name=name):
                self._remove(config, name)
            case _:
                assert_never(operation)

    def _remove(self, config: DataplaneConfig, name: str) -> None:
        if name == config.bridge:
            _present(self.bridge, name)
            self.bridge = None
            self.neighbours.clear()
            self.bridge_forwarding.clear()
            if self.vxlan is not None:
                self.vxlan = evolve(self.vxlan, master=None, is_guarded=False)
            for link in self.links.values():
                link.seen = evolve(link.seen, master=None)
        elif name == config.vxlan:
            _present(self.vxlan, name)
            self.vxlan = None
            self.forwarding.clear()
            self.bridge_forwarding.clear()
        else:
            _present(self.links.pop(name, None), name)

    def _apply_setting(
        self,
        config: DataplaneConfig,
        operation: op.SetMac | op.SetMtu | op.SetMaster | op.GuardPort | op.SetUp,
    ) -> None:
        name = operation.name
        changes: dict[str, Any]
        match operation:
            case op.SetMac(mac=mac):
                changes = {"mac": mac}
            case op.SetMtu(mtu=mtu):
                changes = {"mtu": mtu}
            case op.SetMaster(bridge=bridge):
                _present(self.bridge, bridge)
                changes = {"master": bridge}
            case op.GuardPort():
                _require(_present(self.vxlan, name).master is not None, f"{name}: no port")
                changes = {"is_guarded": True}
            case op.SetUp():
                changes = {"is_up": True}
            case _:
                assert_never(operation)
        if name == config.bridge:
            self.bridge = evolve(_present(self.bridge, name), **changes)
        elif name == config.vxlan:
            self.vxlan = evolve(_present(self.vxlan, name), **changes)
        else:
            link = _present(self.links.get(name), name)
            link.seen = evolve(link.seen, **changes)

    def _apply_address(
        self,
        config: DataplaneConfig,
        operation: op.AddAddress | op.RemoveAddress | op.SetInside,
    ) -> None:
        if isinstance(operation, op.SetInside):
            self._apply_inside(operation)
            return
        seen = _present(self.bridge if operation.name == config.bridge else None, operation.name)
        is_there = operation.address in seen.addresses
        if isinstance(operation, op.AddAddress):
            _require(not is_there, f"{operation.address}: exists on {operation.name}")
            self.bridge = evolve(seen, addresses=seen.addresses | {operation.address})
        else:
            _require(is_there, f"{operation.address}: not on {operation.name}")
            self.bridge = evolve(seen, addresses=seen.addresses - {operation.address})

    def _apply_inside(self, operation: op.SetInside) -> None:
        where = (operation.namespace, operation.inside)
        is_there = self._stands(operation.namespace, operation.identity)
        _require(is_there, f"{operation.namespace}: no such namespace")
        found = [x for x in self.links.values() if (x.namespace, x.inside) == where]
        link = _present(found[0] if found else None, f"{where[1]} in {where[0]}")
        inner = _present(link.seen.inside, operation.inside)
        for address in operation.add_addresses:
            _require(address not in inner.addresses, f"{address}: exists")
        _require(set(operation.remove_addresses) <= inner.addresses, "address not there")
        _require(set(operation.remove_gateways) <= inner.gateways, "route not there")
        addresses = (inner.addresses | {*operation.add_addresses}) - {*operation.remove_addresses}
        own = self.own_defaults.get(operation.namespace, frozenset())
        for gateway in operation.add_gateways:
            _require(ip_address(gateway).version not in own, f"{gateway}: a default route exists")
        gateways = (inner.gateways | {*operation.add_gateways}) - {*operation.remove_gateways}
        inner = evolve(
            inner,
            mac=operation.mac,
            mtu=operation.mtu,
            is_up=True,
            is_loopback_up=True,
            addresses=addresses,
            gateways=gateways,
        )
        link.seen = evolve(link.seen, inside=inner)

    def _apply_rules(
        self,
        operation: op.AllowForwarding | op.DenyForwarding | op.SetRules | op.RemoveRules,
    ) -> None:
        match operation:
            case op.AllowForwarding():
                self.is_forwarding = True
            case op.DenyForwarding():
                self.is_forwarding = False
                self.was_forwarding = True
            case op.SetRules(text=text, restore_forwarding=restore):
                self.rules = text
                self.was_forwarding = not restore
            case op.RemoveRules():
                _present(self.rules, "rules")
                self.rules = None
                self.was_forwarding = True
            case _:
                assert_never(operation)

    def _apply_entries(
        self,
        config: DataplaneConfig,
        operation: op.SetForwarding
        | op.RemoveForwarding
        | op.SetBridgeForwarding
        | op.RemoveBridgeForwarding
        | op.SetNeighbours
        | op.RemoveNeighbours,
    ) -> None:
        is_bridge = operation.name == config.bridge
        _present(self.bridge if is_bridge else self.vxlan, operation.name)
        match operation:
            case op.SetForwarding(entries=entries):
                for mac, host in entries:
                    others = {entry for entry in self.forwarding if entry[0] == mac}
                    _require(len(others) <= 1, f"{mac}: several destinations")
                    self.forwarding = (self.forwarding - others) | {(mac, host)}
            case op.RemoveForwarding(entries=entries):
                _require(set(entries) <= self.forwarding, "forwarding entry not there")
                self.forwarding -= set(entries)
            case op.SetBridgeForwarding(macs=macs):
                _require(_present(self.vxlan, operation.name).master is not None, "no port")
                self.bridge_forwarding |= set(macs)
            case op.RemoveBridgeForwarding(macs=macs):
                _require(set(macs) <= self.bridge_forwarding, "bridge entry not there")
                self.bridge_forwarding -= set(macs)
            case op.SetNeighbours(entries=entries):
                names = {address for address, _ in entries}
                self.neighbours = {n for n in self.neighbours if n[0] not in names}
                self.neighbours |= set(entries)
            case op.RemoveNeighbours(entries=entries):
                _require(set(entries) <= self.neighbours, "neighbour not there")
                self.neighbours -= set(entries)
            case _:
                assert_never(operation)


def _require(condition: bool, failure: str) -> None:
    if not condition:
        raise DataplaneError(failure)


def _present(value: T | None, name: str) -> T:
    if value is None:
        raise DataplaneError(f"{name}: no such thing")
    return value
