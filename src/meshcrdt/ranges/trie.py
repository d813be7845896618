"""Prefix trie: a map keyed by CIDR blocks, with longest match and sums by subtree.

A path-compressed binary trie (Morrison, PATRICIA, 1968): at most two nodes a block, so
IPv6 costs no 128 levels. Each node carries the sum of a measure over what lies below, so
"how much is free under this block" is one descent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from attrs import frozen

from meshcrdt.errors import InternalError
from meshcrdt.ranges.address import IPV4, IPV6, bits_of
from meshcrdt.ranges.cidr import Cidr

V = TypeVar("V")


@frozen(kw_only=True)
class TrieStatistics:
    """How large a trie is: blocks set, nodes held, and the longest way down in nodes."""

    blocks: int
    nodes: int
    depth: int


class _Node(Generic[V]):
    """One block on the way; `held` is (value,) where the block is set, () where it branches."""

    __slots__ = ("cidr", "count", "held", "lower", "total", "upper")

    def __init__(self, cidr: Cidr, held: tuple[V, ...]) -> None:
        self.cidr = cidr
        self.held = held
        self.lower: _Node[V] | None = None
        self.upper: _Node[V] | None = None
        self.count = 0
        self.total = 0

    def takes_upper(self, cidr: Cidr) -> bool:
        """Return True when a block below this one lies in its upper half."""
        return cidr.network >= self.cidr.network + self.cidr.size // 2

    def child(self, cidr: Cidr) -> _Node[V] | None:
        return self.upper if self.takes_upper(cidr) else self.lower

    def attach(self, node: _Node[V] | None, *, at: Cidr) -> None:
        """Set the child on the side where the block `at` lies."""
        if self.takes_upper(at):
            self.upper = node
        else:
            self.lower = node


class PrefixTrie(Generic[V]):
    """A mutable map from Cidr to values, in canonical block order (widest first).

    Args:
        measure: the weight of one entry, summed by `sum`; by default each weighs 1.
    """

    def __init__(self, measure: Callable[[Cidr, V], int] = lambda _cidr, _value: 1) -> None:
        self._measure = measure
        self._roots: dict[int, _Node[V]] = {}

    def set(self, cidr: Cidr, value: V) -> None:
        """Set the value of exactly this block."""
        path = self._path(cidr)
        if path and path[-1].cidr == cidr:
            path[-1].held = (value,)
        else:
            self._insert(path, _Node(cidr, (value,)))
        self._refresh(path)

    def get(self, cidr: Cidr) -> V | None:
        """Return the value of exactly this block, or None (see `in`)."""
        path = self._path(cidr)
        return path[-1].held[0] if path and path[-1].cidr == cidr and path[-1].held else None

    def delete(self, cidr: Cidr) -> bool:
        """Remove exactly this block; return whether it was there."""
        path = self._path(cidr)
        if not path or path[-1].cidr != cidr or not path[-1].held:
            return False
        path[-1].held = ()
        while path and not path[-1].held and (path[-1].lower is None or path[-1].upper is None):
            self._splice(path)
        self._refresh(path)
        return True

    def longest_match(self, cidr: Cidr) -> tuple[Cidr, V] | None:
        """Return the smallest set block that contains `cidr`, itself included."""
        best = None
        for found in self.covering(cidr):
            best = found
        return best

    def covering(self, cidr: Cidr) -> Iterator[tuple[Cidr, V]]:
        """Yield the set blocks that contain `cidr`, itself included, widest first."""
        for node in self._path(cidr):
            for value in node.held:
                yield node.cidr, value

    def covered(self, cidr: Cidr) -> Iterator[tuple[Cidr, V]]:
        """Yield the set blocks within `cidr`, itself included; do not change meanwhile."""
        top = self._top(cidr)
        return iter(()) if top is None else _walk(top)

    def sum(self, cidr: Cidr) -> int:
        """Return the measure summed over the set blocks within `cidr`; one descent."""
        top = self._top(cidr)
        return 0 if top is None else top.total

    def count(self, cidr: Cidr) -> int:
        """Return the number of set blocks within `cidr`; one descent."""
        top = self._top(cidr)
        return 0 if top is None else top.count

    def items(self) -> Iterator[tuple[Cidr, V]]:
        """Yield every set block in canonical order; do not change meanwhile."""
        for family in (IPV4, IPV6):
            if family in self._roots:
                yield from _walk(self._roots[family])

    def __iter__(self) -> Iterator[Cidr]:
        return (cidr for cidr, _ in self.items())

    def __contains__(self, cidr: Cidr) -> bool:
        path = self._path(cidr)
        return bool(path and path[-1].cidr == cidr and path[-1].held)

    def __len__(self) -> int:
        return sum(root.count for root in self._roots.values())

    def statistics(self) -> TrieStatistics:
        """Return the trie's size; walks every node."""
        nodes = depth = 0
        level = list(self._roots.values())
        while level:
            nodes += len(level)
            depth += 1
            level = [c for node in level for c in (node.lower, node.upper) if c is not None]
        return TrieStatistics(blocks=len(self), nodes=nodes, depth=depth)

    def check(self) -> None:
        """Raise InternalError unless nesting, compression and every sum are right."""
        stack = list(self._roots.values())
        while stack:
            node = stack.pop()
            children = [c for c in (node.lower, node.upper) if c is not None]
            if not node.held and len(children) < 2:
                raise InternalError(f"trie node {node.cidr} neither holds nor branches")
            for child in children:
                nested = node.cidr != child.cidr and node.cidr.contains(child.cidr)
                if not nested or node.child(child.cidr) is not child:
                    raise InternalError(f"trie node {child.cidr} hangs wrongly under {node.cidr}")
            if (node.count, node.total) != self._weighed(node):
                raise InternalError(f"trie node {node.cidr} has a stale sum")
            stack += children

    def _path(self, cidr: Cidr) -> list[_Node[V]]:
        """Return the nodes whose blocks contain `cidr`, widest first."""
        path: list[_Node[V]] = []
        node = self._roots.get(cidr.family)
        while node is not None and node.cidr.contains(cidr):
            path.append(node)
            node = None if node.cidr == cidr else node.child(cidr)
        return path

    def _top(self, cidr: Cidr) -> _Node[V] | None:
        """Return the widest node within `cidr`; everything within hangs under it."""
        path = self._path(cidr)
        if path and path[-1].cidr == cidr:
            return path[-1]
        node = path[-1].child(cidr) if path else self._roots.get(cidr.family)
        return node if node is not None and cidr.contains(node.cidr) else None

    def _insert(self, path: list[_Node[V]], node: _Node[V]) -> None:
        """Hang a new node under the end of `path`, and append what was added to `path`."""
        cidr = node.cidr
        rival = path[-1].child(cidr) if path else self._roots.get(cidr.family)
        above = node
        if rival is not None:
            if not cidr.contains(rival.cidr):
                above = _Node(_shared(cidr, rival.cidr), ())
                above.attach(node, at=cidr)
            above.attach(rival, at=rival.cidr)
        self._hang(path, above, at=cidr)
        path.append(above)
        if above is not node:
            path.append(node)

    def _splice(self, path: list[_Node[V]]) -> None:
        """Take the last node of `path`, which holds nothing, out: its only child moves up."""
        node = path.pop()
        self._hang(path, node.lower if node.upper is None else node.upper, at=node.cidr)

    def _hang(self, path: list[_Node[V]], node: _Node[V] | None, *, at: Cidr) -> None:
        if path:
            path[-1].attach(node, at=at)
        elif node is None:
            del self._roots[at.family]
        else:
            self._roots[at.family] = node

    def _refresh(self, path: list[_Node[V]]) -> None:
        for node in reversed(path):
            node.count, node.total = self._weighed(node)

    def _weighed(self, node: _Node[V]) -> tuple[int, int]:
        count = len(node.held)
        total = sum(self._measure(node.cidr, value) for value in node.held)
        for child in (node.lower, node.upper):
            if child is not None:
                count += child.count
                total += child.total
        return count, total


def _walk(top: _Node[V]) -> Iterator[tuple[Cidr, V]]:
    stack = [top]
    while stack:
        node = stack.pop()
        for value in node.held:
            yield node.cidr, value
        stack += [child for child in (node.upper, node.lower) if child is not None]


def _shared(one: Cidr, other: Cidr) -> Cidr:
    """Return the smallest block around two disjoint blocks of one family."""
    differing = (one.network ^ other.network).bit_length()
    return Cidr.of_address(one.family, one.network, length=bits_of(one.family) - differing)
