"""meshcrdt: a control plane for networks without a central store.

Gossip, topology and IP-range CRDTs behind a sans-IO core, with trio transports that plug
in. The whole story of embedding is `open_mesh`; the pure core is `meshcrdt.node.node.Node`
(`effects = node.handle(event, now)`); the values are the lattices below.

Importing this module imports no third-party package: names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshcrdt.base.ids import Dot, Epoch, PeerId
    from meshcrdt.base.limits import Limits
    from meshcrdt.crdt.bounded import BoundedCounter
    from meshcrdt.crdt.clset import CausalLengthSet
    from meshcrdt.crdt.context import Context
    from meshcrdt.crdt.flags import DisableWinsFlag, EnableWinsFlag
    from meshcrdt.crdt.gcounter import GCounter
    from meshcrdt.crdt.gset import GSet
    from meshcrdt.crdt.lww import LWWRegister
    from meshcrdt.crdt.mvreg import MVRegister
    from meshcrdt.crdt.origin_map import OriginMap
    from meshcrdt.crdt.ormap import ORMap
    from meshcrdt.crdt.orset import ORSet
    from meshcrdt.crdt.pncounter import PNCounter
    from meshcrdt.crdt.rwset import RemoveWinsSet
    from meshcrdt.errors import (
        Declined,
        InMinority,
        MeshError,
        NoMajority,
        NotFresh,
        NotReached,
        NotReady,
        UsageError,
    )
    from meshcrdt.ipam.outcomes import (
        Allocated,
        Claimed,
        Draining,
        Exhausted,
        Frozen,
        Recovering,
        Refused,
        Released,
        TimedOut,
        Unreachable,
    )
    from meshcrdt.mesh.birth import Security
    from meshcrdt.mesh.freshness import Freshness, Minority
    from meshcrdt.mesh.mesh import Mesh
    from meshcrdt.mesh.open import open_mesh
    from meshcrdt.mesh.receipt import Receipt
    from meshcrdt.mesh.recorder import TraceRecorder
    from meshcrdt.mesh.schema import Schema
    from meshcrdt.mesh.watch import ABSENT, Change, Lost, Snapshot
    from meshcrdt.node.events import Durability, Force, Targets
    from meshcrdt.node.node import Node
    from meshcrdt.node.schemas import Agreement
    from meshcrdt.ranges.cidr import Cidr
    from meshcrdt.ranges.rangeset import RangeSet
    from meshcrdt.topology.dialer import Discovery
    from meshcrdt.topology.heartbeats import Detection

__version__ = "0.1.0"

_HOMES = {
    "ABSENT": "mesh.watch",
    "Agreement": "node.schemas",
    "Allocated": "ipam.outcomes",
    "BoundedCounter": "crdt.bounded",
    "CausalLengthSet": "crdt.clset",
    "Change": "mesh.watch",
    "Cidr": "ranges.cidr",
    "Claimed": "ipam.outcomes",
    "Context": "crdt.context",
    "Declined": "errors",
    "DisableWinsFlag": "crdt.flags",
    "Detection": "topology.heartbeats",
    "Discovery": "topology.dialer",
    "Dot": "base.ids",
    "Draining": "ipam.outcomes",
    "Durability": "node.events",
    "EnableWinsFlag": "crdt.flags",
    "Epoch": "base.ids",
    "Exhausted": "ipam.outcomes",
    "Force": "node.events",
    "Freshness": "mesh.freshness",
    "Frozen": "ipam.outcomes",
    "GCounter": "crdt.gcounter",
    "GSet": "crdt.gset",
    "InMinority": "errors",
    "LWWRegister": "crdt.lww",
    "Limits": "base.limits",
    "Lost": "mesh.watch",
    "MVRegister": "crdt.mvreg",
    "Mesh": "mesh.mesh",
    "MeshError": "errors",
    "Minority": "mesh.freshness",
    "Node": "node.node",
    "NoMajority": "errors",
    "NotFresh": "errors",
    "NotReached": "errors",
    "NotReady": "errors",
    "ORMap": "crdt.ormap",
    "ORSet": "crdt.orset",
    "OriginMap": "crdt.origin_map",
    "PNCounter": "crdt.pncounter",
    "PeerId": "base.ids",
    "RangeSet": "ranges.rangeset",
    "Receipt": "mesh.receipt",
    "Recovering": "ipam.outcomes",
    "Refused": "ipam.outcomes",
    "Released": "ipam.outcomes",
    "RemoveWinsSet": "crdt.rwset",
    "Schema": "mesh.schema",
    "Security": "mesh.birth",
    "Snapshot": "mesh.watch",
    "Targets": "node.events",
    "TimedOut": "ipam.outcomes",
    "TraceRecorder": "mesh.recorder",
    "Unreachable": "ipam.outcomes",
    "UsageError": "errors",
    "open_mesh": "mesh.open",
}

__all__ = [
    "ABSENT",
    "Agreement",
    "Allocated",
    "BoundedCounter",
    "CausalLengthSet",
    "Change",
    "Cidr",
    "Claimed",
    "Context",
    "Declined",
    "Detection",
    "DisableWinsFlag",
    "Discovery",
    "Dot",
    "Draining",
    "Durability",
    "EnableWinsFlag",
    "Epoch",
    "Exhausted",
    "Force",
    "Freshness",
    "Frozen",
    "GCounter",
    "GSet",
    "InMinority",
    "LWWRegister",
    "Limits",
    "Lost",
    "MVRegister",
    "Mesh",
    "MeshError",
    "Minority",
    "NoMajority",
    "Node",
    "NotFresh",
    "NotReached",
    "NotReady",
    "ORMap",
    "ORSet",
    "OriginMap",
    "PNCounter",
    "PeerId",
    "RangeSet",
    "Receipt",
    "Recovering",
    "Refused",
    "Released",
    "RemoveWinsSet",
    "Schema",
    "Security",
    "Snapshot",
    "Targets",
    "TimedOut",
    "TraceRecorder",
    "Unreachable",
    "UsageError",
    "open_mesh",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
