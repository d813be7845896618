"""A worker: one process in which some peers of one system live, driven by lines of JSON.

    python -m benchmarks.lab.worker benchmarks.peers.kinship:Driver

Commands come on standard input, one a line; each is answered by one line. Peers of a system
that has an interpreter of its own (a virtual environment with its packages) are driven in
the very same way, so that no row knows whom it measures. The worker needs nothing but the
standard library and what its driver imports.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from benchmarks.peers.base import Driver

POLL_S = 0.01


class Worker:
    """Carries out commands on one driver."""

    def __init__(self, driver: Driver, answers: TextIO) -> None:
        self._driver = driver
        self._answers = answers

    async def serve(self) -> None:
        """Answer commands until standard input ends."""
        while line := await self._driver.in_thread(sys.stdin.readline):
            order = json.loads(line)
            try:
                answer = {"ok": await self._carry_out(**order)}
            except Exception as error:
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            self._answers.write(json.dumps(answer) + "\n")
            self._answers.flush()
            if order["command"] == "stop":
                return

    async def _carry_out(self, command: str, **arguments: Any) -> Any:
        if command == "stop":
            return None  # answered, then the worker ends
        if command == "wait":
            return await self._wait(**arguments)
        if command == "sleep":
            return await self._driver.sleep(arguments["seconds"])
        return await self._command(command)(**arguments)

    def _command(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return what the driver has under a name; not every system can do everything."""
        found: Callable[..., Awaitable[Any]] | None = getattr(self._driver, name, None)
        if found is None:
            raise LookupError(f"{self._driver.name} has no {name!r}")
        return found

    async def _wait(
        self, *, timeout_s: float, since: float, poll_s: float = POLL_S, **least: int
    ) -> float | None:
        """Return how long after `since` every count was reached, or None.

        `least` names counts of the driver, such as known=50; with `most_` before the name
        it is an upper bound.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all([await self._holds(name, bound) for name, bound in least.items()]):
                return time.monotonic() - since
            await self._driver.sleep(poll_s)
        return None

    async def _holds(self, name: str, bound: int) -> bool:
        if name.startswith("most_"):
            return bool(await self._command(name.removeprefix("most_"))() <= bound)
        return bool(await self._command(name)() >= bound)


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    # What a driver prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    driver: Driver = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    driver.run(Worker(driver, answers).serve)


if __name__ == "__main__":
    main()
