"""Virtual time: one queue of things to happen, in a total order.

Ties are broken by insertion, never by identity or hash, so the order is a function of the
seed alone. The trace hash folds in everything that happens; two runs with one seed must
agree on it in any process (determinism first: a seed proves nothing without it).
"""

from __future__ import annotations

import gc
import hashlib
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from meshcrdt.errors import UsageError

YOUNG_OBJECTS_MAX = 200_000


_found: list[tuple[int, int, int]] = []
"""What each world that lives found set; worlds of several threads end in any order."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cyclic garbage less often while a world of millions of objects lives.

    By default that is after 700 new objects, which a world makes in a millisecond. The last
    world to end restores what the first one found.
    """
    before = gc.get_threshold()
    _found.append(before)
    if before[0]:  # zero is "never", which is somebody's will
        gc.set_threshold(max(YOUNG_OBJECTS_MAX, before[0]), *before[1:])
    try:
        yield
    finally:
        least = min(_found)
        _found.remove(max(_found))
        if not _found:
            gc.set_threshold(*least)


class Trace(Enum):
    """Whether what happens is folded into a hash, by which runs are compared."""

    HASH = "hash"
    OFF = "off"
    """For worlds in which that would cost more than what happens."""


class Clockwork:
    """The only source of order in a simulated world."""

    def __init__(self, trace: Trace = Trace.HASH) -> None:
        self.now = 0.0
        self.steps = 0
        self._order = 0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.tracing = trace is Trace.HASH
        """Whether it is worth to put into words what happens."""
        self._trace = hashlib.blake2b(digest_size=16)

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Let something happen at a virtual time, not before now."""
        self._order += 1
        if when < self.now:
            when = self.now
        heapq.heappush(self._queue, (when, self._order, action, arguments))

    def after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Let something happen after a delay in virtual seconds."""
        if delay_s < 0:
            raise UsageError(f"delay_s is {delay_s}: zero or more is accepted")
        self.at(self.now + delay_s, action, *arguments)

    def run_until(self, end: float) -> None:
        """Let everything happen up to and including a virtual time."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(queue)
            self.steps += 1
            action(*arguments)
        self.now = end

    def trace(self, *parts: object) -> None:
        """Fold an event into the trace; parts are text, bytes or numbers."""
        if not self.tracing:
            return
        self._trace.update(repr((round(self.now, 9), *parts)).encode())

    @property
    def trace_hash(self) -> str:
        """Return the hash of everything traced so far; that of nothing while tracing is off."""
        return self._trace.hexdigest()
