"""Virtual time: one queue of things to happen, in a total order.

Ties are broken by insertion, never by identity or hash, so the order is a function of the
seed alone. The trace hash folds in everything that happens; two runs with one seed must
agree on it in any process (determinism first: a seed proves nothing without it).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable

from meshcrdt.errors import UsageError


class Clockwork:
    """The only source of order in a simulated world."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._order = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._trace = hashlib.blake2b(digest_size=16)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen at a virtual time, not before now."""
        self._order += 1
        heapq.heappush(self._queue, (max(when, self.now), self._order, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let something happen after a delay in virtual seconds."""
        if delay_s < 0:
            raise UsageError(f"delay_s is {delay_s}: zero or more is accepted")
        self.at(self.now + delay_s, action)

    def run_until(self, end: float) -> None:
        """Let everything happen up to and including a virtual time."""
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            self.steps += 1
            action()
        self.now = end

    def trace(self, *parts: object) -> None:
        """Fold an event into the trace; parts are text, bytes or numbers."""
        self._trace.update(repr((round(self.now, 9), *parts)).encode())

    @property
    def trace_hash(self) -> str:
        """Return the hash of everything traced so far."""
        return self._trace.hexdigest()
