"""What the node asks of its shell: performed in order, at once.

What needs the disk is no effect before it is there: the node holds it back itself, and
the turn of `Persisted` emits it (finding F15). So a shell knows nothing of watermarks but
to hand them back.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define

from meshcrdt.abc import Row
from meshcrdt.base.ids import PeerId


@define
class Writable:
    """A link has something to send: pull `node.next_frame(link)` until it is None.

    The shell may take its time, one frame whenever the socket is free: what waits in the node
    gets less there, not more. It is told again only after it was given None.
    """

    link: int


@define
class CloseLink:
    """Close a link after what can be pulled; `reason` is one line for the log of both ends."""

    link: int
    reason: str


@define
class Dial:
    """Try to connect to an address once and answer with LinkOpened or DialFailed."""

    address: str


@define
class Persist:
    """Write rows in one transaction, then answer Persisted(watermark). In order, one at a time."""

    watermark: int
    rows: tuple[Row, ...]


@define
class Reply:
    """The outcome of a command: a record of `node.outcomes`, or of ipam for addresses."""

    request: int
    outcome: object


@define
class Changed:
    """The visible value of keys in a channel changed; watchers read the node for the values."""

    channel: str
    keys: tuple[bytes, ...]


@define
class Notice:
    """Something an operator wants to know: one line, a severity, and the peer it is about."""

    level: str
    text: str
    peer: PeerId | None = None


Effect: TypeAlias = Writable | CloseLink | Dial | Persist | Reply | Changed | Notice
