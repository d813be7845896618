"""What users hand in, checked where they still see the traceback of their own call.

The node runs in a task of its own: an argument of the wrong kind that surfaced there would
end the mesh instead of the call. So kinds and times are checked here, values by the core.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import trio

from meshcrdt.errors import UsageError


def text(value: object, what: str) -> str:
    """Return `value` when it is text that UTF-8 can hold; raises UsageError naming `what`."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is {type(value).__name__}: text is accepted")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} {value!r} is not text that UTF-8 can hold") from None
    return value


def texts(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return `values` as a tuple of texts; one text alone is refused, being a mistake."""
    if isinstance(values, str | bytes):
        raise UsageError(f"{what} is one text, {values!r}: a list of texts is accepted")
    return tuple(text(value, what) for value in values)


def wait_s(value: float, what: str = "timeout") -> float:
    """Return a number of seconds to wait, which may be infinite; raises UsageError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value):
        raise UsageError(f"{what} is {value!r}: a number of seconds is accepted")
    return value


def deadline(timeout: float) -> float:
    """Return the moment, on trio's clock, that is `timeout` seconds from now."""
    return trio.current_time() + wait_s(timeout)
