"""What may be asked of a node at any time: pure reads of the state that it holds now.

Mixed into Node so that users see one object. Nothing here changes anything.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.gossip.bookmarks import Bookmark, Moved
from meshcrdt.gossip.messages import Proof
from meshcrdt.gossip.quarantine import Offence
from meshcrdt.node import schemas, views
from meshcrdt.node.barrier import Barrier
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.core import Core
from meshcrdt.node.explain import KeyStory, explain
from meshcrdt.node.lattices import Lattices, bottom_of
from meshcrdt.node.link_queues import LinkQueues
from meshcrdt.node.statistics import MemberStatus, NodeStatistics, UniverseStatus
from meshcrdt.node.workloads import Endpoint
from meshcrdt.topology.directory import Standing, UnknownPeer, canonical_address
from meshcrdt.topology.topology import PeerState, Topology
from meshcrdt.wire import content_hash

EMPTY_DIGESTS = {
    name: content_hash(()).hex() for name in (views.DIRECTORY, views.IPAM, views.NAMES)
}
"""Channels that every member holds, shown also while nobody has written to them."""


class Queries:
    """The reading half of Node."""

    config: NodeConfig
    me: PeerId
    epoch: Epoch
    limits: Limits
    core: Core | None
    topology: Topology
    given: set[str]
    draining: bool
    store_failure: str | None
    alarms: deque[str]
    lattices: Lattices
    dead_since: dict[PeerId, float]
    barrier: Barrier
    queues: LinkQueues

    @property
    def state(self) -> str:
        """ "starting" until there is a genesis, then "ready", at the end "draining"."""
        if self.draining:
            return "draining"
        return "starting" if self.core is None else "ready"

    # --- channels ------------------------------------------------------------------------

    def get(self, channel: str, key: bytes) -> bytes | None:
        """Return the value of a key of a map channel, or None."""
        return views.map_get(self.core.replica, channel, key) if self.core else None

    def items(self, channel: str) -> dict[bytes, bytes]:
        """Return every key and value of a map channel, sorted by key."""
        return dict(sorted(views.map_items(self.core.replica, channel))) if self.core else {}

    def value(self, channel: str, lattice: type[Lattice]) -> Any:
        """Return the value of a lattice channel; bottom before there is a genesis.

        What the type cannot read of others is left out, and shown in `statistics().unreadable`.
        Raises UsageError when the type has no bottom.
        """
        if self.core is None:
            return bottom_of(lattice)
        return self.lattices.read(self.core.replica, channel, lattice).value

    def freshness(self, channel: str, now: float) -> tuple[float | None, dict[PeerId, PeerState]]:
        """Return an estimate of how much of a channel may be missing here.

        That is: how many seconds ago a linked member showed equal roots (0.0 for a node that is
        alone in its cluster, None when none did), and who has written, and its state.
        """
        if self.core is None:
            return None, {}
        replica = self.core.replica
        at = now if len(self.topology.members()) <= 1 else replica.in_sync_at()
        states = {origin: self.topology.state(origin) for origin in replica.origins(channel)}
        return None if at is None else max(0.0, now - at), states

    def agreement(self, channel: str, reads: tuple[int, ...]) -> schemas.Agreement:
        """Return which schema version a writer that reads these writes now; O(members)."""
        return schemas.agreement(self, channel, reads)

    def has_spoken(self, channel: str, reads: tuple[int, ...], writes: int) -> bool:
        """Return whether a Speak with this would say nothing new; it may wait for the disk."""
        if self.core is None:
            return False
        replica = self.core.replica
        wanted = schemas.to_say(replica, channel, reads, writes)
        return wanted == schemas.own_spoken(replica, channel)

    def channels(self) -> tuple[str, ...]:
        """Return the names of the channels of which something is held here, sorted."""
        return () if self.core is None else self.core.replica.channels()

    def bookmark(self, channel: str) -> dict[PeerId, bytes]:
        """Return where a watcher stands who was told all that is held of a channel."""
        return self.core.replica.bookmark(channel) if self.core else {}

    def moved_since(self, channel: str, at: Bookmark) -> Moved:
        """Return which keys of a channel moved since a bookmark, as far as it is remembered."""
        if self.core is None:
            return Moved(frozenset(), len(at))
        return self.core.replica.moved_since(channel, at)

    def explain(self, channel: str, key: bytes) -> KeyStory:
        """Return who wrote each held record of a key, how it came here, and which one wins."""
        if self.core is None:
            return KeyStory(channel, key, None, ())
        return explain(self.core.replica, self.lattices, channel, key)

    # --- names ---------------------------------------------------------------------------

    def lookup_name(self, name: str, now: float) -> tuple[str, ...]:
        """Return the addresses of a name, without those of origins dead beyond the grace."""
        if self.core is None:
            return ()
        return self.core.names.lookup(name, hidden=lambda peer: self.hides(peer, now))

    def reverse(self, address: str, now: float) -> tuple[str, ...]:
        """Return the names that an address has, without those of long dead origins."""
        if self.core is None:
            return ()
        return self.core.names.reverse(address, hidden=lambda peer: self.hides(peer, now))

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return every name with its addresses, whoever wrote them."""
        return dict(self.core.names.entries()) if self.core else {}

    def own_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names that this node wrote, with its own addresses."""
        if self.core is None:
            return {}
        own = ((name, self.core.names.own(self.me, name)) for name, _ in self.core.names.entries())
        return {name: addresses for name, addresses in own if addresses}

    def hides(self, peer: PeerId, now: float) -> bool:
        """Return True when names of a peer are no longer answered: dead beyond the grace, or left.

        Liveness hides data, it never deletes it (finding F29).
        """
        member = self.topology.members().get(peer)
        if member is not None and member.standing is Standing.LEFT:
            return True
        since = self.dead_since.get(peer)
        return since is not None and now - since >= self.limits.names_grace_s

    # --- addresses -----------------------------------------------------------------------

    def addresses(self, workload: str) -> tuple[str, ...]:
        """Return the addresses that a workload of this node holds, with prefix lengths."""
        return self.core.ipam.lookup(workload) if self.core else ()

    def ipam_entries(self) -> dict[str, tuple[str, ...]]:
        """Return every workload of this node with its addresses."""
        return self.core.ipam.entries() if self.core else {}

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where every attached workload address of the cluster lives."""
        return self.core.endpoints.all() if self.core else ()

    # --- peers ---------------------------------------------------------------------------

    def addresses_meant(self, text: str) -> set[str]:
        """Return the dialled addresses that an address, id, prefix or name means.

        Raises UnknownPeer when nobody is meant, or somebody to whom no address leads, and
        UsageError when the text is ambiguous.
        """
        address = canonical_address(text)
        if address is not None and (address in self.given or address in self.topology.targets()):
            return {address}
        peers = self.topology.resolve(text)
        found = {address for peer in peers for address in self.topology.addresses_of(peer)}
        if not found:
            listed = ", ".join(map(str, peers))
            raise UnknownPeer(f"{text!r} means {listed}, to which no known address leads")
        return found

    def alive(self) -> tuple[PeerId, ...]:
        """Return the other members that are alive, sorted."""
        return tuple(
            peer
            for peer, record in sorted(self.topology.members().items())
            if peer != self.me
            and record.standing is not Standing.LEFT
            and self.topology.state(peer) is PeerState.ALIVE
        )

    # --- everything ----------------------------------------------------------------------

    def statistics(self) -> NodeStatistics:
        """Return a frozen snapshot for status pages and metrics."""
        core = self.core
        unreadable = tuple(map(str, self.lattices.unreadable()))
        members = tuple(
            MemberStatus(
                peer=peer,
                name=record.name,
                state=(
                    PeerState.LEFT
                    if record.standing is Standing.LEFT
                    else self.topology.state(peer)
                ),
                epoch=record.epoch,
                addresses=record.addresses,
                underlay=record.underlay,
                trusted=record.trusted,
            )
            for peer, record in sorted(self.topology.members().items())
            if peer != self.me
        )
        return NodeStatistics(
            peer=self.me,
            name=self.config.name,
            cluster=core.genesis.cluster if core else None,
            state=self.state,
            minority=self.topology.minority(),
            epoch=self.epoch,
            members=members,
            connections=self.topology.connections(),
            view=self.topology.statistics().overlay,
            universes=(
                tuple(
                    UniverseStatus(u.cidr, u.owned, u.free, u.used)
                    for u in core.ipam.statistics().universes
                )
                if core
                else ()
            ),
            names_count=core.names.statistics().names if core else 0,
            digests={**EMPTY_DIGESTS, **core.replica.digests()} if core else {},
            quarantined=tuple(map(_offence, core.replica.quarantined())) if core else (),
            alarms=(*self.alarms, *unreadable),
            unreadable=unreadable,
            equivocations=tuple(map(_equivocation, core.replica.equivocations())) if core else (),
            malformed_records=core.malformed_records if core else 0,
            turns_waiting=self.barrier.waiting,
            queues=self.queues.statistics(),
        )


def _equivocation(proof: Proof) -> str:
    header = proof.first.header
    return f"{header.origin} {header.channel!r} {header.epoch}:{header.seq}"


def _offence(offence: Offence) -> str:
    stream = offence.stream
    return f"{stream.origin} {stream.channel!r} {offence.hash.hex()[:8]}: {offence.rule}"
