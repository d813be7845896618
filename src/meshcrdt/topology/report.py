"""What status pages show of the topology: connections, and the counts of every part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.topology.adjacency import AdjacencyStatistics
from meshcrdt.topology.dialer import DialerStatistics
from meshcrdt.topology.links import LinkEntry, LinkStatistics
from meshcrdt.topology.liveness import LivenessStatistics
from meshcrdt.topology.overlay_terms import OverlayStatistics
from meshcrdt.topology.slots import Purpose
from meshcrdt.topology.targets import Target, likely_peer


class ConnectionState(Enum):
    """Where a connection stands; the values are those of `status --json`."""

    ESTABLISHED = "established"
    DIALLING = "dialling"
    FAILED = "failed"
    """The last dial came to nothing; it is tried again."""
    WAITING = "waiting"
    """It is dialled soon, and nothing is wrong."""


@frozen
class ConnectionInfo:
    """A live link, or an address that is dialled. `peer` is None when nobody answered yet."""

    peer: PeerId | None
    address: str
    transport: str
    state: ConnectionState
    encrypted: bool
    rtt_ms: float | None
    reason: str
    purpose: Purpose | None = None
    """What a live link is for; None while there is none."""


@frozen
class TopologyStatistics:
    """A snapshot of the counts of all parts."""

    epoch: Epoch
    members: int
    links: LinkStatistics
    dialer: DialerStatistics
    overlay: OverlayStatistics
    adjacency: AdjacencyStatistics
    liveness: LivenessStatistics


def connections(
    entries: Iterable[LinkEntry],
    targets: Iterable[Target],
    purpose_of: Callable[[PeerId], Purpose | None],
) -> tuple[ConnectionInfo, ...]:
    """Return the live links, then the targets, each sorted by address."""
    live = [
        ConnectionInfo(
            peer=entry.peer,
            address=entry.address,
            transport=entry.transport,
            state=ConnectionState.ESTABLISHED,
            encrypted=entry.encrypted,
            rtt_ms=None if entry.rtt_s is None else round(entry.rtt_s * 1000, 3),
            reason="",
            purpose=purpose_of(entry.peer),
        )
        for entry in entries
    ]
    dialled = [
        ConnectionInfo(
            peer=likely_peer(target),
            address=target.address,
            transport=target.address.partition("://")[0],
            state=_target_state(target),
            encrypted=False,
            rtt_ms=None,
            reason=target.reason,
        )
        for target in targets
    ]
    live.sort(key=lambda info: (info.address, info.peer or b""))
    dialled.sort(key=lambda info: info.address)
    return (*live, *dialled)


def _target_state(target: Target) -> ConnectionState:
    if target.reason:
        return ConnectionState.FAILED
    return ConnectionState.DIALLING if target.attempts else ConnectionState.WAITING
