"""Runs one scenario under many seeds, on any `concurrent.futures` executor.

A run shares nothing with another, so a pool of processes uses every core, and a Dask
cluster every machine. What is sent there is the text of the scenario and a seed; what comes
back is the result.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from meshcrdt import __version__
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.simulate.files import parse_scenario
from meshcrdt.errors import MissingExtra
from meshcrdt.sim.result import result
from meshcrdt.sim.world import World

SEEDS_MAX = 100_000


def run_text(text: str, name: str, seed: int, nodes: int | None) -> dict[str, Any]:
    """Run one scenario under one seed; what a worker does, on whatever machine it is."""
    report = World(parse_scenario(text, name, seed=seed, nodes=nodes)).run()
    return result(report, version=__version__)


def sweep(
    executor: Executor,
    text: str,
    name: str,
    seeds: Sequence[int],
    *,
    nodes: int | None = None,
    done: Callable[[dict[str, Any]], None] = lambda result: None,
) -> list[dict[str, Any]]:
    """Return the results in the order of the seeds; `done` hears each as it comes.

    Any executor does: its `submit` is all that is used.
    """
    futures: dict[Future[dict[str, Any]], int] = {
        executor.submit(run_text, text, name, seed, nodes): place
        for place, seed in enumerate(seeds)
    }
    results: list[dict[str, Any]] = [{} for _ in seeds]
    for future in as_completed(futures):
        results[futures[future]] = future.result()
        done(results[futures[future]])
    return results


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that "0..199" or "1,2,17" means; raises ValueError for anything else."""
    accepted = "a range such as 0..199 or a list such as 1,2,17 is accepted"
    first, dots, last = text.partition("..")
    parts = (first, last) if dots else tuple(text.split(","))
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is neither a range nor a list of seeds: {accepted}")
    numbers = tuple(int(part) for part in parts)
    if not dots:
        return numbers
    if numbers[0] > numbers[1] or numbers[1] - numbers[0] >= SEEDS_MAX:
        raise ValueError(f"{text!r} holds no seeds, or more than {SEEDS_MAX}: {accepted}")
    return tuple(range(numbers[0], numbers[1] + 1))


def parse_executor(text: str) -> str:
    """Check what names an executor; raises ValueError with the line for the user."""
    if text in ("process", "thread") or text.startswith("dask://"):
        return text
    raise ValueError(f"{text!r} is no executor: process, thread and dask://HOST:PORT are accepted")


@contextmanager
def open_executor(kind: str, *, workers: int | None = None) -> Iterator[Executor]:
    """Open an executor by its name; raises CommandError for a cluster that does not answer."""
    if kind == "thread":
        with ThreadPoolExecutor(workers) as threads:
            yield threads
    elif kind == "process":
        # Spawned, not forked: a worker begins with nothing but the package.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as processes:
            yield processes
    else:
        with _dask(kind) as cluster:
            yield cluster


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError:
        raise CommandError(str(MissingExtra("dask", "distributed"))) from None
    url = "tcp://" + address.removeprefix("dask://")
    try:
        client = distributed.Client(url)
    except (OSError, ValueError) as error:
        raise CommandError(f"no Dask scheduler answers at {url}: {error}") from None
    with client:
        # Runs are pure, but a result is wanted of each seed and none is kept on the cluster.
        executor = client.get_executor(pure=False)
        assert isinstance(executor, Executor)
        yield executor
