"""What the verbs of the simulator do: run, sweep and replay, each from names to one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from meshcrdt import __version__
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.simulate import pool
from meshcrdt.daemon.simulate.files import load_scenario, scenario_text
from meshcrdt.errors import UsageError
from meshcrdt.sim.compare import together
from meshcrdt.sim.replay import replay as replay_trace
from meshcrdt.sim.result import result
from meshcrdt.sim.trace import Recorder
from meshcrdt.sim.world import World


def run(name: str, *, seed: int, nodes: int | None, record: str | None) -> dict[str, Any]:
    """Run a scenario once; returns its result."""
    world = World(load_scenario(name, seed=seed, nodes=nodes))
    with ExitStack() as stack:
        if record is not None:
            try:
                stream = stack.enter_context(Path(record).open("w", encoding="utf-8"))
            except OSError as error:
                reason = error.strerror
                raise CommandError(f"trace {record} cannot be written: {reason}") from None
            world.record(Recorder(lambda line: print(line, file=stream), version=__version__))
        return result(world.run(), version=__version__)


def sweep(
    name: str,
    seeds: Sequence[int],
    *,
    nodes: int | None,
    executor: str,
    workers: int | None,
    done: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run a scenario under many seeds; returns one result of all."""
    load_scenario(name, seed=seeds[0], nodes=nodes)  # a mistake is found before a pool starts
    text, shown = scenario_text(name)
    with pool.open_executor(executor, workers=workers) as opened:
        return together(pool.sweep(opened, text, shown, seeds, nodes=nodes, done=done))


def replay(path: str, *, node: str | None) -> dict[str, Any]:
    """Replay a trace; returns what it showed."""
    try:
        with Path(path).open(encoding="utf-8") as stream:
            found = replay_trace(stream, node=node, name=f"trace {path}")
    except OSError as error:
        raise CommandError(f"trace {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"trace {path} is not text: {error.reason}") from None
    except UsageError as error:
        raise CommandError(str(error)) from None
    return {
        "same": found.difference is None,
        "nodes": found.nodes,
        "turns": found.turns,
        "signatures": found.signatures,
        "difference": None if found.difference is None else str(found.difference),
    }


def replay_text(value: dict[str, Any]) -> str:
    """Return what a replay showed, as a line."""
    if not value["same"]:
        return f"different: {value['difference']}"
    return (
        f"the same: {value['turns']} turns of {value['nodes']} processes, "
        f"{value['signatures']} signatures verified"
    )
