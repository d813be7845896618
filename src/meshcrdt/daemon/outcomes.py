"""From the outcome records of ipam to the objects and codes of the contract; pure.

Every way to an address, by its own call or with attach and expose, ends in the same object
and code.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, assert_never

from meshcrdt.daemon.exits import CommandError
from meshcrdt.ipam.outcomes import (
    Allocated,
    Claimed,
    Draining,
    Exhausted,
    Frozen,
    Outcome,
    Recovering,
    Refused,
    Released,
    TimedOut,
    Unreachable,
)


def outcome_object(outcome: Outcome) -> dict[str, Any]:
    """Return the object of an outcome: `outcome`, and `address` or `reason` and `holder`."""
    match outcome:
        case Allocated() | Claimed():
            return {"outcome": outcome.outcome, "address": outcome.address}
        case Refused():
            return {
                "outcome": outcome.outcome,
                "reason": outcome.reason,
                **({"holder": outcome.holder} if outcome.holder is not None else {}),
            }
        case Released():
            return {"outcome": outcome.outcome, "addresses": list(outcome.addresses)}
        case Exhausted() | Unreachable() | Recovering() | Frozen() | Draining() | TimedOut():
            return {"outcome": outcome.outcome, "reason": outcome.reason}
        case _:
            assert_never(outcome)


def outcome_status(outcome: Outcome) -> HTTPStatus:
    """Return the code of an outcome: 200, 409, 503 (waiting helps) or 504."""
    match outcome:
        case Allocated() | Claimed() | Released():
            return HTTPStatus.OK
        case Exhausted() | Frozen() | Refused():
            return HTTPStatus.CONFLICT
        case Unreachable() | Recovering() | Draining():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case TimedOut():
            return HTTPStatus.GATEWAY_TIMEOUT
        case _:
            assert_never(outcome)


class Unsettled(CommandError):
    """An outcome other than the good one: `status` and `body` say it over HTTP."""

    def __init__(self, outcome: Outcome) -> None:
        shown = outcome_object(outcome)
        super().__init__(f"{shown['outcome']}: {shown['reason']}", body=shown)
        self.status = outcome_status(outcome)


def settled(outcome: Outcome) -> dict[str, Any]:
    """Return the object of a good outcome; raises Unsettled for any other."""
    if outcome_status(outcome) is not HTTPStatus.OK:
        raise Unsettled(outcome)
    return outcome_object(outcome)
