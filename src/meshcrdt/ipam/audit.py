"""Global checks over the machines of a whole cluster, for simulators and tests.

No node can see this much; a simulator can, after every step (invariants I1 to I3).
"""

from __future__ import annotations

from collections.abc import Sequence

from meshcrdt.ipam.ipam import Ipam
from meshcrdt.ipam.register import Kind
from meshcrdt.ranges import Cidr, format_address


def audit(ipams: Sequence[Ipam]) -> list[str]:
    """Return every violated invariant as one line; give all machines of one cluster that run."""
    return [*_shared_addresses(ipams), *_overlaps(ipams), *_unaccounted(ipams)]


def _shared_addresses(ipams: Sequence[Ipam]) -> list[str]:
    """I2: no address in use at two peers."""
    found = []
    holders: dict[tuple[int, int], str] = {}
    for ipam in ipams:
        for address, workload in ipam.addresses().items():
            holder = f"{workload} at {ipam.me.short}"
            if address in holders:
                shown = format_address(*address)
                found.append(f"I2: {shown} is held by {holders[address]} and by {holder}")
            holders[address] = holder
    return found


def _overlaps(ipams: Sequence[Ipam]) -> list[str]:
    """I1: no range in the blocks of two peers."""
    found = []
    blocks = sorted((block.cidr, ipam.me.short) for ipam in ipams for block in ipam.blocks)
    around: list[tuple[Cidr, str]] = []
    for cidr, peer in blocks:
        # Sorted blocks nest like brackets: only those still open can contain this one.
        while around and not around[-1][0].contains(cidr):
            around.pop()
        if around:
            outer, other = around[-1]
            found.append(f"I1: {outer} of {other} overlaps {cidr} of {peer}")
        around.append((cidr, peer))
    return found


def _unaccounted(ipams: Sequence[Ipam]) -> list[str]:
    """I3: the guardian's leaves tile the universes, and every held block is one of them."""
    found = []
    for guardian in ipams:
        shard = guardian.shard
        if shard is None:
            continue
        for universe in shard.trie.universes:
            leaves = list(shard.trie.leaves(universe))
            position = universe.network
            for leaf in leaves:
                if leaf.register is None or leaf.cidr.network != position:
                    found.append(f"I3: the trie has a gap or an overlap at {leaf.cidr}")
                position = leaf.cidr.end
            if position != universe.end:
                found.append(f"I3: the leaves of {universe} end too early")
        for ipam in ipams:
            for block in ipam.blocks:
                leaf_now = shard.trie.leaf_at(block.cidr)
                register = None if leaf_now is None else leaf_now.register
                frozen = register is not None and register.kind is Kind.FROZEN
                owner = None if register is None else register.owner
                given = register == block and owner is not None and owner.peer == ipam.me
                if not frozen and not given:
                    found.append(
                        f"I3: {ipam.me.short} holds {block.cidr}, which the guardian has not given"
                    )
    return found
