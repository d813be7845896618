"""What the node asks of its shell.

Each effect names in `after` the durability watermark that it needs: the shell performs
it once `Persisted(watermark)` with watermark >= `after` has come back in through the
door. Zero needs nothing. Effects of one `handle` are performed in order, except that an
effect which waits for the disk never holds up one which does not (finding F15).
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define

from meshcrdt.abc import Row
from meshcrdt.base.ids import PeerId


@define
class Send:
    """Put one encoded frame on a link."""

    link: int
    frame: bytes
    after: int = 0


@define
class CloseLink:
    """Close a link; `reason` is one line for the log of both ends."""

    link: int
    reason: str
    after: int = 0


@define
class Dial:
    """Try to connect to an address once and answer with LinkOpened or DialFailed."""

    address: str
    after: int = 0


@define
class Persist:
    """Write rows in one transaction, then answer Persisted(watermark). In order, one at a time."""

    watermark: int
    rows: tuple[Row, ...]
    after: int = 0


@define
class Reply:
    """The outcome of a command: a record of `node.outcomes`, or of ipam for addresses."""

    request: int
    outcome: object
    after: int = 0


@define
class Changed:
    """The visible value of keys in a channel changed; watchers read the node for the values."""

    channel: str
    keys: tuple[bytes, ...]
    after: int = 0


@define
class Notice:
    """Something an operator wants to know: one line, a severity, and the peer it is about."""

    level: str
    text: str
    peer: PeerId | None = None
    after: int = 0


Effect: TypeAlias = Send | CloseLink | Dial | Persist | Reply | Changed | Notice
