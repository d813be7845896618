"""What a replica asks of the node: messages to send, rows to store, and what has changed."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.abc import Row
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.messages import Get, Want


class Lane(Enum):
    """Which share of a link a message takes (finding F28)."""

    DELTA = "delta"
    REPAIR = "repair"


@frozen
class ToLink:
    """Send one message on a link."""

    link: int
    lane: Lane
    message: tuple[Tree, ...]


@frozen
class Push:
    """Send a stream on a link as what moved since a header, made when the link has room for it.

    Until then further pushes of the stream change nothing: the oldest `since` stands, and
    `Replica.render` makes one message out of all of them (rule R3). None is since nothing.
    """

    link: int
    stream: StreamKey
    since: Ref | None


@frozen
class Serve:
    """Answer a request on a link, message by message as the link has room (`Replica.serve`).

    A newer request for the same stream takes the place of one that is not answered yet.
    """

    link: int
    request: Want | Get


@frozen
class Store:
    """Write rows in one transaction, then call `stored(token, now)`."""

    rows: tuple[Row, ...]
    token: int


@frozen
class StreamChanged:
    """One stream moved to another header; the visible records of these keys may differ."""

    channel: str
    origin: PeerId
    keys: frozenset[bytes]


@frozen
class Committed:
    """A local write is part of the replicated state (on disk first, for durable channels)."""

    ticket: int
    epoch: Epoch
    seq: int


@frozen
class Misbehaved:
    """A link broke the protocol; the node closes it."""

    link: int
    reason: str


@frozen
class Quarantined:
    """A well-formed header breaks a rule: it is neither merged nor relayed."""

    origin: PeerId
    channel: str
    rule: str
    from_peer: PeerId | None


@frozen
class Equivocated:
    """An origin signed two headers for one place: proof is held and spread."""

    origin: PeerId
    channel: str
    epoch: Epoch
    seq: int


@frozen
class OwnStreamAhead:
    """A peer shows a header of ours that this process never wrote: rollback or clone (F14)."""

    channel: str
    epoch: Epoch
    seq: int


@frozen
class SignedForUs:
    """A peer shows a stream of ours that an adopter signs: we were evicted, and are back (F19)."""

    channel: str
    epoch: Epoch


@frozen
class Alarm:
    """Something an operator must know: what the store held fails its own checks, a bound is hit."""

    text: str
    origin: PeerId | None = None


@frozen
class ToPeer:
    """Send a payload end to end, by unicast."""

    peer: PeerId
    payload: tuple[Tree, ...]


@frozen
class Reached:
    """Every target of a receipt confirmed."""

    request: int


@frozen
class Missing:
    """The deadline of a receipt passed; these targets did not confirm."""

    request: int
    peers: tuple[PeerId, ...]


Output: TypeAlias = (
    ToLink
    | Push
    | Serve
    | Store
    | StreamChanged
    | Committed
    | Misbehaved
    | Quarantined
    | Equivocated
    | OwnStreamAhead
    | SignedForUs
    | Alarm
)
ReceiptOutput: TypeAlias = ToPeer | Reached | Missing
