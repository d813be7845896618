"""What should be against what is gives operations. Pure, ordered, and empty when done.

Nothing that is already right is touched: a restarted daemon finds its devices and leaves
established traffic alone. A kernel's entry is replaced in place rather than removed and
made again wherever the kernel can do that.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface

from attrs import evolve

from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.model import DataplaneConfig, Desired, Exposure, Port
from meshcrdt.dataplane.observed import InsideSeen, Observed, PortSeen, VxlanSeen
from meshcrdt.dataplane.operations import (
    AddAddress,
    AllowForwarding,
    CreateBridge,
    CreatePort,
    CreateVxlan,
    DenyForwarding,
    GuardPort,
    Operation,
    QuietBridge,
    RemoveAddress,
    RemoveBridgeForwarding,
    RemoveForwarding,
    RemoveLink,
    RemoveNeighbours,
    RemoveRules,
    SetBridgeForwarding,
    SetForwarding,
    SetInside,
    SetMac,
    SetMaster,
    SetMtu,
    SetNeighbours,
    SetRules,
    SetUp,
)
from meshcrdt.dataplane.paths import ClearPath, Paths, local_address, overhead_bytes, paths_to
from meshcrdt.dataplane.rules import rules_text

_UNDERLAY_MTU_DEFAULT = 1500


def overlay_mtu(config: DataplaneConfig, observed: Observed) -> int:
    """Return the MTU of the bridge and of every link on it, in bytes."""
    if config.mtu is not None:
        return config.mtu
    local = local_address(config)
    underlay = observed.underlay_mtu or _UNDERLAY_MTU_DEFAULT
    return underlay - overhead_bytes(local or "0.0.0.0")


def plan(
    config: DataplaneConfig, desired: Desired, observed: Observed, paths: Paths | None = None
) -> list[Operation]:
    """Return the operations that make `observed` into `desired`, in order.

    `paths` are those to the desired remotes, where somebody found them already.
    Raises DataplaneError when a device of another kind has one of our names: it is not
    ours to remove.
    """
    mtu = overlay_mtu(config, observed)
    known = paths_to(config, desired.remotes) if paths is None else paths
    operations: list[Operation] = []
    wanted = {config.outside(port.workload): port for port in desired.ports}
    operations += [RemoveLink(name=name) for name in sorted(set(observed.ports) - set(wanted))]
    operations += _bridge(config, desired, observed, mtu)
    observed = _with_vxlan_checked(config, observed)
    operations += _vxlan(config, observed, mtu)
    for name, port in sorted(wanted.items()):
        # Where one cannot look, nothing is changed: what works there goes on working.
        if name not in observed.gone and name not in observed.unreadable:
            gateways = _gateways(desired, name, port, observed)
            operations += _port(config, name, port, observed.ports.get(name), gateways, mtu)
    operations += _entries(config, desired, observed, known)
    if observed.rules_unreadable is None:
        operations += _rules(observed, desired, rules_text(config, desired, known))
    return operations


def plan_removal(config: DataplaneConfig, observed: Observed) -> list[Operation]:
    """Return the operations that leave the host as it was found."""
    operations: list[Operation] = [RemoveLink(name=name) for name in sorted(observed.ports)]
    if observed.vxlan is not None and observed.vxlan.kind == "vxlan":
        operations.append(RemoveLink(name=config.vxlan))
    if observed.bridge is not None and observed.bridge.kind == "bridge":
        operations.append(RemoveLink(name=config.bridge))
    if not observed.was_forwarding and observed.is_forwarding:
        operations.append(DenyForwarding())
    if observed.rules is not None or observed.rules_unreadable is not None:
        operations.append(RemoveRules())
    return operations


def _bridge(
    config: DataplaneConfig, desired: Desired, observed: Observed, mtu: int
) -> Iterator[Operation]:
    name, mac, seen = config.bridge, desired.bridge_mac(config), observed.bridge
    addresses = frozenset(desired.gateway.addresses)
    if seen is None:
        yield CreateBridge(name=name, mac=mac, mtu=mtu)
        yield SetUp(name=name)
        have: frozenset[str] = frozenset()
    else:
        if seen.kind != "bridge":
            raise DataplaneError(f"device {name} exists and is a {seen.kind}, not our bridge")
        if not seen.is_quiet:
            yield QuietBridge(name=name)
        if seen.mac != mac:
            yield SetMac(name=name, mac=mac)
        if seen.mtu != mtu:
            yield SetMtu(name=name, mtu=mtu)
        if not seen.is_up:
            yield SetUp(name=name)
        have = seen.addresses
    # In the order given: the first becomes the address that the host speaks from.
    for address in desired.gateway.addresses:
        if address not in have:
            yield AddAddress(name=name, address=address)
    for address in sorted(have - addresses):
        yield RemoveAddress(name=name, address=address)


def _with_vxlan_checked(config: DataplaneConfig, observed: Observed) -> Observed:
    """Return `observed` without the entries of a VXLAN device that will be made anew."""
    seen = observed.vxlan
    if seen is None or not _vxlan_fits(config, seen):
        return evolve(observed, forwarding=frozenset(), bridge_forwarding=frozenset())
    if seen.master != config.bridge:
        return evolve(observed, bridge_forwarding=frozenset())
    return observed


def _vxlan_fits(config: DataplaneConfig, seen: VxlanSeen) -> bool:
    """Return True when what cannot be changed on a living device is as it should be."""
    want = (config.vni, local_address(config), config.port, False)
    return (seen.vni, seen.local, seen.port, seen.is_learning) == want


def _vxlan(config: DataplaneConfig, observed: Observed, mtu: int) -> Iterator[Operation]:
    name, seen, local = config.vxlan, observed.vxlan, local_address(config)
    if seen is not None and seen.kind != "vxlan":
        raise DataplaneError(f"device {name} exists and is a {seen.kind}, not our VXLAN device")
    if seen is not None and (local is None or not _vxlan_fits(config, seen)):
        yield RemoveLink(name=name)
        seen = None
    if local is None:
        return
    if seen is None:
        yield CreateVxlan(name=name, vni=config.vni, local=local, port=config.port, mtu=mtu)
    if seen is None or seen.master != config.bridge:
        yield SetMaster(name=name, bridge=config.bridge)
        yield GuardPort(name=name)
    elif not seen.is_guarded:
        yield GuardPort(name=name)
    if seen is not None and seen.mtu != mtu:
        yield SetMtu(name=name, mtu=mtu)
    if seen is None or not seen.is_up:
        yield SetUp(name=name)


def _port(
    config: DataplaneConfig,
    name: str,
    port: Port,
    seen: PortSeen | None,
    gateways: frozenset[str],
    mtu: int,
) -> Iterator[Operation]:
    if seen is not None and seen.inside is None:
        yield RemoveLink(name=name)
        seen = None
    if seen is None:
        yield CreatePort(
            outside=name,
            namespace=port.namespace,
            identity=port.identity,
            inside=port.inside,
            mac=port.mac,
            mtu=mtu,
        )
    if seen is None or seen.master != config.bridge:
        yield SetMaster(name=name, bridge=config.bridge)
    if seen is not None and seen.mtu != mtu:
        yield SetMtu(name=name, mtu=mtu)
    if seen is None or not seen.is_up:
        yield SetUp(name=name)
    yield from _inside(port, seen.inside if seen is not None else None, gateways, mtu)


def _inside(
    port: Port, seen: InsideSeen | None, gateways: frozenset[str], mtu: int
) -> Iterator[Operation]:
    fresh = InsideSeen(mac=port.mac, mtu=mtu, is_up=False, is_loopback_up=False)
    have = seen or fresh
    addresses = frozenset(port.addresses)
    is_right = (have.mac, have.mtu) == (port.mac, mtu) and have.is_up and have.is_loopback_up
    if is_right and have.addresses == addresses and have.gateways == gateways:
        return
    # The kernel drops routes through an address that goes, and all of them when a device
    # is down: it is simplest to let those that stay be set again.
    yield SetInside(
        namespace=port.namespace,
        identity=port.identity,
        inside=port.inside,
        mac=port.mac,
        mtu=mtu,
        add_addresses=tuple(text for text in port.addresses if text not in have.addresses),
        remove_addresses=tuple(sorted(have.addresses - addresses)),
        add_gateways=tuple(sorted(gateways)),
        remove_gateways=tuple(sorted(have.gateways - gateways)),
    )


def _gateways(desired: Desired, name: str, port: Port, observed: Observed) -> frozenset[str]:
    """Return the default routes that we should make: none beside the workload's own."""
    if desired.gateway.exposure is not Exposure.OUTSIDE:
        return frozenset()
    own = observed.own_defaults.get(name, frozenset())
    networks = [ip_interface(text).network for text in port.addresses]
    chosen: dict[int, str] = {}
    for text in desired.gateway.addresses:
        address = ip_interface(text).ip
        if address.version == 6 and not observed.is_forwarding_v6:
            # A default route that leads nowhere is worse than none: connections would hang.
            continue
        is_on_link = any(address in network for network in networks)
        if is_on_link and address.version not in own:
            chosen.setdefault(address.version, str(address))
    return frozenset(chosen.values())


