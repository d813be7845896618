"""What the consensus machines ask for and tell; the node turns these into effects.

A `ToPeer` of one call leaves only once every `Store` up to that call is on disk: a promise
or a vote that a crash could take back would be a lie (rule 4).
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.consensus.log import Decided


@frozen
class Store:
    """Write rows of table "consensus": (key, value), None deletes."""

    rows: tuple[tuple[bytes, bytes | None], ...]


@frozen
class ToPeer:
    """Send a payload end to end, perhaps to this very node, giving up at `deadline`."""

    peer: PeerId
    payload: tuple[Tree, ...]
    deadline: float


@frozen
class Learned:
    """A decision of a register is proved here, and it is news: publish it."""

    register: str
    decided: Decided


@frozen
class Forked:
    """Two proved decisions of one stamp: guardians lied or lost stores. Nothing repairs that."""

    register: str
    stamp: int


@frozen
class Proposed:
    """A proposal of this node was chosen."""

    request: int
    decided: Decided


@frozen
class Declined:
    """A proposal came to nothing: what it asked for is not possible as things stand."""

    request: int
    reason: str


@frozen
class Unreachable:
    """A proposal met its deadline; it may still be chosen, and then its entry is learned."""

    request: int
    reason: str


Output: TypeAlias = Store | ToPeer | Learned | Forked | Proposed | Declined | Unreachable
