"""Three meshes through the bench, end to end: workers, meters, namespaces, a cut and its end.

Nothing here judges a time: a slow machine makes slow figures, not a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def row(tmp_path: Path, module: str, *arguments: str) -> dict[str, Any]:
    """Run one row of ours with three peers; return its record."""
    target = tmp_path / "report.json"
    command = [sys.executable, "-m", f"benchmarks.{module}", "--systems", "meshcrdt"]
    done = subprocess.run(
        [*command, "--json", str(target), *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(target.read_text())["rows"]
    assert made["runs"] == 1, made["notes"]
    record: dict[str, Any] = made
    return record


@pytest.mark.system
def test_a_join_is_measured(tmp_path: Path) -> None:
    made = row(tmp_path, "control.join", "--nodes", "3")
    assert made["values"]["members_s"] > 0
    assert made["values"]["cpu_s"] > 0
    if IS_ROOT:
        assert made["values"]["bytes"] > 0
    else:
        assert made["values"]["bytes"] is None
        assert "needs root" in made["notes"][0]


@pytest.mark.system
def test_updates_are_measured(tmp_path: Path) -> None:
    made = row(tmp_path, "control.update", "--nodes", "3", "--updates", "5")
    assert 0 < made["values"]["p50_ms"] <= made["values"]["max_ms"]


@pytest.mark.root
@pytest.mark.skipif(not IS_ROOT, reason="needs root for network namespaces")
def test_two_halves_are_built_and_healed(tmp_path: Path) -> None:
    made = row(tmp_path, "control.heal", "--nodes", "4", "--entries", "20")
    assert made["values"]["data_bytes"] > 0
    assert made["values"]["members_s"] is not None
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert "mcbench-" not in left.stdout or _others_run()


def _others_run() -> bool:
    """Whether a bench of somebody else is under way, whose namespaces are not ours to judge."""
    names = [path.name for path in Path("/run/netns").glob("mcbench-*")]
    return any(Path("/proc", name.split("-")[1]).exists() for name in names)
