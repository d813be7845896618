"""Ours: N meshes in one process, sealed and signed, by the public API alone."""

from __future__ import annotations

import inspect
import math
import time
from typing import Any

import trio
from attrs import evolve

import meshcrdt
from benchmarks.lab.ports import FIRST_PEER_PORT
from benchmarks.peers.base import entry
from benchmarks.peers.trio_loop import TrioDriver
from meshcrdt.gossip.tree_messages import Spread
from meshcrdt.mesh import open as opening
from meshcrdt.node.config import NodeConfig

CHANNEL = "bench/map"


def spread(how: Spread) -> None:
    """Let every mesh of this process spread deltas so: of nodes an option, of meshes none."""
    made = opening._node_config

    def changed(*given: Any) -> NodeConfig:
        return evolve(made(*given), spread=how)

    opening._node_config = changed


class Driver(TrioDriver):
    """Meshes on TCP. `limits` may override bounds, `plain` leaves the sealing out."""

    name = "meshcrdt"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if "spread" in self.options:
            spread(Spread(self.options["spread"]))
        self.meshes: list[meshcrdt.Mesh] = []
        self._waiting: dict[str, tuple[int, trio.Event]] = {}
        self._deaths: list[tuple[str, str]] = []

    async def version(self) -> str:
        return f"meshcrdt {meshcrdt.__version__}"

    async def start(self, count: int) -> str:
        """Start the first peer; the others open when they join, which is part of joining."""
        self._count = count
        if self.options.get("founds", True):
            await self._open(0, ())
            return self.meshes[0].listening[0]
        return self._address(0)

    def _address(self, index: int) -> str:
        return f"tcp://{self.host}:{FIRST_PEER_PORT + self.first + index}"

    async def join(self, seed: str) -> None:
        async with trio.open_nursery() as nursery:
            for index in range(len(self.meshes), self._count):
                nursery.start_soon(self._open, index, (seed,))

    async def _open(self, index: int, peers: tuple[str, ...]) -> None:
        await self._nursery.start(self._live, index, peers)

    async def _live(self, index: int, peers: tuple[str, ...], task_status: Any) -> None:
        security: dict[str, Any] = {"secret": bytes(32)}
        if self.options.get("plain"):
            security = {"security": meshcrdt.Security.INSECURE}
        if "detection" in self.options:
            security["detection"] = detection(self.options["detection"])
        store = self.options.get("store") if index == 0 else None
        async with meshcrdt.open_mesh(
            name=f"n{self.first + index}",
            listen=[self._address(index)],
            peers=peers,
            store=f"sqlite://{store}/{self.first}.db" if store else "mem://",
            limits=meshcrdt.Limits(**self.options.get("limits", {})),
            join_wait_s=0,
            **security,
        ) as mesh:
            self.meshes.append(mesh)
            task_status.started()
            self._nursery.start_soon(self._watch_deaths, mesh)
            await trio.sleep(math.inf)

    async def visit(self, seed: str) -> None:
        """Let the first peer here join, remember the cluster in its store, and go again."""
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._live, 0, (seed,))
                await self.meshes[0].ready(30)
                await self.meshes[0].members(at_least=2, timeout=30)
                scope.cancel()
        self.meshes.clear()

    async def resume(self) -> str:
        """Open the first peer from its store alone."""
        await self._open(0, ())
        return self.meshes[0].listening[0]

    async def connect(self, seed: str) -> None:
        await self.meshes[0].connect([seed])

    # --- what is asked -------------------------------------------------------------------

    def _known(self) -> list[int]:
        known = [1 + len(mesh.node.alive()) for mesh in self.meshes]
        return known + [0] * (self._count - len(known))

    async def known(self) -> int:
        return min(self._known())

    async def known_most(self) -> int:
        return max(self._known())

    async def present_most(self) -> int:
        return max(
            1 + sum(member.state.value in ("alive", "suspect") for member in mesh.status().members)
            for mesh in self.meshes
        )

    async def links(self) -> list[int]:
        return [mesh.activity().links for mesh in self.meshes]

    async def agreeing(self) -> int:
        """Return 1 when every mesh here holds the same bytes in every replicated channel."""
        digests = [dict(mesh.status().digests) for mesh in self.meshes]
        return int(all(each == digests[0] for each in digests))

    async def write(self, kind: str, first: int, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(first, first + count):
                mesh = self.meshes[number % len(self.meshes)]
                nursery.start_soon(mesh.channel(CHANNEL).put, *entry(kind, number))

    async def entries(self) -> int:
        return min(len(mesh.node.items(CHANNEL)) for mesh in self.meshes)

    async def try_writes(self, count: int, timeout_s: float) -> int:
        """Return how many of some writes at the first mesh here were accepted: map and address."""
        mesh = self.meshes[0]
        accepted = 0
        for number in range(count):
            key, value = self.next_update()
            with trio.move_on_after(timeout_s):
                await mesh.channel(CHANNEL).put(key, value)
                outcome = await mesh.ipam.allocate(f"w{number}", timeout=timeout_s)
                accepted += outcome.outcome == "allocated"
        return accepted

    async def addresses(self) -> list[str]:
        """Return every address that was given here, with repeats if there are any."""
        return [
            address
            for mesh in self.meshes
            for given in mesh.node.ipam_entries().values()
            for address in given
        ]

    async def update(self, count: int, gap_s: float) -> list[float]:
        with trio.CancelScope() as watching:
            async with trio.open_nursery() as nursery:
                for mesh in self.meshes:
                    await nursery.start(self._watch, mesh)
                taken = [await self._one(number, gap_s) for number in range(count)]
                watching.cancel()
        return taken

    async def _one(self, number: int, gap_s: float) -> float:
        key, value = self.next_update()
        everywhere = trio.Event()
        self._waiting[key] = (len(self.meshes), everywhere)
        start = time.perf_counter()
        await self.meshes[number % len(self.meshes)].channel(CHANNEL).put(key, value)
        with trio.fail_after(60):
            await everywhere.wait()
        taken = (time.perf_counter() - start) * 1e3
        await trio.sleep(gap_s)
        return taken

    async def _watch(self, mesh: meshcrdt.Mesh, task_status: Any) -> None:
        async with mesh.channel(CHANNEL).watch(prefix="update") as changes:
            task_status.started()
            async for change in changes:
                if isinstance(change, meshcrdt.Change) and change.key in self._waiting:
                    left, everywhere = self._waiting[change.key]
                    self._waiting[change.key] = (left - 1, everywhere)
                    if left == 1:
                        del self._waiting[change.key]
                        everywhere.set()

    async def _watch_deaths(self, mesh: meshcrdt.Mesh) -> None:
        async with mesh.notices() as notices:
            async for notice in notices:
                text = getattr(notice, "text", "")
                if f"{getattr(notice, 'peer', None)} is dead" in text:
                    self._deaths.append((str(mesh.peer), str(notice.peer)))

    async def deaths(self) -> list[tuple[str, str]]:
        return self._deaths

    async def own_id(self) -> str:
        return str(self.meshes[0].peer)


def detection(value: str) -> Any:
    """Return the way of failure detection that a version with a choice names so."""
    kind = inspect.signature(meshcrdt.open_mesh).parameters["detection"].default.__class__
    return kind(value)
