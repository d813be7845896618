"""What a caller of `Replica.write` asks for."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import frozen


class Over(Enum):
    """Whose records of the key a change goes over."""

    OWN = "own"
    """Only this node's record of the key."""
    ALL = "all"
    """Also every live record of other origins that this replica holds at the call."""


class Writer(Enum):
    """Who asks for a change."""

    USER = "user"
    """May be told to come back: held to the bounds of one write and of the writes that wait."""
    NODE = "node"
    """A machine that bounds itself and cannot come back: held to the quotas of a stream alone."""


@frozen
class Put:
    """Set this node's record of a key."""

    key: bytes
    value: bytes
    over: Over = Over.OWN


@frozen
class Drop:
    """Remove this node's record of a key."""

    key: bytes
    over: Over = Over.OWN


Change: TypeAlias = Put | Drop
