"""What is remembered of a launch, and what a refused one leaves: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshcrdt.daemon.config import Settings, load_settings
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.footprint import Footprint
from meshcrdt.daemon.memory import (
    Memory,
    load_memory,
    memory_of,
    origins_line,
    save_memory,
    with_memory,
)
from meshcrdt.daemon.reset import OWN_FILES, wipe_state


def settings(state_dir: Path, **flags: Any) -> Settings:
    return load_settings(
        {"state_dir": str(state_dir), **flags}, environ={}, config_file=None, root=False
    )


def relaunch(state_dir: Path, **flags: Any) -> Settings:
    """Do what a launch does with its memory."""
    memory = load_memory(state_dir)
    effective = with_memory(settings(state_dir, **flags), memory)
    save_memory(state_dir, memory_of(effective, memory))
    return effective


def test_what_was_given_stays_until_it_is_given_anew(tmp_path: Path) -> None:
    relaunch(tmp_path, trusted_subnets=("192.0.2.0/24",), mtu=1400, dns_domain="a.example.")
    again = relaunch(tmp_path)
    assert again.trusted_subnets == ("192.0.2.0/24",)
    assert (again.mtu, again.dns_domain) == (1400, "a.example.")
    assert again.of("mtu").origin == f"remembered in {tmp_path}"
    relaunch(tmp_path, trusted_subnets=(), mtu=0)
    last = relaunch(tmp_path)
    assert (last.trusted_subnets, last.mtu, last.dns_domain) == ((), 0, "a.example.")


def test_defaults_are_not_remembered(tmp_path: Path) -> None:
    relaunch(tmp_path)
    assert load_memory(tmp_path) == Memory()


def test_the_line_names_each_value_and_where_it_came_from(tmp_path: Path) -> None:
    relaunch(tmp_path, trusted_subnets=("192.0.2.0/24",))
    assert origins_line(relaunch(tmp_path, mtu=1400)) == (
        f"trusted subnets 192.0.2.0/24 (remembered in {tmp_path}); mtu 1400 (--mtu); "
        "domain mesh.internal. (default)"
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"format": 2}',
        '{"format": 1, "made_directory": false, "trusted_subnets": ["x"], "mtu": null, '
        '"dns_domain": null}',
    ],
)
def test_a_damaged_file_is_named_and_keeps_no_reset_from_its_work(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "launch.json").write_text(content)
    with pytest.raises(CommandError, match=r"launch\.json"):
        load_memory(tmp_path)
    wipe_state(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made", [True, False])
def test_reset_removes_a_directory_that_a_launch_made(tmp_path: Path, made: bool) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    save_memory(state_dir, Memory(made_directory=made))
    (state_dir / "mine.txt").touch()
    wipe_state(state_dir)
    assert [path.name for path in state_dir.iterdir()] == ["mine.txt"]
    save_memory(state_dir, Memory(made_directory=made))
    (state_dir / "mine.txt").unlink()
    wipe_state(state_dir)
    assert state_dir.exists() is not made


def make_everything(state_dir: Path) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    for name in (*OWN_FILES, "lock"):
        (state_dir / name).touch()


def test_a_refused_first_launch_leaves_nothing(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "state"
    footprint = Footprint.before(state_dir)
    make_everything(state_dir)
    footprint.undo()
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_there_meanwhile_stays(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "state"
    footprint = Footprint.before(state_dir)
    make_everything(state_dir)
    (tmp_path / "deep" / "mine.txt").touch()
    footprint.undo()
    assert not state_dir.exists()
    assert (tmp_path / "deep" / "mine.txt").exists()


def test_a_directory_that_was_there_keeps_what_it_had(tmp_path: Path) -> None:
    for name in ("mine.txt", "lock", "daemon.log"):
        (tmp_path / name).touch()
    footprint = Footprint.before(tmp_path)
    make_everything(tmp_path)
    footprint.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "lock", "daemon.log"}


def test_a_launch_that_succeeded_or_resumed_is_not_undone(tmp_path: Path) -> None:
    first = Footprint.before(tmp_path)
    make_everything(tmp_path)
    first.keep()
    first.undo()
    (tmp_path / "api.token").unlink()
    second = Footprint.before(tmp_path)
    make_everything(tmp_path)
    second.undo()
    assert {path.name for path in tmp_path.iterdir()} == {*OWN_FILES, "lock"}
