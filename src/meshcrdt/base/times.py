"""Moments that may be missing: a deadline is a number of seconds, or None where there is none."""

from __future__ import annotations


def earliest(*times: float | None) -> float | None:
    """Return the first moment of those that there are, or None; asked after every event."""
    found: float | None = None
    for at in times:
        if at is not None and (found is None or at < found):
            found = at
    return found
