"""Sets of addresses as sorted disjoint ranges, with exact set arithmetic.

Inside, each family is one flat tuple of boundaries: an address is in the set when an odd
number of boundaries lie at or below it. Every operation is one sweep over two such
tuples, O(n + m), and adjacent ranges melt by themselves, so the form is canonical.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

from meshcrdt.errors import InternalError
from meshcrdt.ranges.address import bits_of
from meshcrdt.ranges.cidr import Cidr
from meshcrdt.ranges.spans import AddressRange

_Bounds: TypeAlias = tuple[int, ...]
_Rule: TypeAlias = Callable[[bool, bool], bool]


class RangeSet:
    """An immutable set of IPv4 and IPv6 addresses. Equal sets are equal values.

    Args:
        items: ranges, blocks and sets, which may overlap.
    """

    __slots__ = ("_bounds",)

    _bounds: dict[int, _Bounds]

    def __init__(self, items: Iterable[AddressRange | Cidr] = ()) -> None:
        grouped: dict[int, list[tuple[int, int]]] = {}
        for item in items:
            start = item.network if isinstance(item, Cidr) else item.start
            grouped.setdefault(item.family, []).append((start, item.end))
        self._bounds = {family: _melted(grouped[family]) for family in sorted(grouped)}

    @classmethod
    def _make(cls, bounds: dict[int, _Bounds]) -> RangeSet:
        made = cls()
        made._bounds = bounds
        return made

    def union(self, other: RangeSet) -> RangeSet:
        """Return the addresses in either set."""
        return self._combined(other, lambda mine, theirs: mine or theirs)

    def intersect(self, other: RangeSet) -> RangeSet:
        """Return the addresses in both sets."""
        return self._combined(other, lambda mine, theirs: mine and theirs)

    def subtract(self, other: RangeSet) -> RangeSet:
        """Return the addresses of this set that are not in `other`."""
        return self._combined(other, lambda mine, theirs: mine and not theirs)

    __or__ = union
    __and__ = intersect
    __sub__ = subtract

    def contains_address(self, family: int, number: int) -> bool:
        """Return True when the address is in the set; O(log n)."""
        return bisect_right(self._bounds.get(family, ()), number) % 2 == 1

    def contains(self, item: AddressRange | Cidr) -> bool:
        """Return True when every address of a range or block is in the set; O(log n)."""
        bounds = self._bounds.get(item.family, ())
        start = item.network if isinstance(item, Cidr) else item.start
        place = bisect_right(bounds, start)
        return place % 2 == 1 and item.end <= bounds[place]

    def __contains__(self, item: AddressRange | Cidr) -> bool:
        return self.contains(item)

    def leq(self, other: RangeSet) -> bool:
        """Return True for a subset."""
        return not self.subtract(other)

    @property
    def size(self) -> int:
        """The number of addresses (may exceed what `len` can say)."""
        return sum(end - start for _, start, end in self._triples())

    def cidrs(self) -> Iterator[Cidr]:
        """Yield the fewest blocks that cover exactly this set, in order."""
        for span in self:
            yield from span.cidrs()

    def _triples(self) -> Iterator[tuple[int, int, int]]:
        for family, bounds in self._bounds.items():
            for place in range(0, len(bounds), 2):
                yield family, bounds[place], bounds[place + 1]

    def _combined(self, other: RangeSet, rule: _Rule) -> RangeSet:
        bounds: dict[int, _Bounds] = {}
        for family in sorted(self._bounds.keys() | other._bounds.keys()):
            swept = _swept(self._bounds.get(family, ()), other._bounds.get(family, ()), rule)
            if swept:
                bounds[family] = swept
        return self._make(bounds)

    def check(self) -> None:
        """Raise InternalError unless boundaries rise strictly, in pairs, within the family."""
        for family, bounds in self._bounds.items():
            rising = all(low < high for low, high in pairwise(bounds))
            if not bounds or len(bounds) % 2 or not rising:
                raise InternalError(f"range set boundaries of IPv{family} are not canonical")
            if bounds[0] < 0 or bounds[-1] > 1 << bits_of(family):
                raise InternalError(f"range set leaves IPv{family}")

    def __iter__(self) -> Iterator[AddressRange]:
        for family, start, end in self._triples():
            yield AddressRange(family, start, end)

    def __len__(self) -> int:
        """Return the number of ranges, not of addresses (see `size`)."""
        return sum(map(len, self._bounds.values())) // 2

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._bounds == other._bounds

    def __hash__(self) -> int:
        return hash(tuple(self._triples()))

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(span.text for span in self)})"


def _melted(pairs: list[tuple[int, int]]) -> _Bounds:
    """Return the boundaries of a union of (start, end) pairs."""
    bounds: list[int] = []
    for start, end in sorted(pairs):
        if bounds and start <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (start, end)
    return tuple(bounds)


def _swept(mine: _Bounds, theirs: _Bounds, rule: _Rule) -> _Bounds:
    """Return the boundaries at which `rule(in mine, in theirs)` changes; rule(F, F) is False."""
    bounds: list[int] = []
    left = right = 0
    inside = False
    while left < len(mine) or right < len(theirs):
        if right == len(theirs) or (left < len(mine) and mine[left] <= theirs[right]):
            at = mine[left]
        else:
            at = theirs[right]
        left += left < len(mine) and mine[left] == at
        right += right < len(theirs) and theirs[right] == at
        if rule(left % 2 == 1, right % 2 == 1) != inside:
            inside = not inside
            bounds.append(at)
    return tuple(bounds)
