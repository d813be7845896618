"""What the topology machines ask for and tell; the node turns these into effects.

One file, so that whoever composes the machines sees the whole vocabulary at once.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.topology.adverts import Advert


class PeerState(Enum):
    """What this node thinks of another member; the values are those of `status --json`."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


@frozen
class Dial:
    """Try to connect to an address once; the shell answers with a link or a failure."""

    address: str


@frozen
class CloseLink:
    """Close a link. The machines already count it as closed; reporting the end is harmless."""

    link: int
    reason: str
    agreed: bool = False
    """Both ends know that it ends, and nothing is wrong with the peer."""


@frozen
class ToLink:
    """Send a message (a tree whose first item is its code) on one link, in the liveness lane."""

    link: int
    message: tuple[Tree, ...]


@frozen
class RootSeen:
    """A heartbeat on a link showed a prefix of the other end's roots."""

    link: int
    prefix: bytes


@frozen
class Advertise:
    """Say this of this node from now on; nothing at all when it is None."""

    advert: Advert | None


@frozen
class BaselineChanged:
    """`minority` counts against these now: worth keeping over a restart."""

    baseline: frozenset[PeerId]


@frozen
class StateChanged:
    """A peer changed state; `old` is None when it was unknown. `reason` is one line for people."""

    peer: PeerId
    old: PeerState | None
    new: PeerState
    reason: str


TopologyOutput: TypeAlias = (
    Dial | CloseLink | ToLink | RootSeen | Advertise | BaselineChanged | StateChanged
)


@frozen
class ToPeer:
    """Send a unicast message to a directly linked peer; losing it is repaired end to end."""

    peer: PeerId
    message: tuple[Tree, ...]


@frozen
class Delivered:
    """A payload arrived for this node. At least once: handlers are idempotent by request id."""

    source: PeerId
    payload: Tree


@frozen
class Acked:
    """The destination took a message."""

    message_id: int


@frozen
class Failed:
    """No acknowledgement came before the deadline; the payload may have arrived all the same."""

    message_id: int
    dest: PeerId
    payload: Tree
    reason: str


@frozen
class Misbehaved:
    """A neighbour sent a malformed unicast message; the node closes its link."""

    peer: PeerId
    reason: str


UnicastOutput: TypeAlias = ToPeer | Delivered | Acked | Failed | Misbehaved
