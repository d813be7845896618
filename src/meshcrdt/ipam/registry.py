"""This replica's view of who owns what: proved registers of channel "ipam", joined.

Any origin may hand over a register: its proof counts, not who brought it. A record that is
malformed or not proved is skipped and counted before it can meet another (I9). When two
proved values carry one stamp the node is FROZEN, and this replica publishes the value that
it held beside the one that came, so that every replica derives the same.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.durable import (
    EVIDENCE_TAG,
    LEDGER_TAG,
    REGISTER_TAG,
    evidence_key,
    ledger_key,
    register_key,
)
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.ledger import Ledger, join_ledgers
from meshcrdt.ipam.proofs import proof_fault
from meshcrdt.ipam.register import Kind, Register
from meshcrdt.ipam.trie import Trie
from meshcrdt.ranges import Address, Cidr


@frozen
class Merged:
    """What one record changed. `evidence` are records to publish after a conflict.

    `fault` says why a record was refused, in one line; then nothing changed.
    """

    register: Register | None = None
    ledger: Ledger | None = None
    evidence: tuple[tuple[bytes, bytes], ...] = ()
    fault: str | None = None


NOTHING = Merged()


class Registry:
    """The joined trie, and the ledgers for a guardian that starts on them."""

    def __init__(self, genesis: Genesis, me: PeerId, memo: Memo = NO_MEMO) -> None:
        self._memo = memo
        self._genesis = genesis
        self._keeps_ledgers = me in genesis.guardians
        self.trie = Trie(genesis.ranges)
        self.ledgers: dict[PeerId, Ledger] = {}
        self.refused = 0
        self.last_fault = ""

    def merge(self, key: bytes, value: bytes) -> Merged:
        """Join one record of the channel; never raises for bytes from outside."""
        tag = key[:1]
        try:
            if tag in (REGISTER_TAG, EVIDENCE_TAG):
                return self._merge_register(key, self._memo.of_equal(Register.decode, value))
            if tag == LEDGER_TAG and self._keeps_ledgers:
                return self._merge_ledger(key, Ledger.decode(value))
        except MalformedTree as error:
            return self._refuse(f"record {key.hex()}: {error}")
        return NOTHING

    def merge_register(self, register: Register) -> Merged:
        """Join one register whoever brought it; skipped and counted unless it is proved."""
        fault = self._memo.of_same(proof_fault, self._genesis, register)
        if fault is not None:
            return self._refuse(f"register {register.cidr} at {register.stamp}: {fault}")
        replaced = self.trie.join(register)
        if replaced is None:
            return NOTHING
        joined = self.trie.get(register.cidr)
        evidence: tuple[tuple[bytes, bytes], ...] = ()
        if joined is not None and joined.kind is Kind.FROZEN:
            both = [item for item in (replaced, register) if item.proof is not None]
            evidence = tuple(
                (evidence_key(item.cidr, item.value_hash), item.encode()) for item in both
            )
        return Merged(register=joined, evidence=evidence)

    def _merge_register(self, key: bytes, register: Register) -> Merged:
        """Join a register found under a key, which must be its own."""
        # The plain key first: that of evidence costs a hash of the value.
        if key != register_key(register.cidr) and key != evidence_key(
            register.cidr, register.value_hash
        ):
            return self._refuse(f"record {key.hex()} holds the register of {register.cidr}")
        held = self.trie.get(register.cidr)
        if held is not None and (held == register or held.stamp > register.stamp):
            # Known or outranked: asked before a signature is checked, which costs far more.
            return NOTHING
        return self.merge_register(register)

    def _merge_ledger(self, key: bytes, ledger: Ledger) -> Merged:
        """Join a ledger; others than guardians never come here, for they have no use for it."""
        if key != ledger_key(ledger.peer):
            return self._refuse(f"record {key.hex()} holds the ledger of {ledger.peer}")
        held = self.ledgers.get(ledger.peer)
        if held is not None and (held == ledger or held.stamp > ledger.stamp):
            return NOTHING
        fault = proof_fault(self._genesis, ledger)
        if fault is not None:
            return self._refuse(f"ledger of {ledger.peer} at {ledger.stamp}: {fault}")
        joined = ledger if held is None else join_ledgers(held, ledger)
        self.ledgers[ledger.peer] = joined
        return Merged(ledger=joined)

    def _refuse(self, fault: str) -> Merged:
        self.refused += 1
        self.last_fault = fault
        return Merged(fault=fault)

    # --- queries -----------------------------------------------------------------------

    def owner(self, address: Address) -> PeerId | None:
        """Return the peer that owns an address, as far as this replica knows."""
        leaf = self.trie.leaf_at(Cidr.of_address(*address))
        if leaf is None or leaf.register is None or leaf.register.owner is None:
            return None
        return leaf.register.owner.peer

    def is_frozen(self, cidr: Cidr) -> bool:
        """Return True when the leaf around a range is FROZEN."""
        leaf = self.trie.leaf_at(cidr)
        return leaf is not None and leaf.register is not None and leaf.register.kind is Kind.FROZEN

    def contradicts(self, block: Register, me: PeerId) -> bool:
        """Return True when a newer proved record says that an own block is not ours.

        Records that are merely missing never say so: a block may be known before the
        divisions that lead to it.
        """
        leaf = self.trie.leaf_at(block.cidr)
        now = None if leaf is None else leaf.register
        if now is None or now.stamp < block.stamp:
            return False
        if now.kind is Kind.OWN and now.owner is not None:
            return now.owner.peer != me or now.cidr != block.cidr
        return now.stamp > block.stamp or now.kind is Kind.FROZEN
