"""What a node tells about itself: frozen records, cheap enough to ask for at any time."""

from __future__ import annotations

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.node.link_queues import NO_QUEUES, QueueStatistics
from meshcrdt.topology.overlay_terms import OverlayStatistics
from meshcrdt.topology.topology import ConnectionInfo, PeerState


@frozen
class MemberStatus:
    """Another member as this node sees it; `underlay` and `trusted` are what it declared."""

    peer: PeerId
    name: str
    state: PeerState
    epoch: Epoch
    addresses: tuple[str, ...]
    underlay: tuple[str, ...]
    trusted: tuple[str, ...]


@frozen
class UniverseStatus:
    """One universe: addresses in blocks that this node owns, of them free, of them used."""

    cidr: str
    owned: int
    free: int
    used: int


@frozen
class NodeStatistics:
    """A snapshot; `state` is starting, ready or draining."""

    peer: PeerId
    name: str
    cluster: str | None
    state: str
    minority: bool
    epoch: Epoch
    members: tuple[MemberStatus, ...]
    connections: tuple[ConnectionInfo, ...]
    view: OverlayStatistics
    universes: tuple[UniverseStatus, ...]
    names_count: int
    digests: dict[str, str]
    quarantined: tuple[str, ...]
    alarms: tuple[str, ...]
    equivocations: tuple[str, ...] = ()
    """Who signed two headers for one place, and where: proofs that outlive a restart."""
    malformed_records: int = 0
    """Records of members, names and endpoints that were left out since this node started."""
    unreadable: tuple[str, ...] = ()
    """Parts of lattice values that their type could not read, as of the last reading; the
    alarms have them too.
    """
    turns_waiting: int = 0
    """Turns whose answers wait for the disk."""
    queues: QueueStatistics = NO_QUEUES
