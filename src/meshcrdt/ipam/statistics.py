"""What an IPAM machine tells about itself: frozen records, made on request."""

from __future__ import annotations

from attrs import frozen


@frozen
class UniverseStatistics:
    """One universe as this node sees it; all counts are addresses."""

    cidr: str
    owned: int
    """In own blocks."""
    free: int
    """Could be given to a workload here, now, with nobody's help."""
    used: int
    """Held by workloads here."""
    pool: int
    """Owned by nobody, as far as this replica knows."""


@frozen
class IpamStatistics:
    """The whole machine."""

    universes: tuple[UniverseStatistics, ...]
    blocks: tuple[str, ...]
    suspended: tuple[str, ...]
    """Own blocks that a newer record contradicts: nothing new is given from them."""
    allocations: int
    pending: int
    carves: int
    registers: int
    refused_records: int
    last_fault: str
    guardian: str
    is_guardian: bool
    orders_waiting: int
