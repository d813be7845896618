"""loro (PyPI): a CRDT engine in Rust with history, by its Python binding."""

from __future__ import annotations

from importlib.metadata import version

from loro import ExportMode, LoroDoc

from benchmarks.peers.engine import (
    REWRITES,
    REWRITTEN,
    WRITERS,
    EngineDriver,
    items,
    rate,
    resident,
)


class Driver(EngineDriver):
    name = "loro"

    async def version(self) -> str:
        return f"loro {version('loro')}"

    async def map(self, count: int) -> dict[str, float]:
        mine, theirs = items(count, 1), items(count, 2)
        doc, other = LoroDoc(), LoroDoc()

        def sets(into: LoroDoc, pairs: list[tuple[str, str]]) -> None:
            target = into.get_map("map")
            for key, value in pairs:
                target.insert(key, value)
            into.commit()

        sets_per_s = rate(count, lambda: sets(doc, mine))
        sets(other, theirs)
        update = other.export(ExportMode.Updates(doc.oplog_vv))
        merges = rate(count, lambda: doc.import_(update))
        assert len(doc.get_map("map")) == 2 * count
        a, b = LoroDoc(), LoroDoc()
        target = a.get_map("map")

        def one_by_one() -> None:
            for key, value in mine:
                before = a.oplog_vv
                target.insert(key, value)
                a.commit()
                b.import_(a.export(ExportMode.Updates(before)))

        single = rate(count, one_by_one)
        assert len(b.get_map("map")) == count
        return {"sets_per_s": sets_per_s, "merges_per_s": merges, "one_by_one_per_s": single}

    async def bytes(self, count: int) -> dict[str, float]:
        doc = LoroDoc()
        target = doc.get_map("map")
        updates = []
        for key, value in items(count):
            before = doc.oplog_vv
            target.insert(key, value)
            doc.commit()
            updates.append(len(doc.export(ExportMode.Updates(before))))
        whole = _size(doc) / count
        again = LoroDoc()
        target = again.get_map("map")
        pairs = items(REWRITTEN)
        for key, value in pairs:
            target.insert(key, value)
        again.commit()
        full = _size(again)
        for round_number in range(REWRITES):
            for key, value in items(REWRITTEN, 11 + 10 * round_number):
                target.insert("k1" + key[2:], value)
            again.commit()
        rewritten = _size(again)
        for key, _ in pairs:
            target.delete(key)
        again.commit()
        return {
            "update_bytes": sum(updates) / count,
            "entry_bytes": whole,
            "full_bytes": float(full),
            "rewritten_bytes": float(rewritten),
            "deleted_bytes": float(_size(again)),
        }

    async def in_sync(self, count: int) -> dict[str, float]:
        target = LoroDoc()
        for writer in range(WRITERS):
            doc = LoroDoc()
            doc.get_map("map").insert(f"w{writer}", "x")
            doc.commit()
            target.import_(doc.export(ExportMode.Updates(target.oplog_vv)))
        vector = target.oplog_vv
        nothing = target.export(ExportMode.Updates(vector))
        large, other = LoroDoc(), LoroDoc()
        for key, value in items(count):
            large.get_map("map").insert(key, value)
        large.commit()
        other.import_(large.export(ExportMode.Updates(other.oplog_vv)))
        asked = other.oplog_vv
        large.get_map("map").insert("k100000000", items(1, 5)[0][1])
        large.commit()
        moved = large.export(ExportMode.Updates(asked))
        return {
            "in_sync_bytes": float(len(vector.encode()) + len(nothing)),
            "one_key_bytes": float(len(asked.encode()) + len(moved)),
        }

    async def memory(self, count: int) -> dict[str, float]:
        pairs = items(count)
        doc = LoroDoc()
        target = doc.get_map("map")
        before = resident()
        for key, value in pairs:
            target.insert(key, value)
        doc.commit()
        return {"memory_bytes": (resident() - before) / count}


def _size(doc: LoroDoc) -> int:
    return len(doc.export(ExportMode.Updates(LoroDoc().oplog_vv)))
