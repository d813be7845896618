"""What can be asked of the topology of one node at any time; asking changes nothing.

The base of `Topology`, apart from it so that the machine stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.topology.detector import Detector
from meshcrdt.topology.dialer import Dialer
from meshcrdt.topology.directory import MemberRecord, Standing, resolve_peer
from meshcrdt.topology.links import Links
from meshcrdt.topology.outputs import PeerState
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.report import ConnectionInfo, TopologyStatistics, connections


class Reading:
    """The questions that `Topology` answers from its parts."""

    _me: PeerId
    _epoch: Epoch
    _members: dict[PeerId, MemberRecord]
    _links: Links
    _dialer: Dialer
    _overlay: Overlay
    _detector: Detector
    _neighbours: frozenset[PeerId]
    _active: frozenset[PeerId]

    def members(self) -> Mapping[PeerId, MemberRecord]:
        """Return the directory, this node and those that left included; a read-only view."""
        return MappingProxyType(self._members)

    def state(self, peer: PeerId) -> PeerState:
        """Return the state of a peer; nobody has heard of an unknown one, so it is dead."""
        if peer == self._me:
            return PeerState.LEFT if self._has_left() else PeerState.ALIVE
        return self._detector.liveness.state(peer) or PeerState.DEAD

    def reason(self, peer: PeerId) -> str:
        """Return one line that says why a peer is in its state."""
        return self._detector.reason(peer)

    def next_hop(self, dest: PeerId) -> PeerId | None:
        """Return the linked peer on a shortest way to `dest`: itself when it is linked."""
        return self._detector.routes.next_hop(dest)

    def neighbours(self) -> frozenset[PeerId]:
        """Return the peers with a live link."""
        return self._neighbours

    def link_to(self, peer: PeerId) -> int | None:
        """Return the link that speaks for a peer, or None."""
        return self._links.link_to(peer)

    def adjacent(self, one: PeerId, other: PeerId) -> bool:
        """Return True when both advertise a link with each other."""
        return self._detector.graph.adjacent(one, other)

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """Return the live links, then the addresses that are dialled, each sorted by address."""
        targets = () if self._has_left() else self._dialer.wanted()
        return connections(self._links.entries(), targets, self._overlay.purpose)

    def active(self) -> frozenset[PeerId]:
        """Return the linked peers that are neighbours for good: what this node says of itself."""
        return self._active

    def targets(self) -> frozenset[str]:
        """Return all addresses known to dial: configured, or named by the directory."""
        return self._dialer.known()

    def configured(self) -> tuple[str, ...]:
        """Return the configured addresses, sorted."""
        return self._dialer.configured()

    def addresses_of(self, peer: PeerId) -> frozenset[str]:
        """Return the addresses known to lead to a peer."""
        return self._dialer.addresses_of(peer)

    def minority(self) -> bool:
        """Return True while half or fewer of the last majority are alive. Gates nothing."""
        return self._detector.majority.minority

    def baseline(self) -> frozenset[PeerId]:
        """Return the members that `minority` counts against; worth keeping over a restart."""
        return self._detector.majority.baseline()

    def resolve(self, text: str) -> tuple[PeerId, ...]:
        """Return who is meant by an id, a prefix of 6 or more digits, a name or an address.

        One peer, or for an address all that are behind it. Raises UsageError naming the text:
        UnknownPeer when nobody is meant.
        """
        return resolve_peer(
            text,
            members=self._members,
            others=self._detector.liveness.known(),
            leads_to=self._dialer.leads_to,
        )

    def statistics(self) -> TopologyStatistics:
        """Return the current counts of all parts."""
        return TopologyStatistics(
            epoch=self._epoch,
            members=len(self._members),
            links=self._links.statistics(),
            dialer=self._dialer.statistics(),
            overlay=self._overlay.statistics(),
            adjacency=self._detector.graph.statistics(),
            liveness=self._detector.liveness.statistics(),
        )

    def _has_left(self) -> bool:
        own = self._members.get(self._me)
        return own is not None and own.standing is Standing.LEFT and own.epoch >= self._epoch
