"""What this node owns and gives: its blocks, their space, and the allocations in them.

The own durable table is its record. A block counts from the moment its row is stored in the
same transaction as the first thing that depends on it, and no longer when a newer proved
record says otherwise: then nothing new is given from it, and what lives there stays.
"""

from __future__ import annotations

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.ipam.allocations import Allocations, Row
from meshcrdt.ipam.blocks import show
from meshcrdt.ipam.durable import (
    DOUBT_KEY,
    AllocationRow,
    block_key,
    decode_doubt,
    encode_doubt,
    parse_allocation_key,
)
from meshcrdt.ipam.register import Register
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.space import Space
from meshcrdt.ipam.statistics import UniverseStatistics
from meshcrdt.ranges import Address, Cidr


class Holdings:
    """Own blocks and allocations, kept in step with the registry."""

    def __init__(self, me: PeerId, registry: Registry, limits: Limits) -> None:
        self._me = me
        self._registry = registry
        self.space = Space(registry.trie.universes)
        self.allocations = Allocations(self.space, cooldown_s=limits.reuse_cooldown_s)
        self._blocks: dict[Cidr, Register] = {}
        self._doubt: Epoch | None = None
        self._changes = 0
        self._checked_at = -1

    def load_block(self, key: bytes, value: bytes) -> None:
        """Take over the row of a block; raises MalformedTree."""
        register = Register.decode(value)
        if key != block_key(register.cidr):
            raise MalformedTree(f"it holds the block {register.cidr}")
        if any(register.cidr.overlaps(held) for held in self._blocks):
            raise MalformedTree(f"its block {register.cidr} overlaps another")
        self._add(register)

    def load_allocation(self, key: bytes, value: bytes, now: float) -> None:
        """Take over the row of an address, after all blocks; raises MalformedTree."""
        address = parse_allocation_key(key)
        row = AllocationRow.decode(value)
        if self.space.block_of(address) is None:
            raise MalformedTree("its address is in no own block")
        self.allocations.load(address, row, now)

    def load_doubt(self, value: bytes) -> None:
        """Take over the row of a doubt, after all blocks; raises MalformedTree."""
        self._doubt = decode_doubt(value)
        self._suspend_doubted()

    def distrust(self, epoch: Epoch) -> list[Row]:
        """Give nothing more from blocks that runs before `epoch` asked for; returns new rows.

        The store is older than the world, or another instance runs on a copy of it: what was
        given from these blocks may be in use without a row here. What has a row stays, and
        blocks that this run asked for are its own alone.
        """
        if self._doubt is not None and self._doubt >= epoch:
            return []
        self._doubt = epoch
        self._suspend_doubted()
        return [(DOUBT_KEY, encode_doubt(epoch))]

    def _suspend_doubted(self) -> None:
        for register in self._blocks.values():
            if self.is_doubted(register):
                self.space.suspend(register.cidr)

    def is_doubted(self, block: Register) -> bool:
        """Return True for a block whose addresses may be in use without a row here."""
        return (
            self._doubt is not None
            and block.owner is not None
            and (block.owner.epoch < self._doubt)
        )

    def _add(self, register: Register) -> None:
        self._changes += 1
        self.space.add(register.cidr)
        self._blocks[register.cidr] = register
        self._registry.merge_register(register)
        if self.is_doubted(register):
            self.space.suspend(register.cidr)

    def take_block(self, register: Register) -> Row:
        """Own a block from now on; returns its row. It must overlap no own block."""
        self._add(register)
        return block_key(register.cidr), register.encode()

    def overlaps(self, cidr: Cidr) -> bool:
        """Return True when a range shares an address with an own block."""
        return any(held.overlaps(cidr) for held in self._blocks)

    def review(self, changed: Cidr) -> list[Cidr]:
        """Suspend the own blocks that a changed record contradicts; returns the new ones."""
        return [
            block.cidr
            for block in self._blocks.values()
            if block.cidr.overlaps(changed)
            and self._registry.contradicts(block, self._me)
            and self.space.suspend(block.cidr)
        ]

    # --- queries -----------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[Register, ...]:
        """The own blocks in order, with the registers that gave them."""
        return tuple(self._blocks[cidr] for cidr in sorted(self._blocks))

    def lookup(self, workload: str) -> tuple[str, ...]:
        """Return what a workload holds, as "ADDRESS/LENGTH", IPv4 first."""
        held = self.allocations.held(workload)
        return tuple(show(address, held[address]) for address in sorted(held))

    def addresses(self) -> dict[Address, str]:
        """Return every address in use with its workload."""
        return {
            address: workload for workload, held in self.allocations.entries() for address in held
        }

    def universes(self) -> tuple[UniverseStatistics, ...]:
        """Return the counts of each universe."""
        return tuple(
            UniverseStatistics(
                cidr=str(cidr),
                owned=self.space.owned(cidr),
                free=self.space.free(cidr),
                used=self.allocations.used_in(cidr),
                pool=self._registry.trie.pool_size(cidr),
            )
            for cidr in self._registry.trie.universes
        )

    def check(self) -> None:
        """Raise InternalError unless blocks, space and allocations agree."""
        self.allocations.check()
        if set(self._blocks) != set(self.space.blocks):
            raise InternalError("holdings: the space has other blocks than the registers say")
        for register in self._blocks.values():
            owner = register.owner
            if owner is None or owner.peer != self._me:
                raise InternalError(f"holdings: {register.cidr} is held but owned by {owner}")
        self._checked_at = self.changes

    @property
    def changes(self) -> int:
        """A count that grows with every write to what `check` looks at."""
        return self._changes + self.allocations.changes

    def check_moved(self) -> None:
        """The same, but what was not written since it was found sound is taken as sound."""
        if self.changes != self._checked_at:
            self.check()
