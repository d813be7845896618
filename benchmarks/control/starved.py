"""starved: a quarter of the peers hardly gets the processor; who declares healthy ones dead?

    python -m benchmarks.control.starved --nodes 16

Every peer is a process. A starved one is stopped for most of the time (SIGSTOP, SIGCONT), as
a process is whose machine is overloaded: it sends nothing, and when it runs again it finds
all its deadlines passed. That it is declared dead itself is right; that it takes others for
dead, and tells so, is not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence

from benchmarks.lab.cluster import WorkerFailed, cluster, joined
from benchmarks.lab.row import Figures, main

SYSTEMS = ("meshcrdt", "kinship", "serf")
TIMEOUT_S = 120.0
STEP_S = 0.02


def measure(
    system: str,
    *,
    nodes: int,
    seconds: float = 60.0,
    stopped_s: float = 6.0,
    running_s: float = 0.5,
    seed: int = 1,
    settle_s: float = 10.0,
) -> Figures:
    """Starve the last quarter of the peers for a while."""
    with cluster(system, nodes, split=[1] * nodes) as made:
        found = Figures("starved", system, nodes, version=made.workers[0].ask("version"))
        found.switches = f"stopped {stopped_s:g} s, running {running_s:g} s"
        if joined(made, [1] * nodes, TIMEOUT_S) is None:
            raise WorkerFailed(f"{system}: not everyone knew all within {TIMEOUT_S:g} s")
        time.sleep(settle_s)
        names = made.ask_all("own_id")
        before = [len(deaths) for deaths in made.ask_all("deaths")]
        starved = made.workers[-(nodes // 4) :]
        healthy = set(names[: -len(starved)])
        pids = [worker.pids for worker in starved]
        _starve(pids, seconds, stopped_s, running_s, random.Random(seed))
        time.sleep(2)
        lists = made.ask_all("deaths")
        deaths = [tuple(d) for had, each in zip(before, lists, strict=True) for d in each[had:]]
        wrong = [(observer, subject) for observer, subject in deaths if subject in healthy]
        found.values = {
            "starved": float(len(starved)),
            "healthy_declared_dead": float(len({subject for _, subject in wrong})),
            "declarations_of_healthy": float(len(wrong)),
            "of_them_by_healthy": float(sum(observer in healthy for observer, _ in wrong)),
            "declarations_of_starved": float(len(deaths) - len(wrong)),
        }
        return found


def _starve(
    groups: Sequence[Sequence[int]],
    seconds: float,
    stopped_s: float,
    running_s: float,
    dice: random.Random,
) -> None:
    """Stop and continue groups of processes, each at a phase of its own."""
    with _continued(groups):
        whole_s = stopped_s + running_s
        phases = [dice.uniform(0, whole_s) for _ in groups]
        stopped = [False] * len(groups)
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            for index, pids in enumerate(groups):
                should = (now + phases[index]) % whole_s >= running_s
                if should != stopped[index]:
                    stopped[index] = should
                    for pid in pids:
                        os.kill(pid, signal.SIGSTOP if should else signal.SIGCONT)
            time.sleep(STEP_S)


@contextlib.contextmanager
def _continued(groups: Sequence[Sequence[int]]) -> Iterator[None]:
    """Whatever happens, nobody stays stopped."""
    try:
        yield
    finally:
        for pids in groups:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stopped-s", type=float, default=6.0, dest="stopped_s")
    parser.add_argument("--running-s", type=float, default=0.5, dest="running_s")
    parser.add_argument("--seed", type=int, default=1, help="of the phases")


if __name__ == "__main__":
    main("starved", measure, systems=SYSTEMS, nodes=16, options=options)
