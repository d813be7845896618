"""py-libp2p's gossipsub (PyPI `libp2p`): N hosts in one process, sealed by Noise.

It has no membership: who exists is for others to know. Here each host dials the next three,
and "joined" means that each has enough neighbours in the topic's mesh. Messages are not
state: whoever comes later never hears of them.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from importlib.metadata import version
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from benchmarks.lab.ports import FIRST_PEER_PORT
from benchmarks.peers.trio_loop import TrioDriver

TOPIC = "bench"
DEGREE = 6
DEGREE_LOW = 4
DEGREE_HIGH = 12
DIALS = 3
HEARTBEAT_S = 1


class Driver(TrioDriver):
    """Hosts with a heartbeat of a second and the degrees of the specification."""

    name = "gossipsub"
    keeps_state = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        logging.disable(logging.CRITICAL)
        self._hosts: list[Any] = []
        self._routers: list[GossipSub] = []
        self._pubsubs: list[Pubsub] = []
        self._waiting: dict[bytes, tuple[int, trio.Event]] = {}

    async def version(self) -> str:
        return f"py-libp2p {version('libp2p')}"

    async def start(self, count: int) -> str:
        for index in range(count):
            await self._nursery.start(self._live, index)
        return self._address(0)

    def _address(self, index: int) -> str:
        port = FIRST_PEER_PORT + self.first + index
        return f"/ip4/{self.host}/tcp/{port}/p2p/{self._hosts[index].get_id()}"

    async def _live(self, index: int, task_status: Any) -> None:
        address = Multiaddr(f"/ip4/{self.host}/tcp/{FIRST_PEER_PORT + self.first + index}")
        host = new_host(key_pair=create_new_key_pair(secrets.token_bytes(32)))
        router = GossipSub(
            protocols=[PROTOCOL_ID_V12],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_S,
            # All hosts are at one address and one sends all: neither is an attack here.
            max_messages_per_topic_per_second=1e6,
            eclipse_protection_enabled=False,
        )
        pubsub = Pubsub(host, router)
        async with (
            host.run([address]),
            background_trio_service(pubsub),
            background_trio_service(router),
        ):
            await pubsub.wait_until_ready()
            self._nursery.start_soon(self._read, await pubsub.subscribe(TOPIC))
            self._hosts.append(host)
            self._routers.append(router)
            self._pubsubs.append(pubsub)
            task_status.started()
            await trio.sleep(math.inf)

    async def join(self, seed: str) -> None:
        count = len(self._hosts)
        async with trio.open_nursery() as nursery:
            for index in range(count):
                for step in range(1, min(DIALS, count - 1) + 1):
                    nursery.start_soon(self._dial, index, (index + step) % count)

    async def _dial(self, index: int, other: int) -> None:
        info = info_from_p2p_addr(Multiaddr(self._address(other)))
        await self._hosts[index].connect(info)

    async def known(self) -> int:
        """Return the size of the cluster once every mesh has enough neighbours."""
        count = len(self._hosts)
        enough = min(DEGREE_LOW, count - 1)
        least = min(len(router.mesh.get(TOPIC, ())) for router in self._routers)
        return count if least >= enough else least

    async def update(self, count: int, gap_s: float) -> list[float]:
        return [await self._one(number, gap_s) for number in range(count)]

    async def _one(self, number: int, gap_s: float) -> float:
        data = "".join(self.next_update()).encode()
        everywhere = trio.Event()
        self._waiting[data] = (len(self._hosts), everywhere)
        start = time.perf_counter()
        await self._pubsubs[number % len(self._hosts)].publish(TOPIC, data)
        with trio.fail_after(60):
            await everywhere.wait()
        taken = (time.perf_counter() - start) * 1e3
        await trio.sleep(gap_s)
        return taken

    async def _read(self, subscription: Any) -> None:
        while True:
            message = await subscription.get()
            left, everywhere = self._waiting.get(message.data, (0, None))
            if everywhere is not None:
                self._waiting[message.data] = (left - 1, everywhere)
                if left == 1:
                    del self._waiting[message.data]
                    everywhere.set()
