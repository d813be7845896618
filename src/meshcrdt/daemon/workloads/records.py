"""What attach remembers across restarts: one file in the state directory.

Devices outlive the daemon, and what is not desired is removed, so the file has to say what
was attached before the first look at the kernel. It is replaced atomically and fsynced
before the kernel is touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from meshcrdt.daemon.json_file import load_json, save_json

RECORDS_NAME = "workloads.json"
FORMAT = 1


@frozen(kw_only=True)
class Attached:
    """One workload: where it is, and what it has there.

    `addresses` have prefix lengths. `kept` are those that the id held before: they stay with
    it after a detach, which gives back all others (contract: addresses).
    """

    id: str
    target: str
    namespace: str
    identity: str
    addresses: tuple[str, ...]
    kept: tuple[str, ...]
    names: tuple[str, ...]
    mac: str
    since: float
    """Unix time in seconds, for people."""


@frozen(kw_only=True)
class HostPresence:
    """This host's own addresses on the overlay, and whether workloads reach the outside."""

    addresses: tuple[str, ...] = ()
    is_exposed: bool = False


@frozen(kw_only=True)
class Remembered:
    """Everything in the file."""

    workloads: tuple[Attached, ...] = ()
    host: HostPresence = HostPresence()


def load_records(state_dir: Path) -> Remembered:
    """Read the file; absent means nothing. Raises CommandError naming it and the reason."""
    return load_json(state_dir / RECORDS_NAME, _remembered, absent=Remembered(), file_format=FORMAT)


def save_records(state_dir: Path, remembered: Remembered) -> None:
    """Replace the file; returns when it is on disk. Raises CommandError."""
    save_json(state_dir / RECORDS_NAME, asdict(remembered), file_format=FORMAT)


def _remembered(content: Any) -> Remembered:
    return Remembered(
        workloads=tuple(Attached(**_tuples(entry)) for entry in content["workloads"]),
        host=HostPresence(**_tuples(content["host"])),
    )


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
