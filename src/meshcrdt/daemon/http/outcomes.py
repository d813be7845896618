"""From the outcome records of ipam to the objects and codes of the contract; pure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, assert_never

from meshcrdt.daemon.http.problems import Problem
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


def settled(outcome: Outcome) -> Mapping[str, Any]:
    """Return the object of a good outcome; raise the Problem of any other."""
    status = outcome_status(outcome)
    shown = outcome_object(outcome)
    if status is HTTPStatus.OK:
        return shown
    raise Problem(status, f"{shown['outcome']}: {shown['reason']}", extra=shown)
