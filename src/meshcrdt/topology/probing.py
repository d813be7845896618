"""Random dials out of view: how components that know nothing of each other find together.

Two components that are each happy inside are not isolated, and no view repair joins them
(finding F30). So each node now and then dials a random member that it is not linked with,
dead ones too; the link compares roots, as every new link does, and goes again unless it
joined two components or is much faster than a neighbour. The waits are exponential with a
mean of as many seconds as there are living members: the whole cluster makes about one such
dial a second, whatever its size, and each component does after a cut.

After a heal one link holds two halves together. Some of the nodes that see many members come
back at once dial one of them for good, so that the halves grow together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.contacts import Roster

DRAWS_MAX = 16
"""Draws for one that fits. Where few fit, somebody else of the cluster finds them."""
DEAD_FIRST = 0.8
"""Share of the dials that go to a dead member where there is one."""
RESAMPLE_FACTOR = 1.25
"""A wait begins anew when the living are more or fewer by this factor."""
RETURNS_MIN = 3
RETURN_S = 10.0
"""So many members that come back within so long are a component, not a flapping host."""
MIXERS = 32
"""About so many nodes of each side then link themselves with the other side."""


class Probing:
    """When this node dials out of view next, and whom.

    Args:
        limits: `overlay_probe_interval_s` is used.
        dice: Waits and draws.
    """

    def __init__(self, limits: Limits, dice: Dice) -> None:
        self._limits = limits
        self._dice = dice
        self._at: float | None = None
        self._alive = 0
        self._returned: deque[tuple[float, PeerId]] = deque(maxlen=RETURNS_MIN)
        self._mixed_at: float | None = None
        self._mix_at: float | None = None

    def tune(self, alive: int, now: float) -> None:
        """Take in how many members live; the wait follows."""
        low, high = sorted((alive, self._alive))
        if self._at is None or high > RESAMPLE_FACTOR * low:
            self._wait(alive, now)

    def came_back(self, peer: PeerId, members: int, now: float) -> None:
        """Note that a dead member lives again."""
        self._returned.append((now, peer))
        many = len(self._returned) == RETURNS_MIN and now - self._returned[0][0] <= RETURN_S
        if many and (self._mixed_at is None or now >= self._mixed_at + RETURN_S):
            self._mixed_at = now
            if self._dice.chance(min(1.0, MIXERS / max(1, members))):
                self._mix_at = now + self._dice.uniform(0.0, RETURN_S)

    def due(self, now: float) -> bool:
        """Return True when a dial is due."""
        return any(at is not None and now >= at for at in (self._at, self._mix_at))

    def next_deadline(self) -> float | None:
        """Return when the next dial is due, or None."""
        return min((at for at in (self._at, self._mix_at) if at is not None), default=None)

    def skip(self, now: float) -> None:
        """Wait anew: this turn was used otherwise."""
        self._wait(self._alive, now)

    def pick(
        self,
        roster: Roster,
        now: float,
        *,
        fits: Callable[[PeerId], bool],
        is_dead: Callable[[PeerId], bool],
    ) -> tuple[PeerId, bool] | None:
        """Return whom to dial now, and whether for good; None when a draw found nobody."""
        if self._mix_at is not None and now >= self._mix_at:
            self._mix_at = None
            back = [peer for _, peer in self._returned if fits(peer)]
            return (self._dice.choice(back), True) if back else None
        self._wait(self._alive, now)
        found: list[PeerId] = []
        if len(roster):
            drawn = (roster.draw(self._dice) for _ in range(DRAWS_MAX))
            found = [peer for peer in drawn if fits(peer)]
        if not found:
            return None
        dead = [peer for peer in found if is_dead(peer)]
        if dead and self._dice.chance(DEAD_FIRST):
            return dead[0], False
        return found[0], False

    def _wait(self, alive: int, now: float) -> None:
        self._alive = alive
        mean_s = max(1, alive) * self._limits.overlay_probe_interval_s
        self._at = now - math.log(1.0 - self._dice.uniform(0.0, 0.999)) * mean_s
