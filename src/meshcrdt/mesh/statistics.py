"""What the shell tells about itself; the node's own numbers are `node.statistics`."""

from __future__ import annotations

from attrs import frozen

from meshcrdt.mesh.refusals import RefusedCaller


@frozen(kw_only=True)
class ShellStatistics:
    """A snapshot of queues and counts, cheap enough to ask for at any time."""

    inbox_events: int
    """Events that wait for the node."""
    effects_waiting: int
    """Effects that wait for the disk."""
    requests_waiting: int
    """Callers that wait for an answer."""
    store_transactions: int
    """Transactions since the start."""
    store_batches: int
    """Batches that these transactions carried: above it, group commit is at work."""
    links: int
    link_queued_bytes: int
    """Bytes that wait to be sent, over all links."""
    half_open: int
    """Handshakes of callers in progress."""
    half_open_proved: int
    """Those of them who proved to hold a key already, with bounds of their own."""
    half_open_evicted: int
    """Callers that gave way to newer ones since the start."""
    watchers: int
    refused: tuple[RefusedCaller, ...] = ()
    """Sources that were turned away, the latest first."""
