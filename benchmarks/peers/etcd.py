"""etcd (Debian package `etcd-server`): Raft, one process a member, by its gRPC.

A cluster is named in full when it starts, and is not sealed here: Debian's package has no
certificates of its own. The few messages are written by hand, so that no generated code is
between the bench and the server.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time

import grpc

from benchmarks.lab.ports import FIRST_CONTROL_PORT, FIRST_PEER_PORT
from benchmarks.peers.base import Driver as Base
from benchmarks.peers.base import quiet

START_TIMEOUT_S = 30


def _field(number: int, data: bytes) -> bytes:
    """Return a length-delimited protobuf field shorter than 128 bytes."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def put_request(key: str, value: str) -> bytes:
    return _field(1, key.encode()) + _field(2, value.encode())


class Driver(Base):
    """Members with the defaults of the package, data in a temporary directory."""

    name = "etcd"

    async def version(self) -> str:
        out = await self.in_thread(
            lambda: subprocess.run(
                ["etcd", "--version"], capture_output=True, text=True, check=True
            )
        )
        return out.stdout.splitlines()[0].replace(" Version:", "")

    async def pids(self) -> list[int]:
        return [process.pid for process in self._members]

    async def start(self, count: int) -> str:
        self._directory = tempfile.TemporaryDirectory(dir=self.options.get("directory"))
        peers = self.options.get("addresses") or [
            f"{self.host}:{FIRST_PEER_PORT + index}" for index in range(count)
        ]
        self._size = len(peers)
        named = ",".join(f"n{index}=http://{peer}" for index, peer in enumerate(peers))
        self._members = []
        self._channels = []
        self._puts = []
        self._seen: dict[bytes, tuple[int, asyncio.Event]] = {}
        self._watches: list[asyncio.Task[None]] = []
        for index in range(self.first, self.first + count):
            client = f"http://127.0.0.1:{FIRST_CONTROL_PORT + index}"
            command = ["etcd", "--name", f"n{index}", "--log-level", "error"]
            command += ["--data-dir", f"{self._directory.name}/{index}"]
            command += ["--listen-peer-urls", f"http://{peers[index]}"]
            command += ["--initial-advertise-peer-urls", f"http://{peers[index]}"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--initial-cluster", named]
            self._members.append(quiet(command))
            channel = grpc.aio.insecure_channel(client.removeprefix("http://"))
            self._channels.append(channel)
            self._puts.append(channel.unary_unary("/etcdserverpb.KV/Put"))
        return peers[self.first]

    async def join(self, seed: str) -> None:
        """Nothing to do: they find each other by the list that each was given."""

    async def known(self) -> int:
        try:
            for put in self._puts:
                await put(put_request("known", "yes"), timeout=1)
        except grpc.aio.AioRpcError:
            return 0
        return self._size

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream("/etcdserverpb.Watch/Watch")()
        # WatchRequest{create_request{key: "update", range_end: "updatf"}}
        await call.write(_field(1, _field(1, b"update") + _field(2, b"updatf")))
        async for answer in call:
            for key in [key for key in self._seen if key in answer]:
                left, everywhere = self._seen[key]
                self._seen[key] = (left - 1, everywhere)
                if left == 1:
                    del self._seen[key]
                    everywhere.set()

    async def update(self, count: int, gap_s: float) -> list[float]:
        if not self._watches:
            self._watches = [asyncio.create_task(self._watch(c)) for c in self._channels]
            await asyncio.sleep(1)
        taken = []
        for number in range(count):
            key, value = self.next_update()
            event = asyncio.Event()
            self._seen[key.encode()] = (len(self._channels), event)
            start = time.perf_counter()
            await self._puts[number % len(self._puts)](put_request(key, value))
            await asyncio.wait_for(event.wait(), 60)
            taken.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(gap_s)
        return taken

    async def try_writes(self, count: int, timeout_s: float) -> int:
        """Return how many of some writes at the first member here were accepted."""
        accepted = 0
        for _ in range(count):
            try:
                await self._puts[0](put_request(*self.next_update()), timeout=timeout_s)
                accepted += 1
            except grpc.aio.AioRpcError as error:
                self.refusal = error.details()
        return accepted

    async def puts(self, count: int, callers: int) -> float:
        """Return puts a second of so many callers, each with a connection of its own."""
        target = f"127.0.0.1:{FIRST_CONTROL_PORT + self.first}"
        # Channels of equal target share one connection unless they are told not to.
        option = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(target, options=option) for _ in range(callers)]

        async def caller(channel: grpc.aio.Channel) -> None:
            put = channel.unary_unary("/etcdserverpb.KV/Put")
            for _ in range(count // callers):
                await put(put_request(*self.next_update()))

        start = time.perf_counter()
        await asyncio.gather(*map(caller, channels))
        taken = time.perf_counter() - start
        for channel in channels:
            await channel.close()
        return count / taken

    async def close(self) -> None:
        for task in self._watches:
            task.cancel()
        for channel in self._channels:
            await channel.close()
        for member in self._members:
            member.kill()
            member.wait()
        self._directory.cleanup()
