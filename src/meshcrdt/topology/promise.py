"""When this machine wants to be called, and by how much its own process was late.

Asked for before and after every event, so what follows from the state is kept until an event
comes that may change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from meshcrdt.base.limits import Limits
from meshcrdt.base.times import earliest

STALL_SHARE = 0.25
"""Called later than it asked for by this share of `link_silence_s`, a machine was stalled."""


class Promise:
    """The next deadline of the parts that watch others, as it was promised to the owner.

    Args:
        parts: Each names its own next deadline.
        limits: `link_silence_s` says what counts as a stall.
    """

    def __init__(self, parts: Iterable[Callable[[], float | None]], limits: Limits) -> None:
        self._parts = tuple(parts)
        self._stall_min_s = STALL_SHARE * limits.link_silence_s
        self._arrived_at = -math.inf
        self._is_stale = True
        self._due: float | None = None

    def due(self) -> float | None:
        """Return when the first part must be called, whatever the network does."""
        if self._is_stale:
            self._due = earliest(*(part() for part in self._parts))
            self._is_stale = False
        return self._due

    def stalled_s(self, now: float) -> float:
        """Take in an event, before its effects; returns for how long this process stood still."""
        if now == self._arrived_at:
            self._is_stale = True
            return 0.0  # it was looked at when this turn began
        promised = self.due()
        self._arrived_at, self._is_stale = now, True
        late_s = 0.0 if promised is None else now - promised
        return late_s if late_s > self._stall_min_s else 0.0
