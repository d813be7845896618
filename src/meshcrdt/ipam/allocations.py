"""Which workload holds which address: the allocator's durable record.

Every change returns the rows that make it durable. The same workload and subnet always get
the same address (I5); a released address cools down before anyone else may have it, also
across a restart, where the cool-down begins anew because clocks do not survive.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import TypeAlias

from attrs import evolve

from meshcrdt.errors import InternalError
from meshcrdt.ipam.durable import AllocationRow, Use, allocation_key
from meshcrdt.ipam.space import Space
from meshcrdt.ranges import Address, Cidr

Row: TypeAlias = tuple[bytes, bytes | None]


class Allocations:
    """Addresses in use and cooling down, over the space of the own blocks."""

    def __init__(self, space: Space, *, cooldown_s: float) -> None:
        self.space = space
        self._cooldown_s = cooldown_s
        self._rows: dict[Address, AllocationRow] = {}
        self._workloads: dict[str, dict[Address, Cidr]] = {}
        self._subnets: Counter[Cidr] = Counter()
        self._subnet_set: frozenset[Cidr] = frozenset()
        self._cooling: deque[tuple[float, Address]] = deque()
        self._cooling_until: dict[Address, float] = {}
        self._changes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, address: Address, row: AllocationRow, now: float) -> None:
        """Take over one durable row; its block must be there already."""
        self._changes += 1
        self.space.take(address)
        self._rows[address] = row
        if row.use is Use.COOLING:
            self._cool(address, now)
        else:
            self._index(address, row)

    def _index(self, address: Address, row: AllocationRow) -> None:
        self._workloads.setdefault(row.workload, {})[address] = row.subnet
        self._subnets[row.subnet] += 1
        if self._subnets[row.subnet] == 1:
            self._subnet_set = frozenset(self._subnets)

    # --- queries -----------------------------------------------------------------------

    def find(self, workload: str, subnet: Cidr) -> Address | None:
        """Return the address that a workload was given in a subnet, else the lowest it claimed."""
        held = self._workloads.get(workload)
        if not held:
            return None
        mine = (address for address, within in held.items() if within == subnet)
        return min(mine, key=self._claimed_last, default=None)

    def _claimed_last(self, address: Address) -> tuple[bool, Address]:
        return self._rows[address].use is Use.CLAIMED, address

    def row(self, address: Address) -> AllocationRow | None:
        """Return who holds an address, or who held it while it cools down."""
        return self._rows.get(address)

    def cooling_for(self, address: Address, now: float) -> float:
        """Return the seconds that an address still cools down, 0 when it does not."""
        until = self._cooling_until.get(address)
        return 0.0 if until is None else max(0.0, until - now)

    def cooling_in(self, subnet: Cidr) -> int:
        """Return how many addresses of a subnet cool down."""
        return sum(1 for address in self._cooling_until if subnet.contains_address(*address))

    def held(self, workload: str) -> dict[Address, Cidr]:
        """Return the addresses of a workload with the subnets they were asked in."""
        return self._workloads.get(workload, {})

    def entries(self) -> Iterator[tuple[str, dict[Address, Cidr]]]:
        """Yield (workload, addresses with subnets) in the order of ids."""
        for workload in sorted(self._workloads):
            yield workload, self._workloads[workload]

    def used_in(self, cidr: Cidr) -> int:
        """Return how many addresses of a range workloads hold."""
        return sum(
            1
            for address, row in self._rows.items()
            if row.use is not Use.COOLING and cidr.contains_address(*address)
        )

    def subnets(self) -> frozenset[Cidr]:
        """Return every subnet in which a workload holds something; the same object while it is."""
        return self._subnet_set

    @property
    def changes(self) -> int:
        """A count that grows with every write to what `check` looks at."""
        return self._changes + self.space.changes

    # --- changes -----------------------------------------------------------------------

    def give_again(self, address: Address) -> Row | None:
        """Note that allocate gives an address once more; returns the row when that changes it.

        One that was claimed counts as allocated from now on: a later claim of a lower address
        must not change what the workload is given (I5).
        """
        row = self._rows[address]
        if row.use is Use.ALLOCATED:
            return None
        self._changes += 1
        self._rows[address] = evolve(row, use=Use.ALLOCATED)
        return allocation_key(address), self._rows[address].encode()

    def allocate(self, workload: str, subnet: Cidr) -> tuple[Address, Row] | None:
        """Give the workload a free address of the subnet, or return None."""
        address = self.space.next_free(subnet)
        if address is None:
            return None
        return address, self._hold(address, AllocationRow(workload, subnet, Use.ALLOCATED))

    def claim(self, address: Address, workload: str, subnet: Cidr) -> Row:
        """Give the workload this very address, which is free or cools down after it had it."""
        if address in self._cooling_until:
            self._end_cooling(address)
        return self._hold(address, AllocationRow(workload, subnet, Use.CLAIMED))

    def _hold(self, address: Address, row: AllocationRow) -> Row:
        self._changes += 1
        self.space.take(address)
        self._rows[address] = row
        self._index(address, row)
        return allocation_key(address), row.encode()

    def release(self, workload: str, address: Address, now: float) -> Row:
        """Take an address from the workload that holds it; it cools down."""
        self._changes += 1
        held = self._workloads[workload]
        subnet = held.pop(address)
        if not held:
            del self._workloads[workload]
        self._subnets[subnet] -= 1
        if not self._subnets[subnet]:
            del self._subnets[subnet]
            self._subnet_set = frozenset(self._subnets)
        if self._cooldown_s <= 0:
            del self._rows[address]
            self.space.give_back(address)
            return allocation_key(address), None
        row = AllocationRow(workload, subnet, Use.COOLING)
        self._rows[address] = row
        self._cool(address, now)
        return allocation_key(address), row.encode()

    def _cool(self, address: Address, now: float) -> None:
        until = now + self._cooldown_s
        self._cooling.append((until, address))
        self._cooling_until[address] = until

    def _end_cooling(self, address: Address) -> None:
        self._changes += 1
        del self._cooling_until[address]
        del self._rows[address]
        self.space.give_back(address)

    def cooled(self, now: float) -> list[Row]:
        """Free every address that has cooled down; returns the rows to delete."""
        rows: list[Row] = []
        while self._cooling and self._cooling[0][0] <= now:
            until, address = self._cooling.popleft()
            # An entry is void when its address was claimed meanwhile.
            if self._cooling_until.get(address) == until:
                self._end_cooling(address)
                rows.append((allocation_key(address), None))
        return rows

    def next_deadline(self) -> float | None:
        """Return when the next address has cooled down."""
        return self._cooling[0][0] if self._cooling else None

    def check(self) -> None:
        """Raise InternalError unless the indexes agree with the rows."""
        self.space.check()
        indexed = {
            (address, workload) for workload, held in self._workloads.items() for address in held
        }
        in_use = {
            (address, row.workload)
            for address, row in self._rows.items()
            if row.use is not Use.COOLING
        }
        if indexed != in_use:
            raise InternalError("allocations: the index by workload differs from the rows")
        subnets = Counter(s for held in self._workloads.values() for s in held.values())
        if subnets != self._subnets or self._subnet_set != set(subnets):
            raise InternalError("allocations: the count by subnet is wrong")
        cooling = {address for address, row in self._rows.items() if row.use is Use.COOLING}
        if cooling != set(self._cooling_until):
            raise InternalError("allocations: the cool-down list differs from the rows")
        for address in self._rows:
            if not self.space.is_taken(address):
                raise InternalError(f"allocations: {address} is in use but free in the space")
