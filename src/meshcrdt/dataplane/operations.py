"""The operations of a plan: each changes one thing and fails loudly when it cannot."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen


@frozen(kw_only=True)
class CreateBridge:
    """Make the bridge, down, with spanning tree and multicast snooping off."""

    name: str
    mac: str
    mtu: int


@frozen(kw_only=True)
class QuietBridge:
    """Turn spanning tree and multicast snooping off again."""

    name: str


@frozen(kw_only=True)
class CreateVxlan:
    """Make the VXLAN device, down, without learning and without a default destination."""

    name: str
    vni: int
    local: str
    port: int
    mtu: int


@frozen(kw_only=True)
class CreatePort:
    """Make a pair of devices, both down: one here, one inside the namespace."""

    outside: str
    namespace: str
    identity: str | None
    inside: str
    mac: str
    mtu: int


@frozen(kw_only=True)
class RemoveLink:
    """Remove a device of ours, with everything on it."""

    name: str


@frozen(kw_only=True)
class SetMac:
    """Set a device's hardware address."""

    name: str
    mac: str


@frozen(kw_only=True)
class SetMtu:
    """Set a device's MTU in bytes."""

    name: str
    mtu: int


@frozen(kw_only=True)
class SetMaster:
    """Make a device a port of the bridge."""

    name: str
    bridge: str


@frozen(kw_only=True)
class GuardPort:
    """Stop the bridge from learning on a port and flooding to it; answer ARP on its behalf."""

    name: str


@frozen(kw_only=True)
class SetUp:
    """Bring a device up."""

    name: str


@frozen(kw_only=True)
class AddAddress:
    """Put an address on a device of this host."""

    name: str
    address: str


@frozen(kw_only=True)
class RemoveAddress:
    """Take an address off a device of this host."""

    name: str
    address: str


@frozen(kw_only=True)
class SetInside:
    """Bring the workload's end of a link, and its loopback, to a state, in one visit."""

    namespace: str
    identity: str | None
    inside: str
    mac: str
    mtu: int
    add_addresses: tuple[str, ...]
    remove_addresses: tuple[str, ...]
    add_gateways: tuple[str, ...]
    remove_gateways: tuple[str, ...]


@frozen(kw_only=True)
class SetForwarding:
    """Set where the VXLAN device sends frames: (MAC, tunnel address), each one destination."""

    name: str
    entries: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class RemoveForwarding:
    """Remove destinations of the VXLAN device."""

    name: str
    entries: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class SetBridgeForwarding:
    """Tie MACs to a port of the bridge, so that nothing for them is flooded."""

    name: str
    macs: tuple[str, ...]


@frozen(kw_only=True)
class RemoveBridgeForwarding:
    """Untie MACs from a port of the bridge."""

    name: str
    macs: tuple[str, ...]


@frozen(kw_only=True)
class SetNeighbours:
    """Set permanent neighbours of a device: (address, MAC)."""

    name: str
    entries: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class RemoveNeighbours:
    """Remove permanent neighbours of a device."""

    name: str
    entries: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class AllowForwarding:
    """Let this host forward IPv4."""


@frozen(kw_only=True)
class DenyForwarding:
    """Put IPv4 forwarding of this host back to off, as it was found."""


@frozen(kw_only=True)
class SetRules:
    """Replace our nftables table, atomically; it remembers what to put back."""

    text: str
    restore_forwarding: bool


@frozen(kw_only=True)
class RemoveRules:
    """Remove our nftables table."""


Operation: TypeAlias = (
    CreateBridge
    | QuietBridge
    | CreateVxlan
    | CreatePort
    | RemoveLink
    | SetMac
    | SetMtu
    | SetMaster
    | GuardPort
    | SetUp
    | AddAddress
    | RemoveAddress
    | SetInside
    | SetForwarding
    | RemoveForwarding
    | SetBridgeForwarding
    | RemoveBridgeForwarding
    | SetNeighbours
    | RemoveNeighbours
    | AllowForwarding
    | DenyForwarding
    | SetRules
    | RemoveRules
)
