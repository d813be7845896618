"""The desk where address calls wait: each ends in exactly one outcome, by its deadline.

A call is tried at once and again whenever something changed; one that cannot be served
never holds up another. What is missing is returned as a Need, which the machine turns into
a carve at the guardian of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from attrs import field, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.ipam.allocations import Allocations, Row
from meshcrdt.ipam.blocks import parse_claim, show, single, usable_bounds, usable_in
from meshcrdt.ipam.durable import WORKLOAD_BYTES_MAX, Use
from meshcrdt.ipam.outcomes import (
    Allocated,
    Claimed,
    Exhausted,
    Frozen,
    Outcome,
    Refused,
)
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.shard import Denial, Denied
from meshcrdt.ranges import Address, Cidr, format_address


@frozen
class Pending:
    """One call that waits. `address` is set for a claim."""

    request: int
    workload: str
    subnet: Cidr
    address: Address | None
    deadline: float


@frozen
class Need:
    """A block is missing: somewhere in `within`, or the one that covers `exact`."""

    within: Cidr
    exact: Cidr | None = None


@frozen
class Served:
    """What one pass over the waiting calls gave."""

    answers: list[tuple[int, Outcome]] = field(factory=list)
    rows: list[Row] = field(factory=list)
    needs: dict[Need, None] = field(factory=dict)
    """Each need once, in the order in which it was met: thousands of calls may wait."""


Attempt: TypeAlias = Outcome | Need


class Desk:
    """Reads calls, serves them from the own blocks, and remembers the ones that wait."""

    def __init__(
        self, me: PeerId, registry: Registry, allocations: Allocations, limits: Limits
    ) -> None:
        self._me = me
        self._registry = registry
        self._allocations = allocations
        self._limits = limits
        self._pending: dict[int, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    # --- reading calls: local misuse raises here, before anything changed ----------------

    def check_workload(self, workload: str) -> None:
        """Raise UsageError unless `workload` can be an id."""
        if not isinstance(workload, str) or not workload:
            raise UsageError(f"{workload!r} is not a workload id: non-empty text is accepted")
        if len(workload.encode(errors="surrogatepass")) > WORKLOAD_BYTES_MAX:
            raise UsageError(
                f"workload id {workload[:40]!r}... is longer than {WORKLOAD_BYTES_MAX} bytes"
            )
        if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in workload):
            raise UsageError(f"{workload!r} is not a workload id: it has control characters")

    def subnet_of(self, text: str | None) -> Cidr:
        """Return the range that an allocate asks for; raises UsageError naming the text."""
        universes = self._registry.trie.universes
        if text is None:
            return universes[0]
        subnet = Cidr.parse(text)
        universe = self._registry.trie.universe_of(subnet)
        if universe is None:
            raise UsageError(f"subnet {subnet} is in no universe: {self.universes} is accepted")
        first, end = usable_in(universe, subnet)
        if first >= end:
            raise UsageError(f"subnet {subnet} holds only the network or broadcast of {universe}")
        return subnet

    @property
    def universes(self) -> str:
        """The universes as one text for messages."""
        return ", ".join(str(cidr) for cidr in self._registry.trie.universes)

    def claim_of(self, text: str) -> tuple[Address, Cidr] | Refused:
        """Return address and subnet of a claim, or why nobody could ever have it."""
        address, subnet = parse_claim(text)
        shown = format_address(*address)
        universe = self._registry.trie.universe_of(single(address))
        if universe is None:
            return Refused(f"{shown} is in no universe of this cluster: {self.universes}")
        if subnet is None:
            subnet = universe
        elif not universe.contains(subnet):
            raise UsageError(f"{text!r} names subnet {subnet}, which is not inside {universe}")
        for cidr in (universe, subnet):
            first, end = usable_bounds(cidr)
            if not first <= address[1] < end:
                return Refused(f"{shown} is the network or broadcast address of {cidr}")
        return address, subnet

    def add(self, pending: Pending) -> None:
        """Take a call; raises CapacityError or UsageError with nothing changed."""
        if len(self._pending) >= self._limits.allocate_pending_max:
            raise CapacityError(
                f"{len(self._pending)} address calls wait:"
                f" allocate_pending_max is {self._limits.allocate_pending_max}"
            )
        if pending.request in self._pending:
            raise UsageError(f"request {pending.request} is under way already")
        self._pending[pending.request] = pending

    # --- serving -----------------------------------------------------------------------

    def serve(self, now: float) -> Served:
        """Try every waiting call once."""
        served = Served()
        full: set[Cidr] = set()
        for pending in list(self._pending.values()):
            if pending.address is None:
                attempt = self._allocate(pending, served.rows, full)
            else:
                attempt = self._claim(pending, pending.address, served.rows, now)
            if isinstance(attempt, Need):
                served.needs[attempt] = None
                continue
            del self._pending[pending.request]
            served.answers.append((pending.request, attempt))
        return served

    def _allocate(self, pending: Pending, rows: list[Row], full: set[Cidr]) -> Attempt:
        allocations, subnet = self._allocations, pending.subnet
        address = allocations.find(pending.workload, subnet)
        if address is not None:
            changed = allocations.give_again(address)
            if changed is not None:
                rows.append(changed)
            return Allocated(show(address, subnet))
        at_limit = self._at_limit()
        if at_limit is not None:
            return at_limit
        given = None if subnet in full else allocations.allocate(pending.workload, subnet)
        if given is None:
            full.add(subnet)
            return Need(subnet)
        address, row = given
        rows.append(row)
        return Allocated(show(address, subnet))

    def _claim(self, pending: Pending, address: Address, rows: list[Row], now: float) -> Attempt:
        allocations, shown = self._allocations, format_address(*address)
        row = allocations.row(address)
        if row is not None and row.use is not Use.COOLING:
            if row.workload != pending.workload:
                return Refused(f"{shown} is in use by {row.workload}", row.workload)
            return Claimed(show(address, row.subnet))
        if row is not None and row.workload != pending.workload:
            rest_s = allocations.cooling_for(address, now)
            return Refused(f"{shown} was released and cools down for {rest_s:.0f} s more")
        at_limit = self._at_limit() if row is None else None
        block = allocations.space.block_of(address)
        if block is not None and not allocations.space.is_suspended(block):
            if at_limit is not None:
                return at_limit
            rows.append(allocations.claim(address, pending.workload, pending.subnet))
            return Claimed(show(address, pending.subnet))
        exact = single(address)
        if block is not None or self._registry.is_frozen(exact):
            return Frozen(f"{shown} is in a range with conflicting owners, or with a doubted past")
        owner = self._registry.owner(address)
        if owner is not None and owner != self._me:
            return Refused(f"{shown} is in a block of peer {owner}", owner.hex())
        return at_limit or Need(*self.need_of(pending))

    def _at_limit(self) -> Exhausted | None:
        """Return the outcome of a call that wants one row more than this node may hold."""
        held, held_max = len(self._allocations), self._limits.allocations_max
        if held < held_max:
            return None
        return Exhausted(
            f"this node holds {held} addresses, those that cool down included:"
            f" allocations_max is {held_max}"
        )

    # --- endings -----------------------------------------------------------------------

    def _end(self, chosen: Iterable[Pending]) -> list[Pending]:
        ended = list(chosen)
        for pending in ended:
            del self._pending[pending.request]
        return ended

    def need_of(self, pending: Pending) -> tuple[Cidr, Cidr | None]:
        """Return range and address of the request that would serve a call."""
        if pending.address is None:
            return pending.subnet, None
        exact = single(pending.address)
        return self._registry.trie.universe_of(exact) or pending.subnet, exact

    def waiting_for(self, need: Need) -> list[Pending]:
        """Return the calls that a block of this kind would serve."""
        wanted = (need.within, need.exact)
        return [p for p in self._pending.values() if self.need_of(p) == wanted]

    def deny(self, need: Need, denied: Denied) -> list[tuple[int, Outcome]]:
        """End the calls that the guardian's definite no concerns."""
        return [
            (pending.request, self._denial(pending, denied))
            for pending in self._end(self.waiting_for(need))
        ]

    def _denial(self, pending: Pending, denied: Denied) -> Outcome:
        if denied.denial is Denial.FROZEN and denied.holder == self._me:
            return Frozen(
                "this peer signed two headers for one place: a copy of it runs, and the "
                "guardian gives it nothing before it has another epoch"
            )
        if denied.denial is Denial.FROZEN:
            return Frozen(f"{pending.subnet} has conflicting owners and nothing else is free")
        if pending.address is None:
            return Exhausted(self._exhausted(pending.subnet))
        shown = format_address(*pending.address)
        if denied.holder is None:
            return Refused(f"{shown} cannot be had from the pool")
        if denied.holder == self._me:
            return Refused(f"{shown} is in a block of this peer that no longer counts as held")
        return Refused(f"{shown} is in a block of peer {denied.holder}", denied.holder.hex())

    def _exhausted(self, subnet: Cidr) -> str:
        usable = self._allocations.space.usable(subnet)
        cooling = self._allocations.cooling_in(subnet)
        rest = f", {cooling} of them cooling down" if cooling else ""
        return (
            f"{subnet} is full: all {usable} addresses that this node owns of it are taken"
            f"{rest}, and the pool has none left"
        )

    def cancel(self, workload: str, address: Address | None = None) -> list[int]:
        """End the calls of a workload, or only its claims of one address; returns the requests."""
        ended = self._end(
            pending
            for pending in list(self._pending.values())
            if pending.workload == workload and address in (None, pending.address)
        )
        return [pending.request for pending in ended]

    def cancel_all(self) -> list[int]:
        """End every call; returns the requests."""
        return [pending.request for pending in self._end(self._pending.values())]

    def expire(
        self, now: float, explain: Callable[[Pending], Outcome]
    ) -> list[tuple[int, Outcome]]:
        """End every call whose deadline has passed."""
        late = self._end([p for p in self._pending.values() if p.deadline <= now])
        return [(pending.request, explain(pending)) for pending in late]

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of a waiting call."""
        return min((pending.deadline for pending in self._pending.values()), default=None)
