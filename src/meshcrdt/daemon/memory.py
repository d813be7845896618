"""What a launch is remembered by: options that attached workloads depend on, beside the store.

A restart with nothing but the state directory must not take the path, the MTU or the names
from workloads that are attached, so these three stay until they are given anew. Cluster,
secret, ranges and peers are the store's to remember.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from meshcrdt.daemon import values
from meshcrdt.daemon.config import Setting, Settings
from meshcrdt.daemon.json_file import load_json, save_json
from meshcrdt.daemon.options import BY_NAME, Kind

MEMORY_NAME = "launch.json"
FORMAT = 1
REMEMBERED = ("trusted_subnets", "mtu", "dns_domain")


@frozen(kw_only=True)
class Memory:
    """Everything in the file; None stands for an option that nobody ever gave."""

    made_directory: bool = False
    """Whether the daemon made its state directory, and may remove it."""
    trusted_subnets: tuple[str, ...] | None = None
    mtu: int | None = None
    dns_domain: str | None = None


def load_memory(state_dir: Path) -> Memory:
    """Read the file; absent means nothing. Raises CommandError naming it and the reason."""
    return load_json(state_dir / MEMORY_NAME, _memory, absent=Memory(), file_format=FORMAT)


def _memory(content: Any) -> Memory:
    kept = {name: _checked(name, content[name]) for name in REMEMBERED}
    return Memory(made_directory=content["made_directory"] is True, **kept)


def save_memory(state_dir: Path, memory: Memory) -> None:
    """Replace the file; returns when it is on disk. Raises CommandError."""
    save_json(state_dir / MEMORY_NAME, asdict(memory), file_format=FORMAT)


def with_memory(settings: Settings, memory: Memory) -> Settings:
    """Return the settings with what is remembered in place of defaults: who gives, overrules."""
    origin = f"remembered in {settings.state_dir}"
    return settings.replaced(
        {
            name: Setting(getattr(memory, name), origin)
            for name in REMEMBERED
            if getattr(memory, name) is not None and not settings.of(name).given
        }
    )


def memory_of(settings: Settings, before: Memory) -> Memory:
    """Return what is to be remembered after a launch with these settings."""
    given = {name: settings.of(name).value for name in REMEMBERED if settings.of(name).given}
    return evolve(before, **given)


def origins_line(settings: Settings) -> str:
    """Return one line: which values the workloads of this host depend on, and where from."""
    shown = {
        "trusted subnets": ("trusted_subnets", ", ".join(settings.trusted_subnets) or "none"),
        "mtu": ("mtu", str(settings.mtu or values.MTU_AUTO)),
        "domain": ("dns_domain", settings.dns_domain),
    }
    return "; ".join(
        f"{what} {value} ({settings.of(name).origin})" for what, (name, value) in shown.items()
    )


def _checked(name: str, value: Any) -> Any:
    """Hold a remembered value to the rule of its option; raises ValueError."""
    if value is None:
        return None
    option = BY_NAME[name]
    if option.kind is Kind.MANY:
        return tuple(option.check(str(item)) for item in value)
    return option.check(str(value)) if value != 0 else value
