"""Since when each member is here, or gone: what the care of the cluster is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.guardians import Guardian
from meshcrdt.node import council
from meshcrdt.topology.directory import MemberRecord, Standing
from meshcrdt.topology.outputs import PeerState

if TYPE_CHECKING:
    from meshcrdt.node.node import Node

Members: TypeAlias = Mapping[PeerId, MemberRecord]


class Attendance:
    """What one node saw of the members, in seconds of its clock; `watch` is called now and then.

    Whoever changes the directory or a state says so by `moved`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._alive_since: dict[PeerId, float] = {}
        self._gone_since: dict[PeerId, float] = {}
        self._moved: set[PeerId] | None = None
        """Whose state or record changed since `watch`; None before the first one."""

    def moved(self, peer: PeerId) -> None:
        """Note that the state of a peer changed, or what the directory says of it."""
        if self._moved is not None:
            self._moved.add(peer)

    def watch(self, members: Members, now: float) -> None:
        """Note who is alive, and who is gone: O(those that moved)."""
        moved, self._moved = members.keys() if self._moved is None else self._moved, set()
        for peer in moved:
            record = members.get(peer)
            if record is None:
                self._alive_since.pop(peer, None)
                self._gone_since.pop(peer, None)
                continue
            state = self._node.topology.state(peer)
            if state is PeerState.ALIVE:
                self._alive_since.setdefault(peer, now)
                self._gone_since.pop(peer, None)
            elif state is not PeerState.SUSPECT or record.standing is Standing.LEFT:
                self._gone_since.setdefault(peer, now)
                self._alive_since.pop(peer, None)

    def alive_of(self, peers: frozenset[PeerId]) -> frozenset[PeerId]:
        """Return which of some peers are alive."""
        return frozenset(peer for peer in peers if peer in self._alive_since)

    def gone_s(self, peer: PeerId, now: float) -> float:
        """Return for how long a peer is gone; zero while it is not."""
        return now - self._gone_since.get(peer, now)

    def all_are_here(self, members: Members) -> bool:
        """Return whether no member is away that may hold more of the departed than this node."""
        return all(
            peer in self._alive_since
            for peer, record in members.items()
            if record.standing is Standing.IN and peer != self._node.me
        )

    def candidates(self, members: Members, now: float) -> dict[PeerId, council.Candidate]:
        """Return who has been alive for long enough to become a guardian."""
        found: dict[PeerId, council.Candidate] = {}
        for peer, record in members.items():
            since = self._alive_since.get(peer)
            if since is not None and now - since >= council.STAY_S and record.store:
                guardian = Guardian(record.public, record.store)
                found[peer] = council.Candidate(guardian, record.failure_domain or str(peer))
        return found

    def lost(self, guardians: frozenset[PeerId], members: Members, now: float) -> frozenset[PeerId]:
        """Return which guardians are to be replaced."""
        return frozenset(
            peer
            for peer in guardians
            if peer not in members
            or members[peer].standing is Standing.LEFT
            or self.gone_s(peer, now) >= council.GUARDIAN_LOST_S
        )
