"""What a receiver remembers of one sender, so that repeats are noticed (finding F31)."""

from __future__ import annotations

from enum import Enum


class Seen(Enum):
    """What is known of an id that came."""

    NEW = "new"
    REPEATED = "repeated"
    TOO_OLD = "too old"
    """Below the window: nobody can tell any more."""


class Window:
    """The last ids seen of one sender, as a bitmap below the highest one."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._highest = -1
        self._bits = 0

    def note(self, number: int) -> Seen:
        """Note an id, and return what was known of it."""
        if number > self._highest:
            shift = min(number - self._highest, self._size)
            self._bits = ((self._bits << shift) | 1) & ((1 << self._size) - 1)
            self._highest = number
            return Seen.NEW
        age = self._highest - number
        if age >= self._size:
            return Seen.TOO_OLD
        seen = bool(self._bits >> age & 1)
        self._bits |= 1 << age
        return Seen.REPEATED if seen else Seen.NEW
