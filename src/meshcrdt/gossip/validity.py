"""Which headers are valid: rule set 1 (finding F10, rule R9).

Validity is a pure function of the header and its own state. It never looks at earlier
headers, at the configured limits of this node, at clocks or at arrival order: otherwise
two replicas would refuse different things and never converge. So the quotas here are the
published constants. An invalid header is skipped; a later valid one is adopted.
"""

from __future__ import annotations

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.gossip.header import Header
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.record import Record

STREAM_KEYS_MAX = DEFAULT_LIMITS.stream_keys_max
STREAM_BYTES_MAX = DEFAULT_LIMITS.stream_bytes_max


def header_rule(header: Header) -> str | None:
    """Return the rule that the header breaks by itself, or None."""
    if header.live_keys > STREAM_KEYS_MAX:
        return "quota of keys"
    if header.live_bytes > STREAM_BYTES_MAX:
        return "quota of bytes"
    if header.base is not None and (header.seq != 1 or header.base.epoch >= header.epoch):
        return "base of the epoch"
    if any(dep.origin == header.origin for dep in header.deps):
        return "depends on itself"
    return None


def record_rule(record: Record, header: Header) -> str | None:
    """Return the rule that one record breaks in the state of the header, or None.

    A stream holds its own origin's dots alone (F19), one that is adopted too: its adopter signs
    on in the departed origin's name, and the capability in the header says by what right.
    """
    if record.dot.origin != header.origin:
        return "dot of another origin"
    if (record.dot.epoch, record.dot.seq) > (header.epoch, header.seq):
        return "dot beyond its header"
    if any(dot.origin == header.origin for dot in record.supersedes):
        return "supersedes its own origin"
    return None


def is_whole(header: Header, tree: MerkleMap[Record]) -> bool:
    """Return whether a state is the one that the header signed (rule R1)."""
    return tree.root == header.state_root


def counts_rule(header: Header, *, keys: int, cost_bytes: int) -> str | None:
    """Return the rule that the counts of the assembled state break, or None."""
    if keys != header.live_keys or cost_bytes != header.live_bytes:
        return "counts of the state"
    return None
