"""The one mechanism for "once it is on disk": what waits for which watermark.

Each turn that writes rows gets the next watermark. What may be done only when they are on
disk is an action held here; it runs in the turn of `Persisted`, so its effects are ordinary
ones and no shell holds anything back (finding F15). What needs no disk never waits here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from meshcrdt.errors import InternalError

Action: TypeAlias = Callable[[float], None]


class Barrier:
    """Watermarks issued, watermarks confirmed, and who waits in between."""

    def __init__(self) -> None:
        self.watermark = 0
        self._persisted = 0
        self._failed = False
        self._waiting: deque[tuple[int, Sequence[Action]]] = deque()
        self._for_turn: list[Action] = []
        self._for_all: list[Action] = []

    @property
    def is_clear(self) -> bool:
        """Whether everything written so far is on disk."""
        return not self._failed and self._persisted >= self.watermark

    @property
    def waiting(self) -> int:
        """How many turns wait for the disk."""
        return len(self._waiting)

    def when_durable(self, action: Action) -> None:
        """Run an action once the rows of this turn are on disk."""
        self._for_turn.append(action)

    def when_all_durable(self, action: Action) -> None:
        """Run an action once all rows written so far are on disk, those of earlier turns too.

        An answer may rest on a row that an earlier turn wrote and the disk still has.
        """
        self._for_all.append(action)

    def ready(self) -> list[Action]:
        """Return the actions of this turn that wait for nothing, if it writes no rows."""
        if not self.is_clear:
            return []
        ready, self._for_all = self._for_all, []
        return ready

    def end_turn(self, rows: int) -> int:
        """Hold what the turn left until its rows are on disk; return their watermark.

        Raises InternalError when an action waits for rows of a turn that writes none.
        """
        if self._for_turn and not rows:
            raise InternalError("an action waits for the disk, but its turn writes nothing")
        if rows:
            self.watermark += 1
        actions, self._for_turn, self._for_all = [*self._for_turn, *self._for_all], [], []
        if actions and not self._failed:
            self._waiting.append((self.watermark, actions))
        return self.watermark

    def stored(self, watermark: int, now: float) -> None:
        """Take a confirmation and run what waited for it, in order."""
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

    def check(self) -> None:
        """Raise InternalError when something waits for what is on disk, or for no turn at all."""
        marks = [watermark for watermark, _ in self._waiting]
        if marks != sorted(marks) or any(not self._persisted < m <= self.watermark for m in marks):
            raise InternalError(f"turns wait for {marks}, on disk is {self._persisted}")
