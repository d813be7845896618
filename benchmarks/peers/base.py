"""What a peer system must be able to do to stand in the tables.

A driver lives in a worker process and runs some peers of its system: all of a cluster, half
of it or one. It runs under whichever interpreter its system is installed for, so it may
import nothing of this repository but this file and `clock`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Protocol

KEY_BYTES = 28
VALUE_BYTES = 32


def entry(kind: str, number: int) -> tuple[str, str]:
    """Return a key of 28 and a value of 32 characters, the entry of the whole lab."""
    return f"{kind}-{number:0{KEY_BYTES - 1 - len(kind)}d}", f"{number:0{VALUE_BYTES}d}"


def quiet(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that tells nobody anything; returns at once."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Driver(ABC):
    """Some peers of one system. Every coroutine is called by the worker, one at a time."""

    name: ClassVar[str]
    keeps_state: ClassVar[bool] = True
    """Whether late joiners and healed halves get what was written before."""

    def __init__(self, *, host: str = "127.0.0.1", first: int = 0, **options: Any) -> None:
        self.host = host
        self.first = first
        """The number of the first peer here, over all workers of the cluster."""
        self.options = options
        self._numbers = itertools.count()

    def next_update(self) -> tuple[str, str]:
        """Return an entry that was not written before: to write the same again is no change."""
        return entry("update", next(self._numbers))

    # --- the loop ------------------------------------------------------------------------

    def run(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Run the loop of this system around the worker."""

        async def whole() -> None:
            try:
                await serve()
            finally:
                await self.close()

        asyncio.run(whole())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, function)

    async def close(self) -> None:
        """End what was started, and let what was cancelled see it."""
        await self.sleep(0)

    # --- commands ------------------------------------------------------------------------

    @abstractmethod
    async def version(self) -> str:
        """Return name and version, for the report."""

    async def pids(self) -> list[int]:
        """Return the processes whose CPU is that of the peers."""
        return [os.getpid()]


# --- what a system can do, by the commands that its driver has ------------------------------
#
# The worker finds a command by its name, and a driver without it says so in the row. These say
# how each is called; a driver may have some of them, and is checked against those by mypy.


class Peers(Protocol):
    """Some peers that find each other."""

    async def start(self, count: int) -> str:
        """Start this many peers, listening and alone; return an address of the first."""
        ...

    async def join(self, seed: str) -> None:
        """Let every peer here, but the seed itself, join through one address."""
        ...

    async def known(self) -> int:
        """Return how many members, itself included, the least informed peer sees alive."""
        ...


class Watchful(Peers, Protocol):
    """Peers that notice when others are gone."""

    async def known_most(self) -> int:
        """Return how many members, itself included, the last one to notice still sees alive."""
        ...

    async def present_most(self) -> int:
        """Return the same, counting those that are merely suspected."""
        ...

    async def connect(self, seed: str) -> None:
        """Let the first peer here make one link to another cluster, which so becomes one."""
        ...

    async def own_id(self) -> str:
        """Return the id of the first peer here, as `deaths` writes it."""
        ...

    async def deaths(self) -> list[tuple[str, str]]:
        """Return (observer, subject) of each time that a peer here declared another dead."""
        ...


class Telling(Peers, Protocol):
    """Peers that tell each other what is written."""

    async def update(self, count: int, gap_s: float) -> list[float]:
        """Write one entry at a time; return for each the ms until all peers here had it."""
        ...


class Keeping(Telling, Protocol):
    """Peers that keep what was written."""

    async def write(self, kind: str, first: int, count: int) -> None:
        """Write entries, spread over the peers here; returns when they are accepted."""
        ...

    async def entries(self) -> int:
        """Return how many entries the peer here holds that holds the fewest."""
        ...


class Refusing(Telling, Protocol):
    """Peers that may not accept a write on one side of a cut."""

    async def try_writes(self, count: int, timeout_s: float) -> int:
        """Return how many of some writes at the first node here were accepted."""
        ...
