"""serf (Debian package `serf`): HashiCorp's agent on memberlist, one process a peer.

Driven by its RPC (msgpack over TCP on ports that are not counted). What it spreads are user
events, which are not state: whoever comes later never hears of them. So there is no heal of
data to measure, only of membership.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
from typing import Any, NamedTuple

import msgpack

from benchmarks.lab.ports import FIRST_CONTROL_PORT, FIRST_PEER_PORT
from benchmarks.peers.base import Driver as Base
from benchmarks.peers.base import quiet

KEY = base64.b64encode(bytes(31) + b"\x01").decode()
START_TIMEOUT_S = 30


class _Call(NamedTuple):
    """A call that waits for its answer, and whether a body follows the head of it."""

    answer: asyncio.Future[Any]
    bodies: int


class Rpc:
    """One connection to an agent: commands with answers, and streams of events."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._last = 0
        self._answers: dict[int, _Call] = {}
        self._streams: dict[int, Any] = {}

    async def open(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        self._task = asyncio.create_task(self._read())
        await self.call("handshake", {"Version": 1}, bodies=0)

    async def call(self, command: str, body: Any = None, *, bodies: int = 1) -> Any:
        self._last += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._last] = _Call(future, bodies)
        head = msgpack.packb({"Command": command, "Seq": self._last})
        self._writer.write(head + (b"" if body is None else msgpack.packb(body)))
        return await asyncio.wait_for(future, 30)

    async def stream(self, kind: str, sink: Any) -> None:
        self._streams[self._last + 1] = sink
        await self.call("stream", {"Type": kind}, bodies=0)

    async def _read(self) -> None:
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, unicode_errors="replace")

        async def item() -> Any:
            while True:
                try:
                    return unpacker.unpack()
                except msgpack.OutOfData:
                    data = await self._reader.read(65_536)
                    if not data:
                        raise ConnectionError("the agent closed the RPC connection") from None
                    unpacker.feed(data)

        while True:
            head = await item()
            asked = self._answers.pop(head["Seq"], None)
            if asked is not None:
                if head.get("Error"):
                    asked.answer.set_exception(RuntimeError(head["Error"]))
                    continue
                asked.answer.set_result(await item() if asked.bodies else None)
            elif head["Seq"] in self._streams:
                self._streams[head["Seq"]](await item())

    def close(self) -> None:
        self._task.cancel()
        self._writer.close()


def _package() -> str:
    """Return the version of the Debian package, or nothing."""
    command = ["dpkg-query", "-W", "-f", "${Version}", "serf"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Driver(Base):
    """Agents with the LAN profile, sealed."""

    name = "serf"
    keeps_state = False

    async def version(self) -> str:
        return f"serf {await self.in_thread(_package) or '(unknown package)'}"

    async def pids(self) -> list[int]:
        return [process.pid for process in self._agents]

    async def start(self, count: int) -> str:
        self._agents = []
        self._rpc: list[Rpc] = []
        self._deaths: list[tuple[str, str]] = []
        self._left: dict[str, int] = {}
        self._everywhere: dict[str, asyncio.Event] = {}
        for index in range(count):
            number = self.first + index
            command = ["serf", "agent", f"-node=n{number}", f"-encrypt={KEY}", "-log-level=err"]
            command += [f"-bind={self.host}:{FIRST_PEER_PORT + number}"]
            command += [f"-rpc-addr=127.0.0.1:{FIRST_CONTROL_PORT + number}"]
            self._agents.append(quiet(command))
        for index in range(count):
            rpc = Rpc(FIRST_CONTROL_PORT + self.first + index)
            await rpc.open()
            name = f"n{self.first + index}"
            await rpc.stream("member-failed", lambda event, name=name: self._failed(name, event))
            await rpc.stream("user", self._user)
            self._rpc.append(rpc)
        self._address = f"{self.host}:{FIRST_PEER_PORT + self.first}"
        return self._address

    async def join(self, seed: str) -> None:
        others = self._rpc[1:] if seed == self._address else self._rpc
        order = {"Existing": [seed], "Replay": False}
        await asyncio.gather(*(rpc.call("join", order) for rpc in others))

    async def connect(self, seed: str) -> None:
        await self._rpc[0].call("join", {"Existing": [seed], "Replay": False})

    async def _known(self) -> list[int]:
        answers = await asyncio.gather(*(rpc.call("members") for rpc in self._rpc))
        return [sum(m["Status"] == "alive" for m in answer["Members"]) for answer in answers]

    async def known(self) -> int:
        return min(await self._known())

    async def known_most(self) -> int:
        return max(await self._known())

    async def present_most(self) -> int:
        """Those that are merely suspected are alive to whoever asks an agent."""
        return await self.known_most()

    async def update(self, count: int, gap_s: float) -> list[float]:
        taken = []
        for number in range(count):
            key, value = self.next_update()
            event = self._everywhere[key] = asyncio.Event()
            self._left[key] = len(self._rpc)
            order = {"Name": key, "Payload": value.encode(), "Coalesce": False}
            start = time.perf_counter()
            await self._rpc[number % len(self._rpc)].call("event", order, bodies=0)
            await asyncio.wait_for(event.wait(), 60)
            taken.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(gap_s)
        return taken

    def _user(self, event: Any) -> None:
        key = event["Name"]
        if key in self._left:
            self._left[key] -= 1
            if self._left[key] == 0:
                del self._left[key]
                self._everywhere.pop(key).set()

    def _failed(self, observer: str, event: Any) -> None:
        self._deaths += [(observer, member["Name"]) for member in event["Members"]]

    async def deaths(self) -> list[tuple[str, str]]:
        return self._deaths

    async def own_id(self) -> str:
        return f"n{self.first}"

    async def close(self) -> None:
        for rpc in self._rpc:
            rpc.close()
        for agent in self._agents:
            agent.kill()
            agent.wait()
