"""pycrdt (PyPI): Yrs, the Rust implementation of Yjs, by its Python binding."""

from __future__ import annotations

from importlib.metadata import version

from pycrdt import Doc, Map

from benchmarks.peers.engine import (
    REWRITES,
    REWRITTEN,
    WRITERS,
    EngineDriver,
    items,
    rate,
    resident,
)


def make() -> tuple[Doc, Map]:
    doc: Doc = Doc()
    doc["map"] = shared = Map()
    return doc, shared


class Driver(EngineDriver):
    name = "pycrdt"

    async def version(self) -> str:
        return f"pycrdt {version('pycrdt')}"

    async def map(self, count: int) -> dict[str, float]:
        mine, theirs = items(count, 1), items(count, 2)
        (doc, shared), (other, other_shared) = make(), make()

        def sets(into: Doc, target: Map, pairs: list[tuple[str, str]]) -> None:
            with into.transaction():
                for key, value in pairs:
                    target[key] = value

        sets_per_s = rate(count, lambda: sets(doc, shared, mine))
        sets(other, other_shared, theirs)
        update = other.get_update(doc.get_state())
        merges = rate(count, lambda: doc.apply_update(update))
        assert len(shared) == 2 * count
        (a, a_map), (b, b_map) = make(), make()

        def one_by_one() -> None:
            for key, value in mine:
                before = a.get_state()
                a_map[key] = value
                b.apply_update(a.get_update(before))

        single = rate(count, one_by_one)
        assert len(b_map) == count
        return {"sets_per_s": sets_per_s, "merges_per_s": merges, "one_by_one_per_s": single}

    async def bytes(self, count: int) -> dict[str, float]:
        doc, shared = make()
        updates = []
        for key, value in items(count):
            before = doc.get_state()
            shared[key] = value
            updates.append(len(doc.get_update(before)))
        whole = len(doc.get_update()) / count
        again, target = make()
        pairs = items(REWRITTEN)
        for key, value in pairs:
            target[key] = value
        full = len(again.get_update())
        for round_number in range(REWRITES):
            for key, value in items(REWRITTEN, 11 + 10 * round_number):
                target["k1" + key[2:]] = value
        rewritten = len(again.get_update())
        for key, _ in pairs:
            del target[key]
        return {
            "update_bytes": sum(updates) / count,
            "entry_bytes": whole,
            "full_bytes": float(full),
            "rewritten_bytes": float(rewritten),
            "deleted_bytes": float(len(again.get_update())),
        }

    async def in_sync(self, count: int) -> dict[str, float]:
        target, _ = make()
        for writer in range(WRITERS):
            doc, shared = make()
            shared[f"w{writer}"] = "x"
            target.apply_update(doc.get_update())
        large, shared = make()
        with large.transaction():
            for key, value in items(count):
                shared[key] = value
        other, _ = make()
        other.apply_update(large.get_update())
        asked = other.get_state()
        key, value = items(1, 5)[0]
        shared["k100000000"] = value
        moved = large.get_update(asked)
        return {
            "in_sync_bytes": float(len(target.get_state()) + 2),
            "one_key_bytes": float(len(asked) + len(moved)),
        }

    async def memory(self, count: int) -> dict[str, float]:
        pairs = items(count)
        doc, shared = make()
        before = resident()
        with doc.transaction():
            for key, value in pairs:
                shared[key] = value
        return {"memory_bytes": (resident() - before) / count}
