"""A cluster of one system, in one or two namespaces, seen from outside."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

from attrs import define, field

from benchmarks.lab import meter
from benchmarks.lab.namespaces import Count, Namespace, missing, namespaces
from benchmarks.lab.systems import ROOT, SYSTEMS, System

ANSWER_TIMEOUT_S = 900


class WorkerFailed(Exception):
    """A worker answered with an error, or ended."""


def _nameless() -> IO[str]:
    """Return a file that is gone with whoever closes it."""
    return tempfile.TemporaryFile("w+")


class Handle:
    """A worker process, from the side of the row."""

    def __init__(self, system: System, enter: Sequence[str], options: dict[str, Any]) -> None:
        # What workers and their libraries say matters only when one of them fails.
        self._log = _nameless()
        self._process = subprocess.Popen(
            [
                *enter,
                system.python,
                "-m",
                "benchmarks.lab.worker",
                system.driver,
                json.dumps(options),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self.system = system
        self._pids: list[int] = []

    def send(self, command: str, **arguments: Any) -> None:
        """Give an order without waiting; `answer` takes what comes of it, in order."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerFailed(f"{self.system.name}: the worker has ended") from error

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            said = self._log.read().strip().splitlines()[-1:]
            raise WorkerFailed(f"{self.system.name}: the worker has ended: {''.join(said)}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.system.name}: {answer['error']}")
        return answer["ok"]

    def ask(self, command: str, **arguments: Any) -> Any:
        self.send(command, **arguments)
        return self.answer()

    @property
    def pids(self) -> list[int]:
        if not self._pids:
            self._pids = self.ask("pids")
        return self._pids

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        with contextlib.suppress(WorkerFailed, OSError):
            self.send("stop")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            print(f"{self.system.name}: the worker does not end, killing it", file=sys.stderr)
            self._process.kill()
            self._process.wait()
        self._log.close()


@define
class Usage:
    """What the peers of a cluster used between two moments."""

    seconds: float
    cpu_s: float
    bytes: int | None
    packets: int | None


@define
class Cluster:
    """Workers of one system and the namespaces that they are in."""

    system: System
    size: int
    workers: list[Handle]
    spaces: list[Namespace]
    note: str = ""
    """What of this could not be measured here."""
    _start: tuple[float, float, list[Count]] = field(default=(0.0, 0.0, []))

    def begin(self) -> None:
        """Start to count."""
        self._start = (time.monotonic(), self._cpu(), [s.count() for s in self.spaces])

    def used(self) -> Usage:
        """Return what was used since `begin`."""
        counts = [s.count() for s in self.spaces]
        began, cpu_s, before = self._start
        moved = [now.since(then) for now, then in zip(counts, before, strict=True)]
        return Usage(
            time.monotonic() - began,
            self._cpu() - cpu_s,
            sum(c.size_bytes for c in moved) if moved else None,
            sum(c.packets for c in moved) if moved else None,
        )

    @property
    def began(self) -> float:
        return self._start[0]

    def _cpu(self) -> float:
        return meter.cpu_s(pid for worker in self.workers for pid in worker.pids)

    def rss(self) -> int:
        return meter.rss_bytes(pid for worker in self.workers for pid in worker.pids)

    def ask_all(self, command: str, **arguments: Any) -> list[Any]:
        """Give all workers an order at once; return their answers."""
        for worker in self.workers:
            worker.send(command, **arguments)
        return [worker.answer() for worker in self.workers]

    def wait(self, timeout_s: float, *, since: float | None = None, **least: int) -> float | None:
        """Return when, in seconds after `since`, all peers had reached counts; None if never."""
        origin = self.began if since is None else since
        times = self.ask_all("wait", timeout_s=timeout_s, since=origin, **least)
        return None if None in times else max(times)

    def cut(self) -> None:
        for space in self.spaces:
            space.cut()

    def mend(self) -> None:
        for space in self.spaces:
            space.mend()


@contextlib.contextmanager
def cluster(
    name: str, size: int, *, halves: int = 1, split: Sequence[int] | None = None, **options: Any
) -> Iterator[Cluster]:
    """Give a cluster whose peers listen, each alone still; `halves` of 2 makes two namespaces.

    `split` says how many peers each worker has; by default each namespace has one worker,
    with as many peers as the others.
    """
    system = SYSTEMS[name]
    without = missing()
    if without is not None and halves > 1:
        raise WorkerFailed(f"{name}: two halves: {without}")
    with contextlib.ExitStack() as stack:
        spaces: list[Namespace] = []
        if without is None:
            spaces = stack.enter_context(namespaces(halves))
        sizes = split or [size // halves + (index < size % halves) for index in range(halves)]
        workers = []
        first = 0
        for index, count in enumerate(sizes):
            space = spaces[index % len(spaces)] if spaces else None
            worker = Handle(
                system,
                space.enter if space else (),
                {
                    "host": space.host if space else "127.0.0.1",
                    "first": first,
                    "founds": index == 0,
                    **options,
                },
            )
            stack.callback(worker.close)
            workers.append(worker)
            first += count
        made = Cluster(system, size, workers, spaces)
        if without is not None:
            made.note = f"bytes are left out: {without}"
        yield made


def joined(made: Cluster, sizes: Sequence[int], timeout_s: float) -> float | None:
    """Start all peers, join all through the first one; return seconds until all know all."""
    seeds = [w.ask("start", count=n) for w, n in zip(made.workers, sizes, strict=True)]
    made.begin()
    made.ask_all("join", seed=seeds[0])
    return made.wait(timeout_s, known=made.size)
