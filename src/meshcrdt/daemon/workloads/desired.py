"""From what the mesh knows and what is attached here to what the kernel should have; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.macs import parse_mac
from meshcrdt.daemon.workloads.records import Attached, HostPresence, Remembered
from meshcrdt.dataplane.model import Desired, Endpoint, Exposure, Gateway, Port, Remote
from meshcrdt.node.statistics import MemberStatus
from meshcrdt.node.workloads import Endpoint as Published
from meshcrdt.topology.outputs import PeerState


@frozen
class Seen:
    """What the mesh knows at this moment."""

    me: PeerId
    members: tuple[MemberStatus, ...]
    endpoints: tuple[Published, ...]


def desired_state(seen: Seen, remembered: Remembered) -> Desired:
    """Return everything that should be in the kernel of this host.

    A member that left has no place any more; one that is dead keeps its entries, because
    nobody knows whether it lives behind a cut (established traffic is not ours to end).
    What a member says in texts that are no addresses is left out: no member may stop the
    dataplanes of the others.
    """
    remotes = tuple(
        Remote(
            peer=str(member.peer),
            name=member.name,
            underlay=_readable(member.underlay, ip_address),
            trusted=_readable(member.trusted, ip_network),
        )
        for member in seen.members
        if member.state is not PeerState.LEFT
    )
    present = {remote.peer for remote in remotes}
    endpoints = (
        Endpoint(address=address, mac=parse_mac(entry.mac), peer=str(entry.peer))
        for entry in seen.endpoints
        if entry.peer != seen.me and _parses(entry.mac, parse_mac)
        for address in _readable((bare(entry.address),), ip_address)
    )
    return Desired(
        ports=tuple(_port(entry) for entry in remembered.workloads if entry.addresses),
        remotes=remotes,
        endpoints=tuple(entry for entry in endpoints if entry.peer in present),
        gateway=_gateway(remembered.host),
    )


def _readable(texts: Iterable[str], parse: Callable[[str], object]) -> tuple[str, ...]:
    """Return those of another host's texts that it can have meant."""
    return tuple(text for text in texts if _parses(text, parse))


def _parses(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    # A zone names an interface of the other host, which says nothing here.
    return "%" not in text


def bare(address: str) -> str:
    """Return an address without its prefix length."""
    return address.partition("/")[0]


def bares(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return addresses without their prefix lengths."""
    return tuple(bare(address) for address in addresses)


def _port(entry: Attached) -> Port:
    return Port(
        workload=entry.id,
        namespace=entry.namespace,
        identity=entry.identity,
        addresses=entry.addresses,
        mac=entry.mac,
    )


def _gateway(host: HostPresence) -> Gateway:
    exposure = Exposure.OUTSIDE if host.is_exposed else Exposure.HOST
    return Gateway(addresses=host.addresses, exposure=exposure)
