"""Ours, the values alone: ORMap of registers, its deltas and its canonical encoding.

Nothing is signed and nobody checks anything but the form: what pycrdt and loro do too.
"""

from __future__ import annotations

import meshcrdt
from benchmarks.peers.engine import (
    REWRITES,
    REWRITTEN,
    WRITERS,
    EngineDriver,
    items,
    rate,
    resident,
)
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.crdt import ORMap, join_all
from meshcrdt.wire import decode, encode

EPOCH = Epoch(1, bytes(8))
LIMITS = meshcrdt.Limits(frame_bytes_max=1 << 26, list_items_max=1 << 20)
"""A whole state in one piece, which never travels so between nodes."""


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(16, "big"))


def written(state: ORMap, origin: PeerId, key: str, value: str) -> ORMap:
    """Return the delta of one set."""
    return state.write(key, value, state.next_dot(origin, EPOCH))


def grown(state: ORMap, origin: PeerId, pairs: list[tuple[str, str]]) -> ORMap:
    """Return a state after sets in one transaction."""
    return state.join(state.write_many(pairs, origin, EPOCH))


class Driver(EngineDriver):
    name = "values"

    async def version(self) -> str:
        return f"meshcrdt {meshcrdt.__version__}, ORMap"

    async def map(self, count: int) -> dict[str, float]:
        mine, theirs = items(count, 1), items(count, 2)
        states: dict[str, ORMap] = {}

        def sets(name: str, origin: PeerId, pairs: list[tuple[str, str]]) -> None:
            states[name] = grown(ORMap(), origin, pairs)

        sets_per_s = rate(count, lambda: sets("a", peer(1), mine))
        sets("b", peer(2), theirs)
        raw = encode(states["b"].to_tree())

        def merge() -> None:
            states["both"] = states["a"].join(ORMap.from_tree(decode(raw, limits=LIMITS)))

        merges = rate(count, merge)
        assert len(states["both"]) == 2 * count
        ends = {"a": ORMap(), "b": ORMap()}

        def one_by_one() -> None:
            for key, value in mine:
                delta = written(ends["a"], peer(1), key, value)
                ends["a"] = ends["a"].join(delta)
                update = encode(delta.to_tree())
                ends["b"] = ends["b"].join(ORMap.from_tree(decode(update)))

        single = rate(count, one_by_one)
        assert len(ends["b"]) == count
        return {"sets_per_s": sets_per_s, "merges_per_s": merges, "one_by_one_per_s": single}

    async def bytes(self, count: int) -> dict[str, float]:
        state = ORMap()
        updates = []
        for key, value in items(count):
            delta = written(state, peer(1), key, value)
            updates.append(len(encode(delta.to_tree())))
            state = state.join(delta)
        again = grown(ORMap(), peer(1), items(REWRITTEN))
        full = len(encode(again.to_tree()))
        for round_number in range(REWRITES):
            pairs = items(REWRITTEN, 11 + 10 * round_number)
            again = grown(again, peer(1), [("k1" + key[2:], value) for key, value in pairs])
        rewritten = len(encode(again.to_tree()))
        again = again.join(again.clear())
        return {
            "update_bytes": sum(updates) / count,
            "entry_bytes": len(encode(state.to_tree())) / count,
            "full_bytes": float(full),
            "rewritten_bytes": float(rewritten),
            "deleted_bytes": float(len(encode(again.to_tree()))),
        }

    async def in_sync(self, count: int) -> dict[str, float]:
        """Return the cost of a vector of all writers: values know no shorter way."""
        parts = [written(ORMap(), peer(n), f"w{n}", "x") for n in range(WRITERS)]
        state = join_all(ORMap, parts)
        large = ORMap()
        delta = written(large, peer(1), *items(1, 5)[0])
        return {
            "in_sync_bytes": float(len(encode(state.context.to_tree()))),
            "one_key_bytes": float(len(encode(delta.to_tree()))),
        }

    async def memory(self, count: int) -> dict[str, float]:
        pairs = items(count)
        before = resident()
        state = grown(ORMap(), peer(1), pairs)
        used = (resident() - before) / count
        assert len(state) == count
        return {"memory_bytes": used}
