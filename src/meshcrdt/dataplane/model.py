"""The records of the dataplane: configuration, what should be, what was asked for.

All are frozen values with canonical text for addresses, so that comparing what should be
with what is (`observed.py`) is comparing values.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from attrs import field, frozen

from meshcrdt.base.macs import parse_mac
from meshcrdt.dataplane.mac import mac_from_seed, mac_of
from meshcrdt.errors import UsageError

VXLAN_PORT = 6784
INTERFACE_NAME_MAX = 15
INSIDE_NAME = "ethmc0"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_VNI_MAX = (1 << 24) - 1
_MTU_MIN = 576
_MTU_MAX = 65_535


class Exposure(enum.Enum):
    """How far the overlay is opened on this host."""

    HOST = "host"
    """Workloads and their host reach each other."""
    OUTSIDE = "outside"
    """Also: workloads reach what the host reaches, behind the host's address."""


def interface_name(name: str) -> str:
    """Return `name` when Linux takes it as an interface's name; raises UsageError naming it."""
    if not _NAME.fullmatch(name) or len(name) > INTERFACE_NAME_MAX:
        raise UsageError(
            f"{name!r} is not an interface name: 1 to {INTERFACE_NAME_MAX} letters, digits "
            "or any of _.+- are accepted"
        )
    return name


def _addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """Return addresses in canonical text; raises UsageError naming the first bad one."""
    return tuple(_parsed(text, ip_address, "an IP address") for text in texts)


def _address(text: str) -> str:
    return _parsed(text, ip_address, "an IP address")


def _interfaces(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_parsed(text, ip_interface, "an address with its prefix") for text in texts)


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_parsed(text, _strict_network, "a CIDR range") for text in texts)


def _strict_network(text: str) -> object:
    return ip_network(text, strict=True)


def _parsed(text: str, parse: Callable[[str], object], what: str) -> str:
    try:
        return str(parse(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is not {what}: {error}") from None


def _mtu(value: int | None) -> int | None:
    if value is not None and not _MTU_MIN <= value <= _MTU_MAX:
        raise UsageError(f"mtu {value} is out of range: {_MTU_MIN} to {_MTU_MAX} is accepted")
    return value


def _vni(value: int) -> int:
    if not 1 <= value <= _VNI_MAX:
        raise UsageError(f"vni {value} is out of range: 1 to {_VNI_MAX} is accepted")
    return value


@frozen(kw_only=True)
class DataplaneConfig:
    """What stays the same while a daemon runs.

    Two daemons on one host need different bridges (every other name derives from it) and,
    with one UDP port, different `vni`s. All hosts of a cluster share `vni` and `port`.
    """

    universes: tuple[str, ...] = field(converter=_networks)
    vni: int = field(converter=_vni)
    bridge: str = field(default="meshcrdt", converter=interface_name)
    port: int = VXLAN_PORT
    mtu: int | None = field(default=None, converter=_mtu)
    """The overlay's MTU in bytes; None = the underlay device's minus the tunnel's overhead."""
    trusted: tuple[str, ...] = field(default=(), converter=_networks)
    """Subnets over which this host lets workload traffic travel in the clear."""
    underlay: tuple[str, ...] = field(default=(), converter=_addresses)
    """This host's own addresses that can be a tunnel's end, best first."""

    @property
    def tag(self) -> str:
        """Four hex digits of the bridge's name, in every other name that we make."""
        return hashlib.blake2b(self.bridge.encode(), digest_size=2).hexdigest()

    @property
    def vxlan(self) -> str:
        """The name of the VXLAN device."""
        return f"{self.bridge[:8]}-vx{self.tag}"

    @property
    def outside_prefix(self) -> str:
        """What the host's ends of our workload links start with."""
        return f"mc{self.tag}"

    @property
    def table(self) -> str:
        """The name of our nftables table."""
        return "meshcrdt_" + re.sub(r"[^A-Za-z0-9]", "_", self.bridge) + f"_{self.tag}"

    def outside(self, workload: str) -> str:
        """Return the name of the host's end of a workload's link; the same on every run."""
        return (
            self.outside_prefix + hashlib.blake2b(workload.encode(), digest_size=5).hexdigest()[:9]
        )


@frozen(kw_only=True)
class Endpoint:
    """An overlay address that another host carries (a workload's, or that host's own)."""

    address: str = field(converter=_address)
    mac: str = field(converter=parse_mac)
    peer: str
    """The peer whose host carries it; its tunnel address follows from `Remote`."""


@frozen(kw_only=True)
class Remote:
    """Another host, as its directory record tells."""

    peer: str
    name: str = ""
    underlay: tuple[str, ...] = field(default=(), converter=_addresses)
    trusted: tuple[str, ...] = field(default=(), converter=_networks)

    @property
    def shown(self) -> str:
        """How people know it."""
        return self.name or self.peer


@frozen(kw_only=True)
class Port:
    """One workload's link: into which namespace, with which addresses."""

    workload: str
    namespace: str
    """Path of the network namespace, such as /run/netns/w1 or /proc/4711/ns/net."""
    identity: str | None = None
    """What the path stood for when it was attached (`namespaces.resolve_target`)."""
    inside: str = field(default=INSIDE_NAME, converter=interface_name)
    addresses: tuple[str, ...] = field(default=(), converter=_interfaces)
    mac: str = field(converter=parse_mac)

    @mac.default
    def _derived(self) -> str:
        if not self.addresses:
            raise UsageError(f"workload {self.workload!r} has no address")
        return mac_of(self.addresses[0])


@frozen(kw_only=True)
class Gateway:
    """This host's own presence in the overlay: addresses of the bridge."""

    addresses: tuple[str, ...] = field(default=(), converter=_interfaces)
    exposure: Exposure = Exposure.HOST


@frozen(kw_only=True)
class Desired:
    """Everything that should be. Hand in the whole of it each time; omission removes."""

    ports: tuple[Port, ...] = ()
    remotes: tuple[Remote, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    gateway: Gateway = Gateway()

    def bridge_mac(self, config: DataplaneConfig) -> str:
        """Return the bridge's MAC: fixed, because one that follows the ports would flap."""
        if self.gateway.addresses:
            return mac_of(self.gateway.addresses[0])
        return mac_from_seed("/".join(("bridge", config.bridge, *config.underlay)).encode())


@frozen(kw_only=True)
class Report:
    """What came of one attempt to make it so."""

    paths: Mapping[str, str | None]
    """Each remote peer: None when there is a path, else one line that says why not."""
    gone: tuple[str, ...] = ()
    """Workloads whose namespace no longer exists: release them."""
    errors: tuple[str, ...] = ()
    blocked: str | None = None
    """Why nothing at all could be looked at or changed (one of the errors), or None."""
    mtu: int = 0
    """The overlay's MTU in bytes."""


@frozen(kw_only=True)
class Statistics:
    """What a dataplane did since it was opened; counters."""

    looks: int = 0
    operations: int = 0
    failures: int = 0
    """Operations that the kernel refused."""
