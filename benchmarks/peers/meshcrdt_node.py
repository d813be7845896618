"""Ours, the replicated map: writes and frames through the door of a node.

Each flush is signed by its origin and checked by whoever gets it, which the other engines
leave to their users.
"""

from __future__ import annotations

from typing import Any

import meshcrdt
from benchmarks.engine.nodes import CHANNEL, Pair, make, perform, put, put_many
from benchmarks.peers.engine import (
    REWRITES,
    REWRITTEN,
    WRITERS,
    EngineDriver,
    items,
    rate,
    resident,
)
from meshcrdt.node.events import Delete, FrameReceived

QUIET_S = 60.0
GROUP = 1_000
"""So many writes wait for the disk together."""


def write_all(node: Any, pairs: list[tuple[str, str]]) -> None:
    for start in range(0, len(pairs), GROUP):
        put_many(node, pairs[start : start + GROUP])


class Driver(EngineDriver):
    name = "meshcrdt"

    async def version(self) -> str:
        return f"meshcrdt {meshcrdt.__version__}, map channel of a node"

    async def map(self, count: int) -> dict[str, float]:
        mine, theirs = items(count, 1), items(count, 2)
        a, b = make(1), make(2)
        sets_per_s = rate(count, lambda: write_all(a, mine))
        write_all(b, theirs)
        pair = Pair(a, b)
        pair.link()
        pair.pass_time(20)
        assert len(a.items(CHANNEL)) == len(b.items(CHANNEL)) == 2 * count
        merges = count / pair.handled_s[a.me]
        c, d = make(3), make(4)
        pair = Pair(c, d)
        pair.link()
        pair.pass_time(5)

        def one_by_one() -> None:
            for key, value in mine:
                for _, frame in put(c, key, value, pair.now):
                    perform(d, d.handle(FrameReceived(pair.LINK, frame), pair.now), pair.now)

        single = rate(count, one_by_one)
        pair.pass_time(20)
        assert len(d.items(CHANNEL)) == count
        return {"sets_per_s": sets_per_s, "merges_per_s": merges, "one_by_one_per_s": single}

    async def bytes(self, count: int) -> dict[str, float]:
        a, b = make(1), make(2)
        pair = Pair(a, b)
        pair.link()
        pair.pass_time(5)
        updates = []
        for key, value in items(min(count, 1_000)):
            frames = put(a, key, value, pair.now)
            updates.append(sum(len(frame) for _, frame in frames))
            pair.carry([(b, frame) for _, frame in frames])
        full = self._state_bytes(items(REWRITTEN), rewrites=0, deleted=False)
        return {
            "update_bytes": sum(updates) / len(updates),
            "entry_bytes": self._state_bytes(items(count), rewrites=0, deleted=False) / count,
            "full_bytes": full,
            "rewritten_bytes": self._state_bytes(
                items(REWRITTEN), rewrites=REWRITES, deleted=False
            ),
            "deleted_bytes": self._state_bytes(items(REWRITTEN), rewrites=REWRITES, deleted=True),
        }

    def _state_bytes(self, pairs: list[tuple[str, str]], *, rewrites: int, deleted: bool) -> float:
        """Return what a newcomer is sent for a channel, over what it is sent for none."""
        return float(
            self._newcomer_bytes(pairs, rewrites, deleted) - self._newcomer_bytes([], 0, False)
        )

    def _newcomer_bytes(self, pairs: list[tuple[str, str]], rewrites: int, deleted: bool) -> int:
        node = make(1)
        write_all(node, pairs)
        for round_number in range(rewrites):
            again = items(len(pairs), 11 + 10 * round_number)
            write_all(node, [("k1" + key[2:], value) for key, value in again])
        if deleted:
            effects = []
            for key, _ in pairs:
                effects += node.handle(Delete(0, CHANNEL, key.encode()), 0.0)
            perform(node, effects, 0.0)
        other = make(2)
        pair = Pair(node, other)
        pair.link()
        pair.pass_time(8)
        return pair.bytes[node.me]

    async def in_sync(self, count: int) -> dict[str, float]:
        a, b = make(1), make(2)
        for number in range(3, WRITERS + 1):
            writer = make(number)
            put(writer, f"w{number}", "x")
            pair = Pair(a, writer)
            pair.link()
            pair.unlink()
        write_all(a, items(count))
        pair = Pair(a, b)
        pair.link()
        pair.pass_time(60)
        assert len(b.items(CHANNEL)) == len(a.items(CHANNEL)) >= count + WRITERS - 2
        pair.reset()
        pair.pass_time(QUIET_S)
        found = {
            "in_sync_bytes": pair.round_bytes(),
            "in_sync_bytes_per_s": pair.total_bytes / QUIET_S,
        }
        again = self._reconnected(pair)
        pair.reset()
        pair.carry([(b, frame) for _, frame in put(a, "k100000000", items(1, 5)[0][1], pair.now)])
        found["one_key_bytes"] = float(pair.total_bytes)
        repaired = self._reconnected(pair, write="k100000001")
        assert b.items(CHANNEL) == a.items(CHANNEL)
        return {**found, "one_key_repair_bytes": float(repaired - again)}

    def _reconnected(self, pair: Pair, write: str = "") -> int:
        """Return bytes of a link that opens again, with one key that was missed or without."""
        pair.unlink()
        pair.pass_time(1)
        if write:
            put(pair.a, write, items(1, 5)[0][1], pair.now)
        pair.reset()
        pair.link()
        pair.pass_time(10)
        return pair.total_bytes

    async def memory(self, count: int) -> dict[str, float]:
        pairs = items(count)
        node = make(1)
        before = resident()
        write_all(node, pairs)
        return {"memory_bytes": (resident() - before) / count}
