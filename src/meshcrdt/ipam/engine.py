"""The inner steps of the IPAM machine: serve what waits, ask for what is missing, take blocks.

`ipam.py` is the door that calls them; here is the one place where a call, a block and a
verdict of the guardian meet. A node that is its own guardian takes the same steps, only
without a message between them.
"""

from __future__ import annotations

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.blocks import single
from meshcrdt.ipam.carves import Carve
from meshcrdt.ipam.desk import Desk, Need, Pending
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.growth import Growth
from meshcrdt.ipam.guardian import Change, LoneGuardian, Verdict
from meshcrdt.ipam.holdings import Holdings
from meshcrdt.ipam.messages import CarvedMessage, CarveMessage, DeniedMessage
from meshcrdt.ipam.outcomes import Outcome, Recovering, TimedOut, Unreachable
from meshcrdt.ipam.outputs import Publish, ToPeer
from meshcrdt.ipam.register import Register, RequestId
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.shard import CarveOrder, Denial, Denied
from meshcrdt.ipam.turn import Turn
from meshcrdt.ranges import Cidr


class Engine:
    """The parts of one node's IPAM and the steps between them; outputs collect in `turn`."""

    def __init__(
        self,
        *,
        me: PeerId,
        genesis: Genesis,
        epoch: Epoch,
        limits: Limits,
        dice: Dice,
        memo: Memo = NO_MEMO,
    ) -> None:
        self.me = me
        self.run_epoch = epoch
        self._limits = limits
        self.registry = Registry(genesis, me, memo)
        self.holdings = Holdings(me, self.registry, limits)
        self.desk = Desk(me, self.registry, self.holdings.allocations, limits)
        self.growth = Growth(
            me=me,
            epoch=epoch,
            genesis=genesis,
            registry=self.registry,
            space=self.holdings.space,
            limits=limits,
            dice=dice,
        )
        self.two_faced: dict[PeerId, Epoch] = {}
        """Up to which epoch a peer's requests are refused; see `Ipam.two_faced`."""
        self.guardian: LoneGuardian | None = None
        self.guardian_id = genesis.guardians[0]
        self.is_ready = False
        self.is_draining = False
        self.turn = Turn()
        self._ranges = tuple(sorted(genesis.ranges))
        self._subnets_seen: frozenset[Cidr] = frozenset()

    def progress(self, now: float) -> None:
        """Serve what can be served, ask for what is missing, end what is late."""
        if self.is_ready:
            self._serve(now)
            if not self.is_draining:
                self._grow(now)
                for carve in self.growth.carves.due(now):
                    # A verdict of our own guardian may have settled it in this very loop.
                    if self.growth.carves.get(carve.request) is carve:
                        self._send(carve, now)
        for request, outcome in self.desk.expire(now, self._why_late):
            self.turn.answer(request, outcome)

    def _serve(self, now: float) -> None:
        served = self.desk.serve(now)
        self.turn.rows(served.rows)
        for request, outcome in served.answers:
            self.turn.answer(request, outcome)
        for need in served.needs:
            carve = self.growth.need(need, now)
            if carve is not None:
                self.turn.rows([carve.stored])

    def _grow(self, now: float) -> None:
        """Ask ahead of need, in every universe and in the subnets that workloads use."""
        self.growth.wake(now)
        subnets = self.holdings.allocations.subnets()
        if subnets is not self._subnets_seen:
            self._subnets_seen = subnets
            self._ranges = tuple(sorted({*self.registry.trie.universes, *subnets}))
        for within in self._ranges:
            carve = self.growth.ahead(within, now)
            if carve is not None:
                self.turn.rows([carve.stored])

    def _send(self, carve: Carve, now: float) -> None:
        """Ask the guardian, which may be this very node."""
        if self.me == self.guardian_id:
            self.order(carve.message, now)
            return
        deadline = now + self._limits.unicast_timeout_s
        self.turn.output(ToPeer(self.guardian_id, carve.message.to_tree(), deadline))

    def order(self, message: CarveMessage, now: float) -> None:
        """Take an order as the guardian."""
        if self.guardian is None:
            # Said only by a guardian that is still loading; others are not asked.
            if self.me == self.guardian_id:
                self.deliver(Verdict(message.request, Denied(Denial.RECOVERING)), now)
            return
        request = message.request
        if request.peer in self.two_faced and request.epoch <= self.two_faced[request.peer]:
            self.deliver(Verdict(request, Denied(Denial.FROZEN, request.peer)), now)
            return
        order = CarveOrder(message.request, message.within, 1 << message.size_bits, message.exact)
        result = self.guardian.order(order, members=self.growth.members)
        if isinstance(result, Change):
            self.turn.output(Publish(result.token, result.puts))
        elif result is not None:
            self.deliver(result, now)

    def deliver(self, verdict: Verdict, now: float) -> None:
        """Bring the guardian's verdict to the peer that asked, or to this node itself."""
        request, result = verdict.request, verdict.result
        if request.peer == self.me:
            if isinstance(result, Denied):
                self.denied(request, result, now)
            else:
                self.take_block(result, now)
            return
        message: CarvedMessage | DeniedMessage
        if isinstance(result, Denied):
            message = DeniedMessage(request, result.denial, result.holder)
        else:
            message = CarvedMessage(request, result.encode())
        deadline = now + self._limits.unicast_timeout_s
        self.turn.output(ToPeer(request.peer, message.to_tree(), deadline))

    def carved(self, message: CarvedMessage, now: float) -> None:
        """Take a block from the guardian's answer; the proof counts, not who sent it."""
        try:
            register = Register.decode(message.register)
        except MalformedTree as error:
            self.turn.notice("warning", f"ipam answer refused: {error}")
            return
        if self.growth.carves.get(message.request) is None:
            return
        fault = self.registry.merge_register(register).fault
        if fault is not None:
            self.turn.notice("warning", f"ipam answer refused: {fault}")
            return
        self.take_block(register, now)

    def take_block(self, register: Register, now: float) -> None:
        """Own a proved block that answers an open request, and go on with it."""
        request, owner = register.request, register.owner
        carve = None if request is None else self.growth.carves.get(request)
        if carve is None or owner is None or owner.peer != self.me:
            return
        if owner.epoch != carve.request.epoch or self.holdings.overlaps(register.cidr):
            self.turn.notice("alarm", f"the block {register.cidr} does not fit its request")
            return
        if self.registry.contradicts(register, self.me):
            return
        self.turn.rows(
            [self.holdings.take_block(register), (self.growth.carves.settle(carve), None)]
        )
        self.progress(now)

    def denied(self, request: RequestId, denied: Denied, now: float) -> None:
        """Take the guardian's no. Only a definite one ends the request."""
        carve = self.growth.carves.get(request)
        if carve is None:
            return
        if denied.denial is Denial.RECOVERING:
            carve.put_off()
            return
        if denied.denial is Denial.STALE:
            # Says nothing about the range; asked anew at once it could be refused for ever.
            forgotten, renewed = self.growth.carves.renew(carve, now)
            self.turn.rows([(forgotten, None), renewed.stored])
            return
        self.turn.rows([(self.growth.carves.settle(carve), None)])
        need = Need(carve.row.within, carve.row.exact)
        if need.exact is None:
            self.growth.rest(need.within, now)
        for answered, outcome in self.desk.deny(need, denied):
            self.turn.answer(answered, outcome)
        self.progress(now)

    def _why_late(self, pending: Pending) -> Outcome:
        """Return the outcome of a call whose deadline has passed."""
        if not self.is_ready:
            return Recovering("this node is still loading its state")
        carve = self.growth.carves.find(*self.desk.need_of(pending))
        if carve is not None and carve.is_put_off:
            return Recovering(f"the guardian {self.guardian_id} is still loading its state")
        if self.me == self.guardian_id or carve is None:
            return TimedOut(f"no address of {pending.subnet} came free in time")
        trouble = f": {carve.trouble}" if carve.trouble else ""
        wanted = pending.subnet if pending.address is None else single(pending.address)
        return Unreachable(
            f"this node owns nothing free of {wanted},"
            f" and the guardian {self.guardian_id} did not answer{trouble}"
        )
