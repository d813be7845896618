"""What may be asked of the IPAM machine at any time: pure reads of what it holds now.

Mixed into `Ipam` so that the node sees one object. Nothing here changes anything.
"""

from __future__ import annotations

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.ipam.blocks import parse_claim
from meshcrdt.ipam.engine import Engine
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.register import Register
from meshcrdt.ipam.shard import Shard
from meshcrdt.ipam.statistics import IpamStatistics
from meshcrdt.ranges import Address


class Questions:
    """The reading half of Ipam."""

    _engine: Engine
    _genesis: Genesis

    def lookup(self, workload: str) -> tuple[str, ...]:
        """Return what a workload holds, as "ADDRESS/LENGTH", IPv4 first."""
        return self._engine.holdings.lookup(workload)

    def entries(self) -> dict[str, tuple[str, ...]]:
        """Return all workloads with what they hold."""
        allocations = self._engine.holdings.allocations
        return {workload: self.lookup(workload) for workload, _ in allocations.entries()}

    def owner(self, address: str) -> PeerId | None:
        """Return the peer whose block holds an address, as far as known. Raises UsageError."""
        number, _ = parse_claim(address)
        if self._engine.holdings.space.block_of(number) is not None:
            return self._engine.me
        return self._engine.registry.owner(number)

    @property
    def me(self) -> PeerId:
        """The peer that this machine allocates for."""
        return self._engine.me

    @property
    def universes(self) -> tuple[str, ...]:
        """The universes; each text is a subnet that `allocate` takes."""
        return self._genesis.universes

    @property
    def blocks(self) -> tuple[Register, ...]:
        """The own blocks with the registers that gave them."""
        return self._engine.holdings.blocks

    @property
    def shard(self) -> Shard | None:
        """The shard that this node guards, for checkers; None elsewhere or before `ready`."""
        return None if self._engine.guardian is None else self._engine.guardian.shard

    def addresses(self) -> dict[Address, str]:
        """Return every address in use here with its workload, for checkers."""
        return self._engine.holdings.addresses()

    def statistics(self) -> IpamStatistics:
        """Return the counts."""
        space = self._engine.holdings.space
        return IpamStatistics(
            universes=self._engine.holdings.universes(),
            blocks=tuple(str(block) for block in space.blocks),
            suspended=tuple(str(b) for b in space.blocks if space.is_suspended(b)),
            allocations=len(self._engine.holdings.allocations),
            pending=len(self._engine.desk),
            carves=len(self._engine.growth.carves),
            registers=len(self._engine.registry.trie),
            refused_records=self._engine.registry.refused,
            last_fault=self._engine.registry.last_fault,
            guardian=str(self._engine.guardian_id),
            is_guardian=self._engine.guardian is not None,
            orders_waiting=0 if self._engine.guardian is None else self._engine.guardian.waiting,
        )

    def check(self) -> None:
        """Raise InternalError when an invariant of this machine is broken."""
        self._engine.holdings.check()
        if self._engine.guardian is not None:
            self._engine.guardian.check()
        self.check_moved()

    def check_moved(self) -> None:
        """The same, but what was not written since it was found sound is taken as sound."""
        self._engine.holdings.check_moved()
        if self._engine.guardian is not None:
            self._engine.guardian.check_moved()
        if self._engine.is_draining and len(self._engine.desk):
            raise InternalError("ipam: a call waits at a draining node")
