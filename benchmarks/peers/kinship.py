"""kinship (PyPI): SWIM membership with Lifeguard, in Rust; N nodes in one process."""

from __future__ import annotations

import asyncio
import time

import kinship

from benchmarks.lab.ports import FIRST_PEER_PORT
from benchmarks.peers.base import Driver as Base

KEY = bytes(31) + b"\x01"


class Driver(Base):
    """Clusters on UDP with the LAN preset, sealed. Its state is 512 bytes of tags a node."""

    name = "kinship"

    async def version(self) -> str:
        return f"kinship {kinship.__version__}"

    async def start(self, count: int) -> str:
        self._nodes = []
        self._tasks = []
        self._deaths: list[tuple[str, str]] = []
        self._seen: dict[str, list[int]] = {}
        self._everywhere: dict[str, asyncio.Event] = {}
        for index in range(count):
            config = kinship.Config.lan(
                name=f"n{self.first + index}",
                bind=f"{self.host}:{FIRST_PEER_PORT + self.first + index}",
                keys=[KEY],
            )
            node = kinship.Cluster(config)
            await node.start()
            self._nodes.append(node)
            self._tasks.append(asyncio.create_task(self._events(node)))
        return self._nodes[0].local.addr

    async def join(self, seed: str) -> None:
        others = [node for node in self._nodes if node.local.addr != seed]
        await asyncio.gather(*(node.join([seed]) for node in others))

    async def connect(self, seed: str) -> None:
        await self._nodes[0].join([seed])

    def _known(self) -> list[int]:
        return [
            sum(member.state is kinship.State.ALIVE for member in node.members())
            for node in self._nodes
        ]

    async def known(self) -> int:
        return min(self._known())

    async def known_most(self) -> int:
        return max(self._known())

    async def present_most(self) -> int:
        return max(len(node.members()) for node in self._nodes)

    async def update(self, count: int, gap_s: float) -> list[float]:
        taken = []
        for number in range(count):
            key, value = self.next_update()
            event = self._everywhere[value] = asyncio.Event()
            self._seen[value] = [len(self._nodes) - 1]
            start = time.perf_counter()
            await self._nodes[number % len(self._nodes)].set_meta({key: value})
            await asyncio.wait_for(event.wait(), 60)
            taken.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(gap_s)
        return taken

    async def _events(self, node: kinship.Cluster) -> None:
        async for event in node.events():
            if isinstance(event, kinship.MemberUpdated):
                for value in event.member.meta.values():
                    self._arrived(value)
            elif isinstance(event, kinship.MemberDead):
                self._deaths.append((node.local.name, event.member.name))

    def _arrived(self, value: str) -> None:
        left = self._seen.get(value)
        if left is not None:
            left[0] -= 1
            if left[0] == 0:
                self._everywhere.pop(value).set()
                del self._seen[value]

    async def deaths(self) -> list[tuple[str, str]]:
        return self._deaths

    async def own_id(self) -> str:
        return self._nodes[0].local.name

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for node in self._nodes:
            await node.close()
