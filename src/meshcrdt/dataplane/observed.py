"""What is: the part of the kernel's state that belongs to one dataplane, as values."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class BridgeSeen:
    """A device with our bridge's name; `kind` tells whether it is a bridge at all."""

    kind: str
    mac: str
    mtu: int
    is_up: bool
    is_quiet: bool
    """Spanning tree and multicast snooping are off."""
    addresses: frozenset[str] = frozenset()


@frozen(kw_only=True)
class VxlanSeen:
    """A device with our VXLAN device's name."""

    kind: str
    vni: int
    local: str | None
    port: int
    is_learning: bool
    mtu: int
    is_up: bool
    master: str | None
    is_guarded: bool
    """As a bridge port it floods nothing, learns nothing and answers ARP for known ones."""


@frozen(kw_only=True)
class InsideSeen:
    """The workload's end of a link, found in the namespace where it should be."""

    mac: str
    mtu: int
    is_up: bool
    is_loopback_up: bool
    addresses: frozenset[str] = frozenset()
    gateways: frozenset[str] = frozenset()
    """Default routes that we made."""


@frozen(kw_only=True)
class PortSeen:
    """The host's end of a workload's link."""

    master: str | None
    mtu: int
    is_up: bool
    inside: InsideSeen | None = None
    """None: its other end is not where the desired port says."""


@frozen(kw_only=True)
class Observed:
    """Everything of ours that exists now."""

    underlay_mtu: int | None = None
    bridge: BridgeSeen | None = None
    vxlan: VxlanSeen | None = None
    ports: Mapping[str, PortSeen] = {}
    forwarding: frozenset[tuple[str, str]] = frozenset()
    """The VXLAN device's own table: (MAC, tunnel address)."""
    bridge_forwarding: frozenset[str] = frozenset()
    """MACs that the bridge sends to the VXLAN port."""
    neighbours: frozenset[tuple[str, str]] = frozenset()
    """Permanent neighbours on the bridge: (address, MAC)."""
    gone: frozenset[str] = frozenset()
    """Names of desired ports (as in `ports`) whose namespace does not exist any more.

    Not paths: one path can stand for the namespace that a port was attached in, which is
    gone, and for another one that a later port is attached in.
    """
    unreadable: Mapping[str, str] = {}
    """Name of a desired port -> why its namespace exists and cannot be looked into."""
    own_defaults: Mapping[str, frozenset[int]] = {}
    """Name of a desired port -> IP versions for which its workload has an own default route."""
    rules: str | None = None
    """Our nftables table: what we rendered, "" when it is not known to be that, None = none."""
    rules_unreadable: str | None = None
    """Why our nftables table could not be looked at, or None."""
    is_forwarding: bool = False
    """The host forwards IPv4."""
    is_forwarding_v6: bool = False
    """The host forwards IPv6; we never ask it to, for it would then ignore advertisements."""
    was_forwarding: bool = True
    """False: it did not before we asked it to, and is to be put back."""
