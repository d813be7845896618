"""What the shell tells about itself; the node's own numbers are `node.statistics`."""

from __future__ import annotations

from attrs import frozen

from meshcrdt.mesh.refusals import RefusedCaller


@frozen(kw_only=True)
class ShellStatistics:
    """A snapshot of queues and counts, cheap enough to ask for at any time."""

    inbox_events: int
    """Events that wait for the node."""
    turns_waiting: int
    """Turns of the node whose answers wait for the disk."""
    requests_waiting: int
    """Callers that wait for an answer."""
    store_transactions: int
    """Transactions since the start."""
    store_batches: int
    """Batches that these transactions carried: above it, group commit is at work."""
    links: int
    link_queued_bytes: int
    """Bytes that wait in the node to be sent, over all links."""
    frames_sent: int
    messages_sent: int
    """Messages that these frames carried: above them, one sealing serves several."""
    messages_coalesced: int
    """Messages that a newer one made needless before their link had room."""
    messages_dropped: int
    """Messages that found no room in their lane; whoever needs them asks again."""
    half_open: int
    """Handshakes of callers in progress."""
    half_open_proved: int
    """Those of them who proved to hold a key already, with bounds of their own."""
    half_open_evicted: int
    """Callers that gave way to newer ones since the start."""
    watchers: int
    refused: tuple[RefusedCaller, ...] = ()
    """Sources that were turned away, the latest first."""
