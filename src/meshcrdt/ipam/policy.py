"""How large a block is: the availability dial of the design, as pure functions.

A starter is the power of two at or below universe/64, at least a small block (/26 in
IPv4, /112 in IPv6), and at most pool / (4 x max(members, 16)): 16,384 addresses in an
empty /12 and 1,024 in a /16, so that the far side of a split never notices. A peer that
outgrows what it owns doubles it, up to pool / (2 x max(members, 4)), so that one busy
host cannot drain the pool before the others come. Never less than one address.
"""

from __future__ import annotations

from attrs import field, frozen, validators

from meshcrdt.base.tree import Tree, take_int, take_tuple


@frozen(kw_only=True)
class BlockPolicy:
    """The block policy that the genesis fixes for the whole cluster."""

    starter_divisor: int = field(default=64, validator=[validators.ge(1), validators.le(1 << 20)])
    members_floor: int = field(default=16, validator=[validators.ge(1), validators.le(1 << 20)])
    small_bits_ipv4: int = field(default=6, validator=[validators.ge(0), validators.le(32)])
    small_bits_ipv6: int = field(default=16, validator=[validators.ge(0), validators.le(128)])

    def small_size(self, family: int) -> int:
        """Addresses in the small block of a family, 4 or 6."""
        return 1 << (self.small_bits_ipv4 if family == 4 else self.small_bits_ipv6)

    def starter_size(self, *, family: int, range_size: int, pool_size: int, members: int) -> int:
        """Addresses of a first block in a range of `range_size`, of which `pool_size` are pool."""
        generous = max(range_size // self.starter_divisor, self.small_size(family))
        fair = pool_size // (4 * max(members, self.members_floor))
        return power_of_two_at_most(min(generous, fair))

    def growth_size(self, *, owned: int, starter: int, pool_size: int, members: int) -> int:
        """Addresses of the next block of a peer that owns `owned` in the range already."""
        fair = pool_size // (2 * max(members, 4))
        return power_of_two_at_most(min(max(owned, starter), fair))

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (
            self.starter_divisor,
            self.members_floor,
            self.small_bits_ipv4,
            self.small_bits_ipv6,
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> BlockPolicy:
        """Read a tree from outside; raises MalformedTree."""
        divisor, floor, bits4, bits6 = take_tuple(tree, "block policy", size=4)
        return cls(
            starter_divisor=take_int(divisor, "starter divisor", low=1, high=1 << 20),
            members_floor=take_int(floor, "members floor", low=1, high=1 << 20),
            small_bits_ipv4=take_int(bits4, "small bits ipv4", high=32),
            small_bits_ipv6=take_int(bits6, "small bits ipv6", high=128),
        )


def power_of_two_at_most(value: int) -> int:
    """Return the greatest power of two at or below `value`, and 1 for anything below 1."""
    return 1 << (max(value, 1).bit_length() - 1)
