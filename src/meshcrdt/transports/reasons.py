"""Why a call on a socket failed, in one line; shared by every transport over sockets."""

from __future__ import annotations

import os

import trio


def reason_of(error: BaseException) -> str:
    """Return what the operating system said, behind the wrapping of trio where there is one.

    Several attempts (IPv4 and IPv6) arrive as a group; their distinct reasons are joined.
    """
    cause = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return _joined(list(error.exceptions))
    if isinstance(cause, BaseExceptionGroup):
        return _joined(list(cause.exceptions))
    if isinstance(error, trio.BrokenResourceError):
        if cause is not None:
            return reason_of(cause)
        return str(error) or "the other end is gone"
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        if error.strerror:
            return error.strerror
    return str(error) or type(error).__name__


def _joined(errors: list[BaseException]) -> str:
    return "; ".join(dict.fromkeys(reason_of(each) for each in errors))
