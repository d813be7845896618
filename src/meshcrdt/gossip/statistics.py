"""What a replica counts: sizes at one moment, and what happened since it began."""

from __future__ import annotations

from attrs import frozen

from meshcrdt.gossip.context import Context
from meshcrdt.gossip.tree_messages import Branch


@frozen
class ReplicaStatistics:
    """Counts and sizes at one moment."""

    channels: int
    streams: int
    records: int
    writes_waiting: int
    requests_under_way: int
    parked: int
    quarantined: int
    equivocations: int
    verified: int
    bad_signatures: int
    duplicates: int
    deltas_applied: int
    deltas_missed: int
    trees_fetched: int
    flushes: int
    sync_rounds: int
    eager_news: int
    """Deltas that came along the tree and brought something."""
    redundant: int
    """Deltas that came along the tree and brought nothing: redundancy is this by `eager_news`."""
    hops_max: int
    """The longest way that a delta came here along the tree."""
    lazy_links: int
    prunes: int
    grafts: int
    announced: int


def snapshot(
    context: Context,
    *,
    writes_waiting: int,
    requests_under_way: int,
    parked: int,
    equivocations: int,
) -> ReplicaStatistics:
    """Return the statistics of a replica; what its parts keep to themselves is given."""
    counters = context.counters
    states = [stream.state for _, stream in context.holdings.streams()]
    return ReplicaStatistics(
        channels=len(context.holdings.channels),
        streams=len(states),
        records=sum(state.header.live_keys for state in states),
        writes_waiting=writes_waiting,
        requests_under_way=requests_under_way,
        parked=parked,
        quarantined=len(context.quarantine),
        equivocations=equivocations,
        verified=counters.verified,
        bad_signatures=counters.bad_signatures,
        duplicates=counters.duplicates,
        deltas_applied=counters.deltas_applied,
        deltas_missed=counters.deltas_missed,
        trees_fetched=counters.trees_fetched,
        flushes=counters.flushes,
        sync_rounds=counters.sync_rounds,
        eager_news=counters.eager_news,
        redundant=counters.redundant,
        hops_max=counters.hops_max,
        lazy_links=sum(state.branch is Branch.LAZY for state in context.links.values()),
        prunes=counters.prunes,
        grafts=counters.grafts,
        announced=counters.announced,
    )
