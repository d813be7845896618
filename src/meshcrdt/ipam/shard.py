"""The lone guardian's shard: every change is a compare-and-set on one durable sequence.

The guardian stages a change on top of all staged before, publishes it, and answers only
when it is durable; staged changes become durable in their order, so a crash loses a tail
that nobody was told of. A division writes every child. Each request is remembered with its
block, so a retried carve, also one that comes after a restart, gets the same block (I5,
rule 2). What more guardians, attach, return, grant and evict add goes beside `carve`: they
name the exact stamp of the record that they replace and then write through `_write`.

A lone guardian cannot detect that its own store was rolled back: a stated risk (rule 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from attrs import evolve, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.ipam.blocks import block_around, first_block, last_block
from meshcrdt.ipam.durable import ledger_key, register_key
from meshcrdt.ipam.genesis import GENESIS_SET_VERSION, Genesis
from meshcrdt.ipam.ledger import Ledger, join_ledgers
from meshcrdt.ipam.proofs import sign_value, store_nonce
from meshcrdt.ipam.register import Ballot, Cause, Kind, Owner, Register, RequestId, Stamp
from meshcrdt.ipam.trie import Trie
from meshcrdt.ranges import Cidr
from meshcrdt.trust.identity import Identity

Puts: TypeAlias = tuple[tuple[bytes, bytes | None], ...]


RECORDS_MAX = 32_768
"""Registers and ledgers of a shard: half the keys that one stream may hold, so that whoever
asks for one address at a time meets a refusal, and the guardian never a full stream."""


class Denial(Enum):
    """Why a carve is not done; the numbers are those of the wire."""

    EXHAUSTED = 1
    OWNED = 2
    FROZEN = 3
    STALE = 4
    RECOVERING = 5
    INVALID = 6


@frozen
class CarveOrder:
    """What a peer asks for: a block of `size` addresses within `within`.

    `exact`, where given, is an address (a range of one) that the block must cover.
    """

    request: RequestId
    within: Cidr
    size: int
    exact: Cidr | None = None


@frozen
class Carved:
    """The block of a request. `puts` is empty when the request had been granted before."""

    register: Register
    puts: Puts = ()


@frozen
class Denied:
    """Nothing was changed; `holder` is the owner in the way, for OWNED."""

    denial: Denial
    holder: PeerId | None = None


class Shard:
    """The state that a lone guardian serves: its trie and its ledgers, staged changes included."""

    def __init__(
        self, identity: Identity, genesis: Genesis, trie: Trie, ledgers: Iterable[Ledger]
    ) -> None:
        """Open the shard on what its own durable stream says; takes over `trie`."""
        self._identity = identity
        self._genesis = genesis
        self.trie = trie
        self.ledgers = {ledger.peer: ledger for ledger in ledgers}
        self._checked_at = -1
        self._stamp = max(
            [trie.newest_stamp(), *(ledger.stamp for ledger in self.ledgers.values())]
        )

    def merge(self, register: Register) -> None:
        """Join a register that another copy of this stream remembers; only forward (rollback)."""
        self.trie.join(register)
        self._stamp = max(self._stamp, register.stamp)

    def merge_ledger(self, ledger: Ledger) -> None:
        """Join a ledger that another copy of this stream remembers."""
        held = self.ledgers.get(ledger.peer)
        self.ledgers[ledger.peer] = ledger if held is None else join_ledgers(held, ledger)
        self._stamp = max(self._stamp, ledger.stamp)

    def known(self, request: RequestId) -> Register | Denied | None:
        """Return what a request was given already, or that it is too old; None for a new one."""
        ledger = self.ledgers.get(request.peer)
        if ledger is None:
            return None
        cidr = ledger.find(request)
        if cidr is None:
            return Denied(Denial.STALE) if ledger.is_stale(request) else None
        register = self.trie.get(cidr)
        if register is None or register.request != request:
            return Denied(Denial.STALE)
        return register

    def carve(self, order: CarveOrder) -> Carved | Denied:
        """Carve a block out of the pool and stage it, or find the one of the same request.

        Where no block of the wanted size is left, the largest smaller one is given.
        """
        known = self.known(order.request)
        if known is not None:
            return known if isinstance(known, Denied) else Carved(known)
        ledger = self.ledgers.get(order.request.peer) or Ledger(order.request.peer)
        if len(self.trie) + len(self.ledgers) >= RECORDS_MAX:
            return Denied(Denial.EXHAUSTED)
        if order.exact is not None:
            return self._carve_exact(order, ledger, order.exact)
        place = self._best_fit(order)
        if place is None:
            return Denied(self._why_none(order.within))
        leaf, target = place
        return self._divide(order, ledger, leaf, target)

    def owned_size(self, within: Cidr, peer: PeerId) -> int:
        """Return how many addresses of a range a peer owns."""
        return sum(
            min(leaf.cidr.size, within.size)
            for leaf in self.trie.leaves(within)
            if leaf.register is not None
            and leaf.register.owner is not None
            and leaf.register.owner.peer == peer
        )

    def _best_fit(self, order: CarveOrder) -> tuple[Cidr, Cidr] | None:
        """Return (pool leaf, block in it): the smallest leaf that suffices, else the largest.

        Space for a universe as a whole comes from its end instead, so that the subnets and
        single addresses that people name, mostly near its start, stay in the pool for every
        host. Where nothing suffices, the largest leaf is the best there is.
        """
        from_end = order.within in self.trie.universes
        choices = []
        for leaf in self.trie.pool_leaves(order.within):
            room = order.within if leaf.contains(order.within) else leaf
            if room.size < order.size:
                rank = (1, -room.size)
            else:
                rank = (0, 0 if from_end else room.size)
            place = -room.network if from_end else room.network
            choices.append((rank, place, leaf, room))
        if not choices:
            return None
        _, _, leaf, room = min(choices, key=lambda choice: choice[:2])
        pick = last_block if from_end else first_block
        return leaf, pick(room, order.size)

    def _carve_exact(self, order: CarveOrder, ledger: Ledger, exact: Cidr) -> Carved | Denied:
        """Carve the aligned block of the wanted size that covers one address."""
        leaf = self.trie.leaf_at(exact)
        if leaf is None:
            return Denied(Denial.INVALID)
        register = leaf.register
        if register is None or register.kind is Kind.FROZEN:
            return Denied(Denial.FROZEN)
        if register.kind is not Kind.POOL:
            return Denied(Denial.OWNED, None if register.owner is None else register.owner.peer)
        room = order.within if leaf.cidr.contains(order.within) else leaf.cidr
        target = block_around(exact, min(order.size, room.size))
        return self._divide(order, ledger, leaf.cidr, target)

    def _why_none(self, within: Cidr) -> Denial:
        """Say whether a conflict is why a range without pool has nothing to give."""
        for leaf in self.trie.leaves(within):
            if leaf.register is None or leaf.register.kind is Kind.FROZEN:
                return Denial.FROZEN
        return Denial.EXHAUSTED

    def _divide(self, order: CarveOrder, ledger: Ledger, leaf: Cidr, target: Cidr) -> Carved:
        """Divide a pool leaf down to `target`, own that, and remember the request."""
        stamp = Stamp(GENESIS_SET_VERSION, self._stamp.seq + 1)
        node = self.trie.get(leaf)
        if node is None or node.kind is not Kind.POOL:
            raise InternalError(f"shard: {leaf} is no pool leaf")
        written = []
        link = node.parent_birth
        cidr = leaf
        while cidr != target:
            written.append(self._pool(cidr, stamp, link, kind=Kind.SPLIT))
            link = stamp
            halves = cidr.children
            if halves is None:
                raise InternalError(f"shard: {target} is not in the pool leaf {leaf}")
            inner, outer = halves if halves[0].contains(target) else halves[::-1]
            written.append(self._pool(outer, stamp, link, kind=Kind.POOL))
            cidr = inner
        own = evolve(
            self._pool(target, stamp, link, kind=Kind.OWN),
            owner=Owner(order.request.peer, order.request.epoch),
            request=order.request,
        )
        registers = [self._signed(register) for register in (*written, own)]
        remembered = ledger.add(order.request, target, stamp=stamp)
        return Carved(registers[-1], self._write(registers, remembered))

    def _pool(self, cidr: Cidr, stamp: Stamp, link: Stamp | None, *, kind: Kind) -> Register:
        """Return a fresh, unsigned register born at `stamp`."""
        return Register(
            cidr=cidr,
            birth=stamp,
            stamp=stamp,
            parent_birth=link,
            kind=kind,
            cause=Cause.CARVE,
        )

    def _signed(self, register: Register) -> Register:
        """Return the register with the proof of the lone guardian."""
        proof = sign_value(
            self._identity,
            self._genesis,
            shard=register.shard,
            ballot=self._ballot(register.stamp),
            stamp=register.stamp,
            value_hash=register.value_hash,
        )
        return evolve(register, proof=proof)

    def _ballot(self, stamp: Stamp) -> Ballot:
        """One ballot for each write: the lone guardian is always its own proposer (rule 3)."""
        return Ballot(stamp.seq, self._identity.peer, store_nonce(self._genesis))

    def _write(self, registers: list[Register], ledger: Ledger) -> Puts:
        """Stage one atomic change: registers, and the ledger of who asked."""
        proof = sign_value(
            self._identity,
            self._genesis,
            shard=ledger.shard,
            ballot=self._ballot(ledger.stamp),
            stamp=ledger.stamp,
            value_hash=ledger.value_hash,
        )
        signed = evolve(ledger, proof=proof)
        for register in registers:
            self.trie.join(register)
        self.ledgers[signed.peer] = signed
        self._stamp = signed.stamp
        return (
            *((register_key(register.cidr), register.encode()) for register in registers),
            (ledger_key(signed.peer), signed.encode()),
        )

    def check_moved(self) -> None:
        """The same, but a trie that was not written since it was found sound is taken as sound."""
        if self.trie.changes != self._checked_at:
            self.check()

    def check(self) -> None:
        """Raise InternalError unless the leaves tile the universes (I3)."""
        for universe in self.trie.universes:
            covered = 0
            for leaf in self.trie.leaves(universe):
                if leaf.register is None:
                    raise InternalError(f"shard: nobody knows whose {leaf.cidr} is")
                covered += leaf.cidr.size
            if covered != universe.size:
                raise InternalError(f"shard: leaves of {universe} cover {covered} addresses")
        self._checked_at = self.trie.changes
