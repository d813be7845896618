"""Scenario files and results on disk; the scenarios that come with meshcrdt are read here too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.errors import UsageError
from meshcrdt.sim.compare import figures_of
from meshcrdt.sim.scenario import NODES_MAX, Scenario
from meshcrdt.sim.scenario_file import read_scenario

SUFFIX = ".toml"


def _shelf() -> Traversable:
    return files("meshcrdt.sim") / "scenarios"


def shipped() -> list[str]:
    """Return the names of the scenarios that come with meshcrdt."""
    return sorted(
        entry.name.removesuffix(SUFFIX)
        for entry in _shelf().iterdir()
        if entry.name.endswith(SUFFIX)
    )


def scenario_text(name: str) -> tuple[str, str]:
    """Return the text of a scenario file, or of one that comes with meshcrdt, and its name.

    What has a slash or ends in .toml is a file. Raises CommandError: exit 2 for a name that
    nothing has, 1 for a file that cannot be read.
    """
    if "/" not in name and not name.endswith(SUFFIX):
        if name not in shipped():
            raise CommandError(
                f"scenario {name!r} is not known: a file that ends in {SUFFIX}, or one of "
                f"{', '.join(shipped())}, is accepted",
                code=ExitCode.USAGE,
            )
        return (_shelf() / f"{name}{SUFFIX}").read_text(encoding="utf-8"), name
    try:
        return Path(name).read_text(encoding="utf-8"), name
    except OSError as error:
        raise CommandError(f"scenario {name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"scenario {name} is not text: {error.reason}") from None


def load_scenario(name: str, *, seed: int = 0, nodes: int | None = None) -> Scenario:
    """Return a scenario by its file or its name; raises CommandError for one that is wrong."""
    text, shown = scenario_text(name)
    return parse_scenario(text, shown, seed=seed, nodes=nodes)


def parse_scenario(text: str, name: str, *, seed: int, nodes: int | None = None) -> Scenario:
    """Return the scenario of a text; raises CommandError for one that is wrong."""
    try:
        scenario = read_scenario(text, name=name, seed=seed)
        return scenario.sized(nodes=nodes)
    except UsageError as error:
        raise CommandError(str(error)) from None


def nodes_in_range(text: str) -> int:
    """Return a number of nodes; raises ValueError with the line for the user."""
    if not text.isdecimal() or not 1 <= int(text) <= NODES_MAX:
        raise ValueError(f"{text!r} is not a number of nodes: 1 to {NODES_MAX} is accepted")
    return int(text)


def save(path: str, value: Mapping[str, Any]) -> None:
    """Write an object as JSON; raises CommandError."""
    try:
        Path(path).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"result {path} cannot be written: {error.strerror}") from None


def load_result(path: str) -> dict[str, Any]:
    """Return a result that `save` wrote; raises CommandError for what is none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"result {path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"result {path} is not JSON: {error}") from None
    try:
        figures_of(value)
    except UsageError as error:
        raise CommandError(f"{path}: {error}") from None
    assert isinstance(value, dict)
    return value
