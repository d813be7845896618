"""How far a node trusts its own judgement: the local health multiplier of Lifeguard.

A node that is short of CPU misses answers that came in time, and would accuse the healthy
(Dadgar, Phillips and Currey, DSN 2018). So what it misses counts against itself first: its
score grows when helpers that should have answered did not, when others had to be told that
it lives, and when its own timers came late; it falls with each answer that comes in time.
Every time that it allows others is multiplied by one more than the score.
"""

from __future__ import annotations

from meshcrdt.errors import InternalError

SCORE_MAX = 8


class LocalHealth:
    """The score of one node: 0 is healthy."""

    def __init__(self) -> None:
        self._score = 0

    @property
    def multiplier(self) -> int:
        """What to multiply timeouts with: 1 for a healthy node."""
        return self._score + 1

    def worse(self) -> None:
        """Note a sign that this node itself is slow."""
        self._score = min(self._score + 1, SCORE_MAX)

    def better(self) -> None:
        """Note an answer that came in time."""
        self._score = max(self._score - 1, 0)

    def check(self) -> None:
        """Raise InternalError when the score is out of its bounds."""
        if not 0 <= self._score <= SCORE_MAX:
            raise InternalError(f"the local health score is {self._score}")
