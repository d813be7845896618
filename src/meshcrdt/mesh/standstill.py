"""Noticing that the host stood still: a clock that counts suspends against one that does not.

Linux's CLOCK_BOOTTIME goes on while a machine sleeps, CLOCK_MONOTONIC does not, so a jump
between the two is a suspend (finding F14). A snapshot that a hypervisor resumes shows the
same way where it sets the guest's clocks; where it does not, the node still goes on under
another epoch once peers show that they hold more of it than it wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable

GAP_MIN_S = 1.0
"""Shorter gaps are none: the two clocks are read one after the other."""

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def suspended_s() -> float:
    """Return how long this host was suspended since it booted; 0 where no clock tells."""
    if _BOOTTIME is None:
        return 0.0
    return time.clock_gettime(_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Standstill:
    """Compares the two clocks whenever it is asked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin now; `clock` says how many seconds the host was suspended so far."""
        self._clock = clock
        self._last = clock()

    def gap_s(self) -> float:
        """Return the seconds that the host stood still since the last call, or 0.0."""
        now = self._clock()
        gap = now - self._last
        if gap < GAP_MIN_S:
            return 0.0  # what is too short to tell is still there when it has added up
        self._last = now
        return gap