def _entries(
    config: DataplaneConfig, desired: Desired, observed: Observed, paths: Paths
) -> Iterator[Operation]:
    hosts, neighbours = _wanted_entries(config, desired, paths)
    have: dict[str, set[str]] = {}
    for mac, host in observed.forwarding:
        have.setdefault(mac, set()).add(host)
    # A single wrong destination is replaced in place; of several, the wrong ones go first.
    surplus = tuple(
        sorted(
            (mac, host)
            for mac, host in observed.forwarding
            if mac not in hosts or (hosts[mac] != host and len(have[mac]) > 1)
        )
    )
    missing = tuple(sorted((m, h) for m, h in hosts.items() if h not in have.get(m, ())))
    if surplus:
        yield RemoveForwarding(name=config.vxlan, entries=surplus)
    if missing:
        yield SetForwarding(name=config.vxlan, entries=missing)
    surplus_macs = tuple(sorted(observed.bridge_forwarding - set(hosts)))
    if surplus_macs:
        yield RemoveBridgeForwarding(name=config.vxlan, macs=surplus_macs)
    missing_macs = tuple(sorted(set(hosts) - observed.bridge_forwarding))
    if missing_macs:
        yield SetBridgeForwarding(name=config.vxlan, macs=missing_macs)
    known = frozenset(neighbours.items())
    seen = observed.neighbours if observed.bridge is not None else frozenset()
    gone = tuple(sorted((a, m) for a, m in seen if a not in neighbours))
    if gone:
        yield RemoveNeighbours(name=config.bridge, entries=gone)
    if known - seen:
        yield SetNeighbours(name=config.bridge, entries=tuple(sorted(known - seen)))


