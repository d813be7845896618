"""Free addresses inside this node's own blocks: the only place where an address is chosen.

Next-fit: the search for a range goes on behind the last address that it gave, so that an
address rests as long as possible before it is used again. Each range that is asked for (a
universe, or a subnet of one) has a view of its own over the same blocks, so that counting
is O(1) and the network and broadcast addresses of each are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from meshcrdt.errors import InternalError
from meshcrdt.ipam.blocks import usable_in
from meshcrdt.ranges import Address, Cidr


class _View:
    """One range over the own blocks: spans of usable numbers, how many are taken, a cursor."""

    __slots__ = ("cursor", "owned", "spans", "taken", "usable")

    def __init__(
        self, cidr: Cidr, bounds: tuple[int, int], blocks: Iterable[Cidr], cursor: int | None
    ) -> None:
        first, end = bounds
        inside = [block for block in blocks if block.overlaps(cidr)]
        spans = [(max(block.network, first), min(block.end, end)) for block in inside]
        self.spans = [(low, high) for low, high in spans if low < high]
        self.owned = sum(min(block.size, cidr.size) for block in inside)
        self.usable = sum(high - low for low, high in self.spans)
        self.taken = 0
        self.cursor = cursor

    def covers(self, number: int) -> bool:
        """Return True when the number is usable here."""
        return any(low <= number < high for low, high in self.spans)


class Space:
    """The own blocks and which of their addresses are taken (in use, or cooling down)."""

    def __init__(self, universes: Iterable[Cidr]) -> None:
        self._universes = tuple(universes)
        self._blocks: dict[Cidr, bool] = {}
        self._taken: set[Address] = set()
        self._views: dict[Cidr, _View] = {}
        self.changes = 0
        """Counts every write to what `check` looks at."""

    # --- blocks ------------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[Cidr, ...]:
        """The own blocks in order, suspended ones included."""
        return tuple(sorted(self._blocks))

    def add(self, block: Cidr) -> None:
        """Take over a block. It must overlap none."""
        if any(block.overlaps(held) for held in self._blocks):
            raise InternalError(f"space: {block} overlaps an own block")
        self.changes += 1
        self._blocks[block] = True
        self._rebuild()

    def suspend(self, block: Cidr) -> bool:
        """Choose nothing from a block any more; returns False when it was so already."""
        if not self._blocks.get(block, False):
            return False
        self.changes += 1
        self._blocks[block] = False
        self._rebuild()
        return True

    def is_suspended(self, block: Cidr) -> bool:
        """Return True for an own block from which nothing is chosen."""
        return not self._blocks.get(block, True)

    def block_of(self, address: Address) -> Cidr | None:
        """Return the own block that holds an address, suspended or not."""
        for block in self._blocks:
            if block.contains_address(*address):
                return block
        return None

    def _rebuild(self) -> None:
        """Make the views anew; blocks change a few times in a node's life."""
        for cidr, old in self._views.items():
            self._views[cidr] = self._make(cidr, old.cursor)

    def _make(self, cidr: Cidr, cursor: int | None) -> _View:
        usable = sorted(block for block, in_use in self._blocks.items() if in_use)
        # A subnet at the edge of its universe shares the universe's network address.
        universe = next((u for u in self._universes if u.contains(cidr)), cidr)
        view = _View(cidr, usable_in(universe, cidr), usable, cursor)
        view.taken = sum(
            1 for family, number in self._taken if family == cidr.family and view.covers(number)
        )
        return view

    def _view(self, cidr: Cidr) -> _View:
        view = self._views.get(cidr)
        if view is None:
            self.changes += 1
            view = self._views[cidr] = self._make(cidr, None)
        return view

    # --- counts ------------------------------------------------------------------------

    def owned(self, cidr: Cidr) -> int:
        """Addresses of a range in own blocks that are not suspended."""
        return self._view(cidr).owned

    def counts(self, cidr: Cidr) -> tuple[int, int]:
        """Return (owned, free) of a range with one look-up."""
        view = self._view(cidr)
        return view.owned, view.usable - view.taken

    def usable(self, cidr: Cidr) -> int:
        """Addresses of a range that workloads can have at all, taken or not."""
        return self._view(cidr).usable

    def free(self, cidr: Cidr) -> int:
        """Addresses of a range that could be given now."""
        view = self._view(cidr)
        return view.usable - view.taken

    # --- addresses ---------------------------------------------------------------------

    def next_free(self, cidr: Cidr) -> Address | None:
        """Return the next free address of a range behind the last one, or None."""
        view = self._view(cidr)
        if view.taken >= view.usable:
            return None
        if view.cursor is None:
            # Begin in the largest block: the small ones were carved for a subnet or a claim.
            view.cursor = max(view.spans, key=lambda span: (span[1] - span[0], -span[0]))[0]
        number = self._search(cidr, view, view.cursor)
        if number is None:
            number = self._search(cidr, view, cidr.network)
        if number is None:
            raise InternalError(f"space: {cidr} counts free addresses but has none")
        view.cursor = number + 1
        return cidr.family, number

    def _search(self, cidr: Cidr, view: _View, start: int) -> int | None:
        family, taken = cidr.family, self._taken
        for low, high in view.spans:
            number = max(low, start)
            while number < high:
                if (family, number) not in taken:
                    return number
                number += 1
        return None

    def is_taken(self, address: Address) -> bool:
        """Return True for an address in use or cooling down."""
        return address in self._taken

    def take(self, address: Address) -> None:
        """Mark an address as taken; it must be free."""
        if address in self._taken:
            raise InternalError(f"space: {address} is taken twice")
        self.changes += 1
        self._taken.add(address)
        self._count(address, 1)

    def give_back(self, address: Address) -> None:
        """Mark an address as free again; it must be taken."""
        if address not in self._taken:
            raise InternalError(f"space: {address} is not taken")
        self.changes += 1
        self._taken.discard(address)
        self._count(address, -1)

    def _count(self, address: Address, change: int) -> None:
        family, number = address
        for cidr, view in self._views.items():
            if cidr.family == family and view.covers(number):
                view.taken += change

    def check(self) -> None:
        """Raise InternalError unless blocks are disjoint and every count is right."""
        blocks = self.blocks
        for low, high in itertools.pairwise(blocks):
            if low.overlaps(high):
                raise InternalError(f"space: own blocks {low} and {high} overlap")
        for address in self._taken:
            if self.block_of(address) is None:
                raise InternalError(f"space: {address} is taken but in no own block")
        for cidr, view in self._views.items():
            fresh = self._make(cidr, view.cursor)
            if (fresh.spans, fresh.taken) != (view.spans, view.taken):
                raise InternalError(f"space: the view of {cidr} is out of step")
