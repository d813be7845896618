"""node costs: microseconds of one node for its everyday work, without a peer to compare with.

    python -m benchmarks.engine.node_costs

Processor time of one core; the disk answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import meshcrdt
from benchmarks.engine.nodes import Pair, make, perform, put, put_many
from benchmarks.engine.single import main
from benchmarks.lab.row import Figures
from meshcrdt.node.events import Allocate, FrameReceived
from meshcrdt.wire import decode, encode

KEYS = 100


def _us(count: int, action: Callable[[], object]) -> float:
    """Return microseconds a piece."""
    start = time.process_time()
    action()
    return (time.process_time() - start) / count * 1e6


def _codec(count: int) -> dict[str, float]:
    record = (b"key-of-a-record", 17, b"v" * 60, ())
    message = (20, bytes(32), tuple(record for _ in range(10)))
    raw = encode(message)
    return {
        "encode_us": _us(count, lambda: [encode(message) for _ in range(count)]),
        "decode_us": _us(count, lambda: [decode(raw) for _ in range(count)]),
    }


def measure(count: int = 500) -> Figures:
    """Write, merge and allocate, one at a time and grouped."""
    a, b = make(1), make(2)
    pair = Pair(a, b)
    pair.link()
    pair.pass_time(5)
    frames: list[bytes] = []

    def puts() -> None:
        for number in range(count):
            sent = put(a, f"k{number % KEYS}", f"v{number}", pair.now)
            frames.extend(frame for _, frame in sent)

    def merges() -> None:
        for frame in frames:
            perform(b, b.handle(FrameReceived(pair.LINK, frame), pair.now), pair.now)

    def allocations() -> None:
        for number in range(count):
            event = Allocate(number, f"w{number}", None, pair.now + 9.0)
            perform(a, a.handle(event, pair.now), pair.now)

    found = Figures("node costs", "meshcrdt", 0, version=f"meshcrdt {meshcrdt.__version__}")
    found.values = _codec(4 * count)
    found.values["put_us"] = _us(count, puts)
    found.values["merge_us"] = _us(len(frames), merges)
    grouped = [(f"g{number}", "v") for number in range(2 * count)]
    found.values["put_grouped_us"] = _us(len(grouped), lambda: put_many(a, grouped, pair.now))
    found.values["allocate_us"] = _us(count, allocations)
    return found


if __name__ == "__main__":
    main("node costs", {"meshcrdt": partial(measure)})