def _wanted_entries(
    config: DataplaneConfig, desired: Desired, paths: Paths
) -> tuple[dict[str, str], dict[str, str]]:
    """Return (MAC -> tunnel address, address -> MAC) of all that other hosts carry.

    An address of this host wins over a remote's claim to it, and of two remotes the one
    with the lower peer id: deterministic, so that no two runs fight.
    """
    by_peer = {remote.peer: paths[remote] for remote in desired.remotes}
    own = {str(ip_interface(text).ip) for port in desired.ports for text in port.addresses}
    own |= {str(ip_interface(text).ip) for text in desired.gateway.addresses}
    own_macs = {port.mac for port in desired.ports} | {desired.bridge_mac(config)}
    hosts: dict[str, str] = {}
    neighbours: dict[str, str] = {}
    for endpoint in sorted(desired.endpoints, key=lambda e: (e.peer, e.address, e.mac)):
        path = by_peer.get(endpoint.peer)
        is_own = endpoint.address in own or endpoint.mac in own_macs
        if is_own or endpoint.address in neighbours or not isinstance(path, ClearPath):
            continue
        if hosts.setdefault(endpoint.mac, path.host) == path.host:
            neighbours[endpoint.address] = endpoint.mac
    return hosts, neighbours


def _rules(observed: Observed, desired: Desired, text: str) -> Iterator[Operation]:
    seen = observed.rules
    restore = not observed.was_forwarding
    needs_forwarding = desired.gateway.exposure is Exposure.OUTSIDE
    if needs_forwarding and not observed.is_forwarding:
        restore = True
    elif not needs_forwarding and restore:
        if observed.is_forwarding:
            yield DenyForwarding()
        restore = False
    if text == "":
        if seen is not None:
            yield RemoveRules()
    elif seen != text or restore == observed.was_forwarding:
        # The note of what to put back is written before the change that it undoes.
        yield SetRules(text=text, restore_forwarding=restore)
    if needs_forwarding and not observed.is_forwarding:
        yield AllowForwarding()
