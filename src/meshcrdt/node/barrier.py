"""The durability barrier: what waits for which watermark.

Each turn that writes rows gets the next watermark. Actions registered with a watermark run
in order once `Persisted` has reached it (finding F15).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

Action: TypeAlias = Callable[[float], None]


class Barrier:
    """Watermarks issued, watermarks confirmed, and who waits in between."""

    def __init__(self) -> None:
        self.watermark = 0
        self._persisted = 0
        self._failed = False
        self._waiting: deque[tuple[int, Sequence[Action]]] = deque()

    @property
    def is_clear(self) -> bool:
        """Whether everything written so far is on disk."""
        return not self._failed and self._persisted >= self.watermark

    @property
    def waiting(self) -> int:
        """How many turns wait for the disk."""
        return len(self._waiting)

    def issue(self) -> None:
        """Take the next watermark for the rows of this turn."""
        self.watermark += 1

    def hold(self, actions: Sequence[Action]) -> None:
        """Keep actions until the newest watermark is confirmed; after a failure, never."""
        if actions and not self._failed:
            self._waiting.append((self.watermark, actions))

    def stored(self, watermark: int, now: float) -> None:
        """Take a confirmation and run what waited for it."""
        self._persisted = max(self._persisted, watermark)
        while self._waiting and self._waiting[0][0] <= self._persisted:
            for action in self._waiting.popleft()[1]:
                action(now)

    def fail(self) -> None:
        """Drop what waits and hold nothing more: no confirmation will come, but peers go on.

        Their writes are still merged, each with an action that would be kept for ever.
        """
        self._failed = True
        self._waiting.clear()
