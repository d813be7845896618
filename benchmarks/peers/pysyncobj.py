"""pysyncobj (PyPI): Raft with replicated objects; N nodes in one process, sealed.

A cluster is named in full when its nodes are made: there is no join through one address.
"""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict

from benchmarks.lab.ports import FIRST_PEER_PORT
from benchmarks.peers.base import Driver as Base

PASSWORD = "of the bench"
POLL_S = 0.000_5


class Driver(Base):
    """One replicated dict on each node."""

    name = "pysyncobj"

    async def version(self) -> str:
        return f"pysyncobj {version('pysyncobj')}"

    async def start(self, count: int) -> str:
        whole = self.options.get("addresses") or [
            f"{self.host}:{FIRST_PEER_PORT + index}" for index in range(count)
        ]
        self._dicts = []
        self._nodes: list[Any] = []
        for index in range(self.first, self.first + count):
            shared = ReplDict()
            others = [address for address in whole if address != whole[index]]
            conf = SyncObjConf(password=PASSWORD, commandsWaitLeader=False)
            self._nodes.append(SyncObj(whole[index], others, conf, consumers=[shared]))
            self._dicts.append(shared)
        self._whole = whole
        return whole[self.first]

    async def join(self, seed: str) -> None:
        """Nothing to do: they find each other by the list that each was given."""

    async def known(self) -> int:
        ready = all(node.isReady() and node._getLeader() is not None for node in self._nodes)
        return len(self._whole) if ready else 0

    async def update(self, count: int, gap_s: float) -> list[float]:
        taken = []
        for number in range(count):
            key, value = self.next_update()
            start = time.perf_counter()
            await self.in_thread(
                lambda n=number, k=key, v=value: self._dicts[n % len(self._dicts)].set(
                    k, v, sync=True, timeout=60
                )
            )
            while any(key not in shared for shared in self._dicts):  # it tells nobody
                await self.sleep(POLL_S)
            taken.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(gap_s)
        return taken

    async def try_writes(self, count: int, timeout_s: float) -> int:
        """Return how many of some writes at the first node here were accepted."""
        accepted = 0
        for _ in range(count):
            key, value = self.next_update()
            try:
                await self.in_thread(
                    lambda k=key, v=value: self._dicts[0].set(k, v, sync=True, timeout=timeout_s)
                )
                accepted += 1
            except Exception as error:  # whatever it raises, it did not accept the write
                self.refusal = f"{type(error).__name__}: {error}"
        return accepted

    async def close(self) -> None:
        for node in self._nodes:
            node.destroy()
