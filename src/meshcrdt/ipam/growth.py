"""When and how much to ask of the pool: a starter at once, more ahead of need.

A range (a universe, or a subnet that workloads use) in which less than a quarter of the own
addresses is free is grown before anyone has to wait. After a definite no the range rests.
"""

from __future__ import annotations

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.ipam.carves import Carve, Carves
from meshcrdt.ipam.desk import Need
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.space import Space
from meshcrdt.ranges import Cidr

REST_AFTER_NO_S = 30.0
"""How long growth ahead of need leaves a range alone that the guardian had nothing of."""

FREE_SHARE_MIN = 4
"""Grow when fewer than one in so many of the own addresses are free."""


class Growth:
    """Turns needs, of callers or ahead of them, into requests to the guardian."""

    def __init__(
        self,
        *,
        me: PeerId,
        epoch: Epoch,
        genesis: Genesis,
        registry: Registry,
        space: Space,
        limits: Limits,
        dice: Dice,
    ) -> None:
        self._policy = genesis.policy
        self._registry = registry
        self._space = space
        self._resting: dict[Cidr, float] = {}
        self.carves = Carves(me, epoch, limits, dice)
        self.members = 1

    def block_size(self, within: Cidr, exact: Cidr | None) -> int:
        """Return how many addresses to ask for in a range, a power of two."""
        pool = max(self._registry.trie.pool_size(within), 1)
        starter = self._policy.starter_size(
            family=within.family, range_size=within.size, pool_size=pool, members=self.members
        )
        if exact is not None:
            # A claim wants one address: the block around it should leave room for others.
            return min(starter, self._policy.small_size(within.family))
        owned = self._space.owned(within)
        if owned == 0:
            return starter
        return self._policy.growth_size(
            owned=owned, starter=starter, pool_size=pool, members=self.members
        )

    def need(self, need: Need, now: float) -> Carve | None:
        """Return a new request that serves a caller's need, or None.

        None also where one is under way already, which is hurried, and while too many are: the
        need comes again with the next pass.
        """
        carve = self.carves.find(need.within, need.exact)
        opened = None
        if carve is None:
            if self.carves.is_full:
                return None
            carve = opened = self._open(need, now)
        self.carves.hurry(carve, now)
        return opened

    def ahead(self, within: Cidr, now: float) -> Carve | None:
        """Return a new request for a range that runs short, or None."""
        owned, free = self._space.counts(within)
        if free * FREE_SHARE_MIN >= owned > 0:
            return None
        if self._resting.get(within, now) > now or self.carves.is_full:
            return None
        if self.carves.find(within, None) is not None:
            return None
        return self._open(Need(within), now)

    def _open(self, need: Need, now: float) -> Carve:
        size_bits = self.block_size(need.within, need.exact).bit_length() - 1
        return self.carves.open(need.within, size_bits, exact=need.exact, now=now)

    def rest(self, within: Cidr, now: float) -> None:
        """Leave a range alone for a while."""
        self._resting[within] = now + REST_AFTER_NO_S

    def wake(self, now: float) -> None:
        """Look again at ranges that have rested for long enough."""
        for within in [within for within, until in self._resting.items() if until <= now]:
            del self._resting[within]

    def next_deadline(self) -> float | None:
        """Return when the next request goes out, or a range has rested."""
        wanted = [self.carves.next_deadline(), *self._resting.values()]
        return min((time for time in wanted if time is not None), default=None)
