"""The trio side of a driver: a nursery that outlives each command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from benchmarks.peers.base import Driver


class TrioDriver(Driver):
    """A driver whose system runs in trio."""

    _nursery: trio.Nursery

    def run(self, serve: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    await serve()
                finally:
                    nursery.cancel_scope.cancel()

        profiled(self.options.get("profile"), lambda: trio.run(whole))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        return await trio.to_thread.run_sync(function)


def profiled(path: str | None, action: Callable[[], None]) -> None:
    """Run an action, under a profiler when there is a path for what it finds."""
    if path is None:
        return action()
    import cProfile

    profiler = cProfile.Profile()
    try:
        profiler.runcall(action)
    finally:
        profiler.dump_stats(path)
    return None
