"""names: the directory of names alone, with 10,000 of them.

python -m benchmarks.engine.names
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import meshcrdt
from benchmarks.engine.single import main
from benchmarks.lab.row import Figures
from meshcrdt.base.ids import PeerId
from meshcrdt.names.table import Names

NAMES = 10_000
ROUNDS = 5_000
ORIGINS = (PeerId(bytes(16)), PeerId(b"\x01" * 16))


def _records(names: Names, origin: int, count: int, kind: str = "n") -> list[tuple[bytes, bytes]]:
    """Return what an origin says about names; those of two origins interleave."""
    made = []
    for number in range(count):
        text = f"{kind}{number * 2 + origin:07d}"
        key, record = names.record(text, (f"10.{32 + origin}.{number >> 8}.{number & 255}",))
        made.append((key, record.encode()))
    return made


def _per_s(count: int, action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return count / (time.process_time() - start)


def measure(count: int = NAMES) -> Figures:
    """Look up, take remote updates, and merge another 10,000 in between."""
    names = Names()
    for key, value in _records(names, 0, count):
        names.update(ORIGINS[0], key, value)
    asked = [f"n{(number * 2) % (2 * count):07d}" for number in range(ROUNDS)]
    lookups = _per_s(ROUNDS, lambda: [names.lookup(name) for name in asked])
    fresh = _records(names, 1, ROUNDS, kind="u")
    updates = _per_s(ROUNDS, lambda: [names.update(ORIGINS[1], k, v) for k, v in fresh])
    other = _records(names, 1, count)
    start = time.process_time()
    for key, value in other:
        names.update(ORIGINS[1], key, value)
    merge_ms = (time.process_time() - start) * 1e3
    found = Figures("names", "meshcrdt", 0, version=f"meshcrdt {meshcrdt.__version__}")
    found.values = {"lookups_per_s": lookups, "updates_per_s": updates, "merge_ms": merge_ms}
    return found


if __name__ == "__main__":
    main("names", {"meshcrdt": partial(measure)})
