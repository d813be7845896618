"""Floor 3: the IP-range CRDT: genesis, blocks owned outright, guardian, allocator."""

from meshcrdt.ipam.audit import audit
from meshcrdt.ipam.genesis import Genesis, check_universes, default_universes
from meshcrdt.ipam.ipam import Ipam
from meshcrdt.ipam.outcomes import (
    Allocated,
    Claimed,
    Draining,
    Exhausted,
    Frozen,
    Outcome,
    Recovering,
    Refused,
    Released,
    TimedOut,
    Unreachable,
)
from meshcrdt.ipam.outputs import Answer, Notice, Output, Publish, Store, ToPeer
from meshcrdt.ipam.policy import BlockPolicy
from meshcrdt.ipam.statistics import IpamStatistics, UniverseStatistics

__all__ = [
    "Allocated",
    "Answer",
    "BlockPolicy",
    "Claimed",
    "Draining",
    "Exhausted",
    "Frozen",
    "Genesis",
    "Ipam",
    "IpamStatistics",
    "Notice",
    "Outcome",
    "Output",
    "Publish",
    "Recovering",
    "Refused",
    "Released",
    "Store",
    "TimedOut",
    "ToPeer",
    "UniverseStatistics",
    "Unreachable",
    "audit",
    "check_universes",
    "default_universes",
]
