"""The IP-range CRDT: registers at the nodes of a binary trie of CIDRs, and who owns what.

State = one register per node; join = the join of each register. A register counts only
while its parent is SPLIT and its link names the parent's birth stamp (rule 9), so that any
subset of the deltas, in any order, credits a range to nobody who never held it (I11): what
misses an ancestor is credited to nobody, and a superseded subtree falls off with the
birth of its root. The universes need no record: the genesis says that they are pool.

Ranges are explicit at every node, so nothing depends on a neighbour's record; that was the
root of most losses of the token ring that this replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from meshcrdt.ipam.register import BOTTOM_STAMP, Kind, Register, Stamp, join
from meshcrdt.ranges import Cidr


@frozen
class Leaf:
    """One counting leaf; `register` is None where the record that says more is not here yet."""

    cidr: Cidr
    register: Register | None


def universe_register(cidr: Cidr) -> Register:
    """Return the register that a universe has before the first write: all pool."""
    return Register(
        cidr=cidr, birth=BOTTOM_STAMP, stamp=BOTTOM_STAMP, parent_birth=None, kind=Kind.POOL
    )


class Trie:
    """Joined registers of all universes. Joining is the only way to change it."""

    def __init__(self, universes: Iterable[Cidr]) -> None:
        self.universes = tuple(universes)
        self._registers: dict[Cidr, Register] = {
            cidr: universe_register(cidr) for cidr in self.universes
        }
        self.changes = 0
        """Counts the joins that changed a register."""
        # Walks need the halves of the same ranges again and again.
        self._halves: dict[Cidr, tuple[Cidr, ...]] = {}

    def __len__(self) -> int:
        return len(self._registers)

    @property
    def registers(self) -> Mapping[Cidr, Register]:
        """Every register by its range, also those that do not count."""
        return self._registers

    def copy(self) -> Trie:
        """Return an independent trie with the same registers."""
        other = Trie(self.universes)
        other._registers = dict(self._registers)
        return other

    def join(self, register: Register) -> Register | None:
        """Join one proved register; returns what the node held before, None when nothing changed.

        A register outside every universe, or in the place of one with a parent, is ignored:
        it can never count.
        """
        cidr = register.cidr
        is_root = cidr in self.universes
        if is_root == (register.parent_birth is not None) or self.universe_of(cidr) is None:
            return None
        held = self._registers.get(cidr)
        if held is None:
            self.changes += 1
            self._registers[cidr] = register
            return register
        joined = join(held, register)
        if joined == held:
            return None
        self.changes += 1
        self._registers[cidr] = joined
        return held

    def get(self, cidr: Cidr) -> Register | None:
        """Return the register of exactly this range, counting or not."""
        return self._registers.get(cidr)

    def universe_of(self, cidr: Cidr) -> Cidr | None:
        """Return the universe that contains a range, or None."""
        for universe in self.universes:
            if universe.contains(cidr):
                return universe
        return None

    def newest_stamp(self) -> Stamp:
        """Return the highest stamp of all registers: that of the shard, for a lone guardian."""
        return max(register.stamp for register in self._registers.values())

    def _children(self, node: Register) -> tuple[Leaf, ...]:
        """Return both halves of a node that is divided, or nothing for a leaf.

        An owned block is divided where its owner granted portable parts of it (place > 0):
        such records link to the block and leave its own register alone. Every division
        writes both halves, so a half without a counting record is one that is not here yet.
        """
        if node.kind not in (Kind.SPLIT, Kind.OWN):
            return ()
        found = []
        halves = self._halves.get(node.cidr)
        if halves is None:
            halves = self._halves[node.cidr] = node.cidr.children or ()
        for half in halves:
            child = self._registers.get(half)
            if child is not None and child.parent_birth != node.birth:
                child = None
            if child is not None and node.kind is Kind.OWN and child.stamp.place == 0:
                child = None
            found.append(Leaf(half, child))
        if node.kind is Kind.OWN and all(leaf.register is None for leaf in found):
            return ()
        return tuple(found)

    def leaf_at(self, cidr: Cidr) -> Leaf | None:
        """Return the counting leaf that contains a range, or the divided node that equals it.

        None when the range is in no universe.
        """
        universe = self.universe_of(cidr)
        if universe is None:
            return None
        leaf = Leaf(universe, self._registers[universe])
        while leaf.register is not None and leaf.cidr != cidr:
            children = self._children(leaf.register)
            inner = next((child for child in children if child.cidr.contains(cidr)), None)
            if inner is None:
                return leaf
            leaf = inner
        return leaf

    def leaves(self, within: Cidr | None = None) -> Iterator[Leaf]:
        """Yield the counting leaves in order of addresses: of all universes, or of one range.

        For a range inside a leaf that is this one leaf.
        """
        if within is None:
            for universe in self.universes:
                yield from self._walk(Leaf(universe, self._registers[universe]))
            return
        top = self.leaf_at(within)
        if top is not None:
            yield from self._walk(top)

    def pool_leaves(self, within: Cidr) -> list[Cidr]:
        """Return the pool leaves in or around a range, in order of addresses."""
        return [
            leaf.cidr
            for leaf in self.leaves(within)
            if leaf.register is not None and leaf.register.kind is Kind.POOL
        ]

    def pool_size(self, within: Cidr) -> int:
        """Return how many addresses of a range are pool, as far as the records here say."""
        return sum(min(leaf.size, within.size) for leaf in self.pool_leaves(within))

    def _walk(self, top: Leaf) -> Iterator[Leaf]:
        """Yield the leaves under a counting node, without recursion: IPv6 is deep."""
        stack = [top]
        while stack:
            leaf = stack.pop()
            children = () if leaf.register is None else self._children(leaf.register)
            if children:
                stack.extend(reversed(children))
            else:
                yield leaf
