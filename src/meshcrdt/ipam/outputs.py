"""What the IPAM machine asks of the node, in the order in which it asks."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.ipam.outcomes import Outcome


@frozen
class Answer:
    """The one outcome of a request. The node delivers it once every Store asked for so far is
    durable, those of earlier calls too: a repeated call is answered from a row that the disk
    may still have, and stores nothing itself. So no address is given before its row is on disk.
    """

    request: int
    outcome: Outcome


@frozen
class Store:
    """Rows of this node's own table "ipam", in one transaction; a value of None deletes."""

    rows: tuple[tuple[bytes, bytes | None], ...]


@frozen
class Publish:
    """Write records to channel "ipam" in one flush, then call `published(token)` once they are
    durable. Flushes of one node become durable in the order in which they were asked.
    """

    token: int
    puts: tuple[tuple[bytes, bytes | None], ...]


@frozen
class ToPeer:
    """Send a payload by unicast. At-most-once is enough: the machine retries by itself.

    `deadline` is the time after which the payload is of no use.
    """

    dest: PeerId
    payload: Tree
    deadline: float


@frozen
class Notice:
    """One line for an operator; `level` is "info", "warning" or "alarm"."""

    level: str
    text: str


Output: TypeAlias = Answer | Store | Publish | ToPeer | Notice
