"""How commands end: records, not exceptions, for everything that may be expected.

Addresses have outcomes of their own, in `ipam.outcomes`.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId


class FailureKind(Enum):
    """Why a command came to nothing; the shell maps each to an exception or a status."""

    USAGE = "usage"
    CAPACITY = "capacity"
    UNKNOWN = "unknown"
    STARTING = "starting"
    DRAINING = "draining"
    STORE = "store"
    REFUSED = "refused"
    """It is not possible as things stand."""
    UNREACHABLE = "unreachable"
    """The guardians that must agree did not answer in time."""


@frozen
class Written:
    """A write is durable here; (channel, epoch, seq) names the header that carries it."""

    channel: str
    epoch: Epoch
    seq: int


@frozen
class Done:
    """The command took effect, durably where it changes state."""


@frozen
class Failed:
    """The command changed nothing; `reason` is one line naming the value and what is accepted."""

    kind: FailureKind
    reason: str


@frozen
class ReceiptReached:
    """Every target of the receipt confirmed."""


@frozen
class ReceiptMissing:
    """The deadline passed first; `missing` names the targets that did not confirm."""

    missing: tuple[PeerId, ...]
