"""How a node shows itself to the others: its directory record and its side of its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.gossip.outputs import Committed
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.core import member_value
from meshcrdt.node.views import ADJACENCY, DIRECTORY
from meshcrdt.node.wiring import Wiring
from meshcrdt.topology.directory import DOMAIN_ROLE, MemberRecord, Standing


class Presence:
    """What this node says about itself in the replicated state."""

    def __init__(self, config: NodeConfig, wiring: Wiring) -> None:
        self._config = config
        self._wiring = wiring
        self._edges: frozenset[PeerId] = frozenset()
        self._standing = Standing.IN

    def leave(self, epoch: Epoch, committed: Callable[[Committed, float], None]) -> None:
        """Say goodbye for the rest of this run, also where it goes on under another epoch."""
        self._standing = Standing.LEFT
        self.write_edges(())
        self.write_member(epoch, committed)

    def write_member(
        self, epoch: Epoch, committed: Callable[[Committed, float], None] | None = None
    ) -> None:
        """Stage the directory record; `committed` is called once it is durable."""
        config = self._config
        record = MemberRecord(
            peer=config.identity.peer,
            public=config.identity.public,
            name=config.name,
            addresses=config.advertise,
            epoch=epoch,
            standing=self._standing,
            trusted=config.trusted,
            underlay=config.underlay,
            roles=(DOMAIN_ROLE + config.failure_domain,) if config.failure_domain else (),
        )
        key = bytes(config.identity.peer)
        self._wiring.write_own(DIRECTORY, {key: member_value(record)}, committed)

    def write_edges(self, neighbours: Iterable[PeerId]) -> None:
        """Stage this node's side of its edges: only what changed since it said so last."""
        wanted = frozenset(neighbours if self._standing is Standing.IN else ())
        changes: dict[bytes, bytes | None] = {bytes(p): b"" for p in sorted(wanted - self._edges)}
        changes.update((bytes(p), None) for p in sorted(self._edges - wanted))
        self._edges = wanted
        if changes:
            self._wiring.write_own(ADJACENCY, changes)

    def reopened(self, neighbours: Iterable[PeerId]) -> None:
        """Say all edges again: volatile channels open empty in a new epoch."""
        self._edges = frozenset()
        self.write_edges(neighbours)
