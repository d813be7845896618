"""The benchmarks do not rot: every module can be read, goals name figures that rows have."""

from __future__ import annotations

import ast
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
MODULES = sorted(BENCHMARKS.rglob("*.py"))
FOREIGN = {"kinship", "serf", "gossipsub", "pysyncobj", "etcd", "pycrdt", "loro"}
"""Drivers whose packages are not among ours: they are compiled, not imported."""
LINES_MAX = 400
FUNCTION_LINES_MAX = 60


@pytest.fixture(autouse=True, scope="module")
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(BENCHMARKS)))
def test_a_module_says_what_it_is_for_and_imports(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name
    parts = path.relative_to(ROOT).with_suffix("").parts
    if path.stem in FOREIGN and path.parent.name == "peers":
        return
    if path.stem == "plot":
        pytest.importorskip("matplotlib")
    importlib.import_module(".".join(part for part in parts if part != "__init__"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(BENCHMARKS)))
def test_a_module_leaves_nothing_open_and_silences_no_check(path: Path) -> None:
    text = path.read_text()
    for word in ("NotImplementedError", "type: " + "ignore", "no" + "qa"):
        assert word not in text, word


def test_a_driver_says_what_it_lacks() -> None:
    from benchmarks.lab.worker import Worker
    from benchmarks.peers.base import Driver, Keeping, Peers, Refusing, Watchful
    from benchmarks.peers.meshcrdt import Driver as Ours

    class Small(Driver):
        name = "small"

        async def version(self) -> str:
            return "small 1"

    with pytest.raises(TypeError, match="version"):
        Driver()  # it has no name and no version: nothing stands in a table as that
    with pytest.raises(LookupError, match="small has no 'write'"):
        Worker(Small(), io.StringIO())._command("write")
    for able in (Peers, Watchful, Keeping, Refusing):
        lacks = [each for each in dir(able) if not each.startswith("_") and not hasattr(Ours, each)]
        assert lacks == []


def test_a_row_says_of_which_commit_it_is() -> None:
    from benchmarks.lab import meter
    from benchmarks.lab.row import Figures, guarded
    from benchmarks.lab.systems import System
    from benchmarks.report import RESULTS, read

    made = guarded("row", System("ours", "x:y"), 0, lambda: Figures("row", "ours", 0))
    assert made.commit == meter.commit()
    assert made.tree()["commit"] == made.commit
    assert all(row.commit for row in read(sorted(RESULTS.glob("*.json"))))


def test_a_goal_is_judged_against_what_was_measured_and_what_is_quoted() -> None:
    from benchmarks.lab.row import Figures
    from benchmarks.report import Outcome, judge

    rows = [
        Figures("idle", "meshcrdt", 50, {"bytes_per_s_peer": 600.0}),
        Figures("idle", "meshcrdt", 50, {"bytes_per_s_peer": 200.0}, switches="detection=probe"),
        Figures("idle", "serf", 50, {"bytes_per_s_peer": 150.0}),
        Figures("map", "meshcrdt", 0, {"sets_per_s": 300.0}),
        Figures("map", "pycrdt", 0, {"sets_per_s": 100.0}),
        Figures("in sync", "meshcrdt", 0, {"in_sync_bytes": 49.0}),
    ]
    found = {
        (v.goal.row, v.goal.metric, v.goal.against, v.goal.system): v
        for v in judge(rows)
        if v.goal.nodes in (0, 50)
    }
    weave = found["idle", "bytes_per_s_peer", "weave", "meshcrdt"]
    assert (weave.outcome, weave.source) == (Outcome.MET, "(QUOTED)")
    serf = found["idle", "bytes_per_s_peer", "serf", "meshcrdt"]
    assert (serf.outcome, serf.source) == (Outcome.MISSED, "(measured)")
    assert serf.ours == 200.0  # that of the switch which the goal names
    assert found["map", "sets_per_s", "pycrdt", "meshcrdt"].outcome is Outcome.MET
    assert found["map", "sets_per_s", "pycrdt", "values"].outcome is Outcome.OPEN
    assert found["in sync", "in_sync_bytes", "", "meshcrdt"].outcome is Outcome.MISSED


def test_medians_keep_their_spread_and_say_what_is_missing() -> None:
    from benchmarks.lab.row import Figures, several

    values = iter([3.0, 1.0, None, 2.0, 5.0])
    made = several(lambda: Figures("join", "x", 3, {"members_s": next(values)}), 5)
    assert made.values == {"members_s": 3.0}
    assert made.spread == {"members_s": (1.0, 5.0)}
    assert made.notes == ["members_s: 1 of 5 runs have no value"]


def test_a_system_that_is_missing_is_named_and_not_measured() -> None:
    from benchmarks.lab.row import Figures, guarded
    from benchmarks.lab.systems import System

    def never() -> Figures:
        raise AssertionError("measured all the same")

    made = guarded("join", System("x", "x:Driver", command="no-such-program"), 3, never)
    assert made.runs == 0
    assert made.notes[0].startswith("not run: no-such-program is not installed")


def test_the_jobs_of_both_forms_know_their_rows() -> None:
    from benchmarks.goals import GOALS
    from benchmarks.run import jobs

    short = {job.row for job in jobs(is_full=False)}
    full = {(job.row, job.nodes) for job in jobs(is_full=True)}
    assert short == {row for row, _ in full}
    # Every goal is about a row and a size that the full form measures, or memberlist's 100.
    assert {(g.row, g.nodes) for g in GOALS if g.nodes != 100} <= full


def test_one_engine_row_runs_by_its_command(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.engine.bytes", "--count", "20", "--runs", "1"]
    subprocess.run(
        [*command, "--systems", "meshcrdt", "values", "--json", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    report = json.loads(target.read_text())
    assert [row["system"] for row in report["rows"]] == ["meshcrdt", "values"]
    assert all(row["values"]["update_bytes"] > 64 for row in report["rows"])
    assert report["machine"]
    assert report["seed"] == 1
