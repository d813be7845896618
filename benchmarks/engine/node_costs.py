"""What one node costs. Medians of five runs, as JSON; see README.md."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import trio

import meshcrdt
from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.names.table import Names
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.effects import Effect, Persist, Writable
from meshcrdt.node.events import Allocate, FrameReceived, LinkOpened, Persisted, Put
from meshcrdt.node.node import Node
from meshcrdt.topology.links import Direction
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import decode, encode

RUNS = 5
RESULTS = Path(__file__).parent / "results"


def make_node(number: int) -> Node:
    genesis = Genesis.make(Identity(b"\x01" * 32), ["10.32.0.0/12"], nonce=b"\x01" * 16)
    config = NodeConfig(
        identity=Identity(bytes([number]) * 32),
        epoch=Epoch(1, bytes([number]) * 8),
        genesis=genesis,
        name=f"n{number}",
    )
    node = Node(config, Dice(bytes([number])))
    settle(node, node.load({}, 0.0))
    return node


def settle(node: Node, effects: list[Effect]) -> list[bytes]:
    """Let the disk answer at once; return the frames that were pulled."""
    frames: list[bytes] = []
    todo = list(effects)
    while todo:
        effect = todo.pop(0)
        if isinstance(effect, Persist):
            todo += node.handle(Persisted(effect.watermark), 0.0)
        elif isinstance(effect, Writable):
            frames += iter(lambda link=effect.link: node.next_frame(link), None)
    return frames


def link(a: Node, b: Node) -> None:
    hellos = a.hello(), b.hello()
    opened = LinkOpened(1, hellos[1], Direction.DIALLED, "x", "x", True)
    accepted = LinkOpened(1, hellos[0], Direction.ACCEPTED, "y", "y", True)
    frames = [(b, frame) for frame in settle(a, a.handle(opened, 0))]
    frames += [(a, frame) for frame in settle(b, b.handle(accepted, 0))]
    while frames:
        node, frame = frames.pop(0)
        other = a if node is b else b
        answers = settle(node, node.handle(FrameReceived(1, frame), 0.0))
        frames += [(other, answer) for answer in answers]


def timed(count: int, action: Callable[[], object]) -> float:
    """Return microseconds a piece."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) / count * 1e6


def bench_codec() -> dict[str, float]:
    record = (b"key-of-a-record", 17, b"v" * 60, ())
    message = (20, bytes(32), tuple(record for _ in range(10)))
    raw = encode(message)
    return {
        "encode": timed(2_000, lambda: [encode(message) for _ in range(2_000)]),
        "decode": timed(2_000, lambda: [decode(raw) for _ in range(2_000)]),
    }


def bench_node() -> dict[str, float]:
    a, b = make_node(1), make_node(2)
    link(a, b)
    frames: list[bytes] = []

    def puts() -> None:
        for number in range(500):
            event = Put(number, "bench", b"k%d" % (number % 100), b"v%d" % number)
            frames.extend(settle(a, a.handle(event, 0.0)))

    def grouped() -> None:
        effects: list[Effect] = []
        for number in range(1_000):
            effects += a.handle(Put(number, "bench", b"g%d" % number, b"v"), 0.0)
        settle(a, effects)

    def merges() -> None:
        for frame in frames:
            settle(b, b.handle(FrameReceived(1, frame), 0.0))

    def allocations() -> None:
        for number in range(500):
            settle(a, a.handle(Allocate(number, f"w{number}", None, 9.0), 0.0))

    return {
        "put": timed(500, puts),
        "merge": timed(len(frames), merges),
        "put, grouped": timed(1_000, grouped),
        "allocate": timed(500, allocations),
    }


def bench_names() -> dict[str, float]:
    names = Names()
    for number in range(10_000):
        key, record = names.record(f"n{number}", (f"10.32.{number >> 8}.{number & 255}",))
        names.update(PeerId(bytes(16)), key, record.encode())
    return {"lookup": timed(5_000, lambda: [names.lookup(f"n{i}") for i in range(5_000)])}


async def bench_disk(directory: str) -> dict[str, float]:
    store = f"sqlite://{directory}/mesh.db"
    async with meshcrdt.open_mesh(name="n1", store=store, secret=bytes(32)) as mesh:
        start = time.perf_counter()
        for number in range(200):
            await mesh.ipam.allocate(f"one-{number}")
        one = (time.perf_counter() - start) / 200 * 1e6

        async def caller(prefix: int) -> None:
            for number in range(20):
                await mesh.ipam.allocate(f"many-{prefix}-{number}", timeout=30)

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for prefix in range(50):
                nursery.start_soon(caller, prefix)
        many = (time.perf_counter() - start) / 1_000 * 1e6
    return {"allocate, sqlite, 1 caller": one, "allocate, sqlite, 50 callers": many}


def once() -> dict[str, float]:
    figures = {**bench_codec(), **bench_node(), **bench_names()}
    with tempfile.TemporaryDirectory() as directory:
        figures |= trio.run(bench_disk, directory)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS / "node.json")
    output = parser.parse_args().output
    runs = [once() for _ in range(RUNS)]
    figures = {
        name: {
            "median": round(statistics.median(run[name] for run in runs), 1),
            "range": [
                round(min(run[name] for run in runs), 1),
                round(max(run[name] for run in runs), 1),
            ],
        }
        for name in runs[0]
    }
    report = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": meshcrdt.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "unit": "microseconds a piece, median of five runs; [least, most]",
        "figures": figures,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=1) + "\n")
    for name, figure in figures.items():
        print(f"{name:32} {figure['median']:10.1f} us   {figure['range']}")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
