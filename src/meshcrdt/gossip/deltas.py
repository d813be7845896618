"""Making deltas: a header and what changed since an earlier header of the same stream.

A delta applies only on the header that it names (finding F8). Several flushes collapse
into one delta, because the newest root proves the result and no flush needs a proof of
its own (F3). What does not fit into one message goes by tree.
"""

from __future__ import annotations

from meshcrdt.gossip.compact import Compact, packed
from meshcrdt.gossip.header import KeyOnWire, Ref
from meshcrdt.gossip.messages import MESSAGE_BYTES_MAX, Announce, Delta
from meshcrdt.gossip.record import RECORD_OVERHEAD_BYTES
from meshcrdt.gossip.stream import State

HEADER_BYTES = 1_024
"""What an envelope without deps takes in a message, generously."""
DEP_BYTES = 80


def delta_since(
    since: Ref, state: State, keys: frozenset[bytes], hops: int = 0
) -> tuple[Delta | Compact | Announce, KeyOnWire]:
    """Return the message that takes a holder of `since` to a state, given the keys that moved."""
    found = {key: state.tree.get(key) for key in sorted(keys)}
    records = tuple(record for record in found.values() if record is not None)
    drops = tuple(key for key, record in found.items() if record is None)
    whole = Delta(state.envelope, since, records, drops, hops)
    fitting, key_on_wire = _fitting(whole, KeyOnWire.OMITTED)
    compact = packed(since, state, records, drops, hops) if fitting is whole else None
    return compact or fitting, key_on_wire


def delta_whole(state: State, hops: int = 0) -> tuple[Delta | Announce, KeyOnWire]:
    """Return the message that brings a whole state to someone who holds nothing of it."""
    records = tuple(entry.value for entry in state.tree.entries())
    return _fitting(Delta(state.envelope, None, records, (), hops), KeyOnWire.SENT)


def base_of(before: State | None, state: State) -> Ref | None:
    """Return the header on which the eager message for a merged header builds.

    A volatile channel opens an epoch empty, so its first header builds on nothing.
    """
    if before is None:
        return None
    opens_empty = before.header.epoch != state.header.epoch and state.header.base is None
    return None if opens_empty else before.ref


def _fitting(delta: Delta, key: KeyOnWire) -> tuple[Delta | Announce, KeyOnWire]:
    size = HEADER_BYTES + DEP_BYTES * len(delta.envelope.header.deps)
    size += sum(record.cost_bytes + RECORD_OVERHEAD_BYTES for record in delta.puts)
    size += sum(map(len, delta.drops))
    if size > MESSAGE_BYTES_MAX:
        return Announce(delta.envelope, ()), KeyOnWire.SENT
    return delta, key
