"""When a node tells the cluster about its neighbourhood: at once if it matters, else seldom.

A change of links is told to everybody, so a cluster in which every node told every change
at once would pay O(N) a change. What somebody waits for is urgent: an accusation, a
refutation, an edge without which a node would be in nobody's graph, and any change in a
cluster as small as a full mesh. Everything else waits until it is this node's turn, so that
all nodes together make about `adverts_per_s` adverts a second, whatever N is.

Flaps are damped twice. Urgent adverts that follow each other wait longer each time, up to
a second (exponential back-off, as RFC 2439 does it for routes), and a neighbour whose link
ended several times lately is no reason for an urgent advert.
"""

from __future__ import annotations

import math

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.adverts import Advert

FULL_MESH_MAX = 8
"""Members up to which every change of a link is told at once."""
URGENT_GAP_MIN_S = 0.05
URGENT_GAP_MAX_S = 1.0
PENALTY_HALF_LIFE_S = 10.0
FLAPS_TOLERATED = 3.0
FLAP_HALF_LIFE_S = 30.0
FLAPPERS_MAX = 64
JITTER = 0.25


class _Decaying:
    """A number that halves with every half life."""

    def __init__(self, half_life_s: float) -> None:
        self._half_life_s = half_life_s
        self._value = 0.0
        self._at = 0.0

    def at(self, now: float) -> float:
        age_s = max(0.0, now - self._at)
        return self._value * math.exp2(-age_s / self._half_life_s)

    def add(self, now: float) -> None:
        self._value, self._at = self.at(now) + 1.0, now


class Advertiser:
    """Holds what this node would say now, and says when it says it.

    Args:
        limits: `adverts_per_s` is used.
        dice: Jitter, so that a cluster does not speak in step.
    """

    def __init__(self, *, limits: Limits, dice: Dice) -> None:
        self._limits = limits
        self._dice = dice
        self._told = Advert()
        self._told_at = -math.inf
        self._share = 1.0
        self._wanted = Advert()
        self._due: float | None = None
        self._hurry = _Decaying(PENALTY_HALF_LIFE_S)
        self._flaps: dict[PeerId, _Decaying] = {}

    @property
    def told(self) -> Advert:
        """What this node said last."""
        return self._told

    def link_lost(self, peer: PeerId, now: float) -> None:
        """Count the end of a link against the neighbour's steadiness."""
        flaps = self._flaps.pop(peer, None) or _Decaying(FLAP_HALF_LIFE_S)
        flaps.add(now)
        self._flaps[peer] = flaps
        while len(self._flaps) > FLAPPERS_MAX:
            del self._flaps[next(iter(self._flaps))]

    def flaps(self, peer: PeerId, now: float) -> bool:
        """Return whether a neighbour's links end too often to hurry for."""
        flaps = self._flaps.get(peer)
        return flaps is not None and flaps.at(now) > FLAPS_TOLERATED

    def want(self, advert: Advert, *, urgent: bool, members: int, now: float) -> None:
        """Take in what this node would say now; `urgent` when somebody waits for it."""
        self._wanted = advert
        if advert == self._told:
            self._due = None
            return
        if urgent or (members <= FULL_MESH_MAX and not self._only_flaps(advert, now)):
            gap_s = min(URGENT_GAP_MAX_S, URGENT_GAP_MIN_S * math.exp2(self._hurry.at(now)))
        else:
            gap_s = self._share * max(1.0, members / self._limits.adverts_per_s)
        due = max(now, self._told_at + gap_s)
        self._due = due if self._due is None else min(self._due, due)

    def _only_flaps(self, advert: Advert, now: float) -> bool:
        told = self._told
        if (advert.incarnation, advert.accusations) != (told.incarnation, told.accusations):
            return False
        changed = advert.neighbours ^ told.neighbours
        return all(self.flaps(peer, now) for peer in changed)

    def poll(self, now: float) -> Advert | None:
        """Return what is to be said now, or None."""
        if self._due is None or now < self._due:
            return None
        self._due = None
        self._told, self._told_at = self._wanted, now
        self._hurry.add(now)
        self._share = self._dice.uniform(1.0 - JITTER, 1.0 + JITTER)
        return self._told

    def next_deadline(self) -> float | None:
        """Return when something is to be said, or None."""
        return self._due

    def check(self) -> None:
        """Raise InternalError when something waits although all was said."""
        if self._due is not None and self._wanted == self._told:
            raise InternalError("an advert waits to be said again")
