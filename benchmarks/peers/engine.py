"""What a CRDT engine must be able to do to stand in the tables of engines.

All use one shape of map: a key of 10 and a value of 64 characters, random hexadecimal, one
write a transaction where it says so. Figures are of one process and one core.
"""

from __future__ import annotations

import gc
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.base import Driver

PAGE_BYTES = 4096
WRITERS = 200
REWRITES = 10
REWRITTEN = 1_000


def items(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return keys of 10 and values of 64 characters."""
    dice = random.Random(seed)
    return [(f"k{seed % 10}{n:08d}", f"{dice.getrandbits(256):064x}") for n in range(count)]


def rate(count: int, action: Callable[[], object]) -> float:
    """Return how many a second of this process: others on the machine take nothing from it."""
    gc.collect()
    start = time.process_time()
    action()
    return count / (time.process_time() - start)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


class EngineDriver(Driver, ABC):
    """An engine; each command answers figures by name."""

    @abstractmethod
    async def map(self, count: int) -> dict[str, float]:
        """Return sets, merges of a divergent replica, and set+delta+apply, each a second."""

    @abstractmethod
    async def bytes(self, count: int) -> dict[str, float]:
        """Return bytes of an update, an entry of a whole state, and of states after rewrites."""

    @abstractmethod
    async def in_sync(self, count: int) -> dict[str, float]:
        """Return bytes to learn that nothing is new with many writers, and to move one key."""

    @abstractmethod
    async def memory(self, count: int) -> dict[str, float]:
        """Return bytes of memory an entry."""
