"""Answers that wait for the disk, and their callers' deadlines.

An address is answered only once its row is on disk. When the disk does not confirm before
the caller's deadline, the caller gets a typed answer then, not whenever the disk comes
back. The allocation stands: the same id gets the same address at the next call.
"""

from __future__ import annotations

from meshcrdt.ipam.outcomes import TimedOut

REASON = (
    "the disk has not confirmed the allocation in time; it may stand: "
    "a new call with the same id gets the same address"
)


class Patience:
    """Which requests have a deadline, and which outcome of them waits for the disk."""

    def __init__(self) -> None:
        self._deadlines: dict[int, float] = {}
        self._waiting: set[int] = set()

    def expect(self, request: int, deadline: float) -> None:
        """Note the deadline of a request when it comes in."""
        self._deadlines[request] = deadline

    def answered(self, request: int) -> None:
        """Note that a request was answered at once."""
        self._deadlines.pop(request, None)

    def wait(self, request: int) -> None:
        """Note that the outcome of a request waits for the disk."""
        self._waiting.add(request)

    def confirmed(self, request: int) -> bool:
        """Return True when the outcome may go out now; False when the caller has gone."""
        self._deadlines.pop(request, None)
        if request in self._waiting:
            self._waiting.discard(request)
            return True
        return False

    def expired(self, now: float) -> list[tuple[int, TimedOut]]:
        """Return answers for callers whose deadline passed while the disk was busy."""
        late = sorted(r for r in self._waiting if self._deadlines.get(r, now + 1) <= now)
        for request in late:
            self._waiting.discard(request)
            self._deadlines.pop(request, None)
        return [(request, TimedOut(REASON)) for request in late]

    def next_deadline(self) -> float | None:
        """Return when the next caller runs out of patience, or None."""
        if not self._waiting:
            return None
        deadlines = (self._deadlines.get(request) for request in self._waiting)
        return min((d for d in deadlines if d is not None), default=None)
