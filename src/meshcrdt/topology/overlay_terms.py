"""What the overlay says to the topology around it, what it can ask of it, and its counts."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.topology.overlay_wire import OverlayMessage


@frozen
class Say:
    """Send a message to a linked peer."""

    peer: PeerId
    message: OverlayMessage


@frozen
class Drop:
    """Close all links of a peer; the overlay already counts them as closed."""

    peer: PeerId
    reason: str


OverlayOutput: TypeAlias = Say | Drop


@frozen
class Sight:
    """What the overlay can ask of the rest of the topology.

    `addresses`: where the directory says that a peer can be dialled. `reaches`: whether the
    links known so far lead to a peer. `rtt_s`: the measured round trip of a linked peer.
    """

    addresses: Callable[[PeerId], tuple[str, ...]]
    reaches: Callable[[PeerId], bool]
    rtt_s: Callable[[PeerId], float | None]


class Mode(Enum):
    """How the links are chosen."""

    CONFIGURED = "configured"
    """Without discovery: what operators configured."""
    FULL = "full"
    """A small cluster: everybody with everybody."""
    PARTIAL = "partial"


@frozen
class OverlayStatistics:
    """Counts of one overlay; `passive` are those that could be asked, up to the view's bound."""

    mode: Mode
    active: int
    passive: int
    temporary: int
    asked_total: int
    refused_total: int
    evicted_total: int
    probes_total: int
    swaps_total: int
