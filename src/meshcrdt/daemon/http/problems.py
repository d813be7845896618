"""Errors as problem+json (RFC 9457), with the outcome object of the contract inside.

One line of detail names the parameter, the value and what is accepted; where waiting helps,
Retry-After says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from meshcrdt.daemon.exits import CommandError, ExitCode, one_line
from meshcrdt.daemon.outcomes import Unsettled
from meshcrdt.errors import (
    CapacityError,
    ClosedError,
    Declined,
    NoMajority,
    NotReady,
    StoreError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_LOG = logging.getLogger("meshcrdt.http")


class Problem(Exception):
    """An answer that is not a success; raised by a route, turned into a response here."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = one_line(detail)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))


def bad_value(detail: str) -> Problem:
    """Return the problem of a value that is not accepted."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def unknown(detail: str) -> Problem:
    """Return the problem of an id, name or key that is not there."""
    return Problem(HTTPStatus.NOT_FOUND, detail)


def feature_off(detail: str) -> Problem:
    """Return the problem of a feature that is off on this node: exit 4 of the contract."""
    return Problem(HTTPStatus.NOT_IMPLEMENTED, detail)


def problem_response(problem: Problem) -> Response:
    """Return the response that carries a problem."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        **problem.extra,
    }
    return Response(
        json.dumps(body, ensure_ascii=False),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def _status_of(error: Exception) -> HTTPStatus:
    match error:
        case UsageError():
            return HTTPStatus.BAD_REQUEST
        case ClosedError() | NotReady() | StoreError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case Unsettled():
            return error.status
        case CommandError(code=ExitCode.FEATURE_OFF):
            return HTTPStatus.NOT_IMPLEMENTED
        case NoMajority():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case CapacityError() | CommandError() | Declined():
            # What is full stays full until somebody makes room: no Retry-After.
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer a Problem."""
    assert isinstance(error, Problem)
    return problem_response(error)


async def on_known(request: Request, error: Exception) -> Response:
    """Answer an error of the tree or of a verb with its own line, and the outcome it carries."""
    extra = error.body if isinstance(error, CommandError) else None
    return problem_response(Problem(_status_of(error), str(error), extra=extra))


async def on_http(request: Request, error: Exception) -> Response:
    """Answer what the router found: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = {
        HTTPStatus.NOT_FOUND: f"no such path: {request.scope['path']}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not accepted here",
    }.get(status, str(error.detail))
    return problem_response(Problem(status, detail, headers=error.headers))


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer a bug: the caller gets one line, the log gets everything."""
    _LOG.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    detail = f"internal error: {type(error).__name__}; the daemon's log has the details"
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
