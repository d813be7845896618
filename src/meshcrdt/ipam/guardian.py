"""The lone guardian as a machine: orders come in, changes are published, answers go out after.

Nothing is answered before `published`: an answer that overtakes its own durability would
give one block to two peers after a crash. Refusals change nothing and go out at once. Sets
of three and five guardians replace the body of `order` by a vote; requesters do not see it.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.errors import InternalError
from meshcrdt.ipam.policy import BlockPolicy, power_of_two_at_most
from meshcrdt.ipam.register import Register, RequestId
from meshcrdt.ipam.shard import CarveOrder, Denial, Denied, Puts, Shard

ORDERS_WAITING_MAX = 4_096
"""Orders whose change is not durable yet; more are told to come back."""


@frozen
class Verdict:
    """The answer to one order: the register of the block, or a denial."""

    request: RequestId
    result: Register | Denied


@frozen
class Change:
    """A staged change to publish under a token."""

    token: int
    puts: Puts


class LoneGuardian:
    """Orders every change of the shard in one sequence that is durable before it is told."""

    def __init__(self, shard: Shard, policy: BlockPolicy) -> None:
        self.shard = shard
        self._policy = policy
        self._token = 0
        self._waiting: dict[int, tuple[RequestId, Register]] = {}
        self._token_of: dict[RequestId, int] = {}

    def order(self, order: CarveOrder, *, members: int) -> Verdict | Change | None:
        """Take one order. None means that the same one is already on its way to the disk."""
        if order.request in self._token_of:
            return None
        if len(self._waiting) >= ORDERS_WAITING_MAX:
            return Verdict(order.request, Denied(Denial.RECOVERING))
        # Before the size is worked out, which walks the pool: most late duplicates end here.
        known = self.shard.known(order.request)
        if known is not None:
            return Verdict(order.request, known)
        size = min(power_of_two_at_most(order.size), self._fair_size(order, members))
        outcome = self.shard.carve(CarveOrder(order.request, order.within, size, order.exact))
        if isinstance(outcome, Denied):
            return Verdict(order.request, outcome)
        self._token += 1
        self._waiting[self._token] = (order.request, outcome.register)
        self._token_of[order.request] = self._token
        return Change(self._token, outcome.puts)

    def _fair_size(self, order: CarveOrder, members: int) -> int:
        """Return what this peer may have at most: its own view of the pool may be old."""
        within = order.within
        pool = self.shard.trie.pool_size(within)
        starter = self._policy.starter_size(
            family=within.family, range_size=within.size, pool_size=pool, members=members
        )
        owned = self.shard.owned_size(within, order.request.peer)
        if not owned:
            return starter
        return self._policy.growth_size(
            owned=owned, starter=starter, pool_size=pool, members=members
        )

    def published(self, token: int) -> Verdict | None:
        """Return the answer that may go out now that its change is durable."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return None
        request, register = waiting
        del self._token_of[request]
        return Verdict(request, register)

    @property
    def waiting(self) -> int:
        """Orders whose change is not durable yet."""
        return len(self._waiting)

    def check(self) -> None:
        """Raise InternalError unless the shard is whole and every wait can be answered."""
        self.shard.check()
        self.check_moved()

    def check_moved(self) -> None:
        """The same, but a trie that was not written since it was found sound is taken as sound."""
        self.shard.check_moved()
        if len(self._waiting) != len(self._token_of):
            raise InternalError("guardian: an order waits twice")
