"""allocate: an address that is on disk when the caller has it; etcd's put beside it.

    python -m benchmarks.engine.allocate

One caller, and 50 at once whose requests share transactions. Both write to the same
directory, with fsync.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import trio

import meshcrdt
from benchmarks.engine.single import main
from benchmarks.lab.cluster import WorkerFailed, cluster
from benchmarks.lab.row import Figures

SYSTEMS = ("meshcrdt", "etcd")
ONE_CALLER = 400
MANY_CALLERS = 50
EACH = 40


def measure(system: str, directory: str | None = None) -> Figures:
    """Measure one system; `directory` is where its data goes."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        if system == "etcd":
            return _etcd(place)
        found = Figures("allocate", system, 0, version=f"meshcrdt {meshcrdt.__version__}")
        found.values = trio.run(_ours, Path(place))
        return found


def _etcd(place: str) -> Figures:
    with cluster("etcd", 1, directory=place) as made:
        (worker,) = made.workers
        found = Figures("allocate", "etcd", 0, version=worker.ask("version"))
        worker.ask("start", count=1)
        if made.wait(30, since=time.monotonic(), known=1) is None:
            raise WorkerFailed("etcd does not answer")
        found.values = {
            "one_caller_per_s": worker.ask("puts", count=2_000, callers=1),
            "fifty_callers_per_s": worker.ask("puts", count=20_000, callers=50),
        }
        return found


async def _ours(place: Path) -> dict[str, float]:
    async with meshcrdt.open_mesh(
        name="n1", store=f"sqlite://{place}/mesh.db", secret=bytes(32)
    ) as mesh:
        start = time.perf_counter()
        for number in range(ONE_CALLER):
            await mesh.ipam.allocate(f"one-{number}", timeout=30)
        one = ONE_CALLER / (time.perf_counter() - start)

        async def caller(prefix: int) -> None:
            for number in range(EACH):
                await mesh.ipam.allocate(f"many-{prefix}-{number}", timeout=30)

        before = mesh.activity()
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for prefix in range(MANY_CALLERS):
                nursery.start_soon(caller, prefix)
        many = MANY_CALLERS * EACH / (time.perf_counter() - start)
        after = mesh.activity()
    transactions = after.store_transactions - before.store_transactions
    return {
        "one_caller_per_s": one,
        "fifty_callers_per_s": many,
        "allocations_a_transaction": MANY_CALLERS * EACH / transactions,
    }


if __name__ == "__main__":
    main("allocate", {system: partial(measure, system) for system in SYSTEMS})
