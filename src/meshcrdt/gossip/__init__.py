"""Floor 3, gossip: how state spreads: signed streams, deltas, tree sync, receipts."""

from meshcrdt.gossip.changes import Change, Drop, Over, Put
from meshcrdt.gossip.channels import VOLATILE_PREFIX
from meshcrdt.gossip.holdings import Visible
from meshcrdt.gossip.outputs import (
    Alarm,
    Committed,
    Equivocated,
    Lane,
    Misbehaved,
    Missing,
    Output,
    OwnStreamAhead,
    Push,
    Quarantined,
    Reached,
    ReceiptOutput,
    Serve,
    Store,
    StreamChanged,
    ToLink,
    ToPeer,
)
from meshcrdt.gossip.reading import Explanation
from meshcrdt.gossip.replica import Replica
from meshcrdt.gossip.statistics import ReplicaStatistics
from meshcrdt.gossip.tree_messages import Spread

__all__ = [
    "VOLATILE_PREFIX",
    "Alarm",
    "Change",
    "Committed",
    "Drop",
    "Equivocated",
    "Explanation",
    "Lane",
    "Misbehaved",
    "Missing",
    "Output",
    "Over",
    "OwnStreamAhead",
    "Push",
    "Put",
    "Quarantined",
    "Reached",
    "ReceiptOutput",
    "Replica",
    "ReplicaStatistics",
    "Serve",
    "Spread",
    "Store",
    "StreamChanged",
    "ToLink",
    "ToPeer",
    "Visible",
]
