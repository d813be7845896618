"""ranges: one changed range among the blocks that a cluster gave away.

    python -m benchmarks.engine.ranges

Bytes on the link before sealing, and the time of the receiver from the frame until it knows.
"""

from __future__ import annotations

import argparse
import ipaddress
from functools import partial
from itertools import islice

import meshcrdt
from benchmarks.engine.nodes import Pair, make, perform
from benchmarks.engine.single import main
from benchmarks.lab.meter import median
from benchmarks.lab.row import Figures
from meshcrdt.node.events import Allocate

UNIVERSE = "10.32.0.0/12"
BLOCKS = 150
CHANGES = 5


def measure(blocks: int = BLOCKS) -> Figures:
    """Give blocks away one by one, join a second node, and change one block at a time."""
    found = Figures("ranges", "meshcrdt", 0, version=f"meshcrdt {meshcrdt.__version__}")
    subnets = ipaddress.ip_network(UNIVERSE).subnets(new_prefix=28)
    # The first half of the universe is where the guardian takes blocks for itself.
    wanted = [str(subnet) for subnet in islice(subnets, blocks + CHANGES)]
    a, b = make(1, [UNIVERSE]), make(2, [UNIVERSE])
    for number, subnet in enumerate(wanted[:blocks]):
        perform(a, a.handle(Allocate(number, f"w{number}", subnet, 9.0), 0.0), 0.0)
    pair = Pair(a, b)
    pair.link()
    pair.pass_time(30)
    pair.reset()
    sizes, times = [], []
    for number, subnet in enumerate(wanted[blocks:], start=blocks):
        pair.reset()
        event = Allocate(number, f"w{number}", subnet, pair.now + 9.0)
        sent = perform(a, a.handle(event, pair.now), pair.now)
        pair.carry([(b, frame) for _, frame in sent])
        sizes.append(float(pair.total_bytes))
        times.append(pair.handled_s[b.me] * 1e3)
    found.values = {"one_range_bytes": median(sizes), "one_range_ms": median(times)}
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--blocks", type=int, default=BLOCKS)


if __name__ == "__main__":
    main("ranges", {"meshcrdt": partial(measure)})
