"""The verbs of the simulator: what they print, what they exit with, and what a mistake says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshcrdt.daemon.cli import main
from meshcrdt.daemon.simulate import plot, pool, runs

SHORT = """
about = "Two nodes for a moment."
[cluster]
nodes = 2
runs_for = "20s"
settles_for = "20s"
[traffic]
every = "2s"
[expect]
delivery = 1.0
[[asserted]]
by = "somebody"
redundancy_max = 3
"""


@pytest.fixture
def short(tmp_path: Path) -> str:
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return str(path)


def test_a_run_prints_a_table_and_exits_by_what_held(
    short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", "run", short, "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "short.toml, 2 nodes, seed 3:" in out
    assert "at most 3 (somebody)" in out
    assert out.rstrip().endswith("every expectation was met")


def test_an_expectation_that_is_not_met_exits_1(
    short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(short).write_text(SHORT.replace("delivery = 1.0", "seconds_max = 0"))
    assert main(["sim", "run", short]) == 1
    captured = capsys.readouterr()
    assert "at most 0 missed" in captured.out
    assert captured.err == f"meshcrdt: scenario {short}: not everything held\n"


def test_json_is_one_object_and_the_same_as_what_is_saved(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "result.json"
    assert main(["sim", "--json", "run", short, "--nodes", "3", "--save", str(saved)]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value == json.loads(saved.read_text())
    assert (value["nodes"], value["seed"], value["held"]) == (3, 0, True)
    assert value["definition"]["traffic"]["every_s"] == 2.0
    assert main(["sim", "compare", str(saved), str(saved)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["FIGURE", str(saved), str(saved), "RATIO"]
    assert all(row.split()[-1] in ("1", "-") for row in rows[1:])
    assert main(["sim", "compare", str(saved), str(saved), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["messages"]["ratio"] == 1.0


def test_a_run_that_is_recorded_can_be_replayed(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "run.trace"
    assert main(["sim", "run", short, "--record", str(trace)]) == 0
    capsys.readouterr()
    assert main(["sim", "replay", str(trace)]) == 0
    assert capsys.readouterr().out.startswith("the same: ")
    assert main(["sim", "replay", str(trace), "--node", "n2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    lines = trace.read_text().splitlines()
    late = next(n for n, line in enumerate(lines) if n > 20 and '"effects":[{' in line)
    told = json.loads(lines[late])
    told["effects"] = []
    trace.write_text("\n".join([*lines[:late], json.dumps(told), *lines[late + 1 :]]))
    assert main(["sim", "replay", str(trace)]) == 1
    assert f"different: line {late + 1}" in capsys.readouterr().out


def test_the_list_names_every_shipped_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert entries["churn-1000"]["nodes"] == 1_000
    assert main(["sim", "list"]) == 0
    assert "churn-1000" in capsys.readouterr().out


def test_a_sweep_runs_each_seed_on_any_executor(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "sweep.json"
    typed = ["sim", "sweep", short, "--seeds", "0..2", "--executor", "thread", "--workers", "2"]
    assert main([*typed, "--save", str(saved)]) == 0
    assert "3 seeds, means:" in capsys.readouterr().out
    value = json.loads(saved.read_text())
    assert value["seeds"] == [0, 1, 2]
    assert [run["seed"] for run in value["runs"]] == [0, 1, 2]
    with ThreadPoolExecutor(1) as threads:
        again = pool.sweep(threads, SHORT, short, [1])
    assert again == [value["runs"][1]]


def test_a_sweep_by_processes_gives_what_one_process_gives(
    short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", "sweep", short, "--seeds", "1", "--workers", "1", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run == runs.run(short, seed=1, nodes=None, record=None)


def test_a_sweep_names_the_seeds_that_failed(
    short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(short).write_text(SHORT.replace("delivery = 1.0", "seconds_max = 0"))
    assert main(["sim", "sweep", short, "--seeds", "4,9", "--executor", "thread"]) == 1
    assert "seeds that failed: 4, 9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["run", "no-such"], 2, "scenario 'no-such' is not known: a file that ends in .toml"),
        (["run", "/no/such.toml"], 1, "scenario /no/such.toml cannot be read: No such file"),
        (["run", "partition-heal", "--seed", "-1"], 2, "'-1' is no seed"),
        (["run", "partition-heal", "--nodes", "0"], 2, "1 to 10000 is accepted"),
        (["run", "partition-heal", "--plot", "x.bmp"], 2, "ends in .svg, .png or .pdf"),
        (["sweep", "partition-heal", "--seeds", "5..1"], 2, "'5..1' holds no seeds"),
        (["sweep", "partition-heal", "--seeds", "a"], 2, "neither a range nor a list"),
        (
            ["sweep", "partition-heal", "--seeds", "1", "--executor", "ray"],
            2,
            "process, thread and dask://HOST:PORT are accepted",
        ),
        (["sweep", "partition-heal"], 2, "--seeds"),
        (["compare", "/no/a.json", "/no/b.json"], 1, "result /no/a.json cannot be read"),
        (["replay", "/no/such.trace"], 1, "trace /no/such.trace cannot be read"),
        (["run", "partition-heal", "--record", "/no/x"], 1, "trace /no/x cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_has_its_code(
    typed: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", *typed]) == code
    captured = capsys.readouterr()
    assert not captured.out
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_mistake_in_a_file_names_the_file_and_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[faults]\nloss = 2\n")
    assert main(["sim", "run", str(path)]) == 1
    assert f"meshcrdt: {path}: faults.loss is 2: a share from 0 to 1" in capsys.readouterr().err
    path.write_bytes(b"\xff")
    assert main(["sim", "run", str(path)]) == 1
    assert "is not text" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["no json", "{}", '{"format": 9, "measured": {}}'])
def test_what_is_no_result_is_not_compared(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    assert main(["sim", "compare", str(path), str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def missing(name: str) -> Callable[[str], Any]:
    def load(asked: str) -> Any:
        raise ModuleNotFoundError(name=asked) if asked.startswith(name) else AssertionError(asked)

    return load


def test_a_plot_and_a_dask_cluster_name_the_extra_that_they_need(
    short: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plot, "import_module", missing("matplotlib"))
    assert main(["sim", "run", short, "--plot", str(tmp_path / "x.svg")]) == 1
    assert "needs the extra 'plot'" in capsys.readouterr().err
    monkeypatch.setattr(pool, "import_module", missing("distributed"))
    assert main(["sim", "sweep", short, "--seeds", "1", "--executor", "dask://h:1"]) == 1
    assert "needs the extra 'dask'" in capsys.readouterr().err


class Client:
    """The part of a Dask client that is used, on threads."""

    asked: list[str] = []  # noqa: RUF012

    def __init__(self, url: str) -> None:
        self.asked.append(url)
        if "nobody" in url:
            raise OSError("timed out")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append("closed")

    def get_executor(self, **options: object) -> ThreadPoolExecutor:
        assert options == {"pure": False}
        return ThreadPoolExecutor(1)


def test_a_dask_cluster_is_found_by_its_address(
    short: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "import_module", lambda name: SimpleNamespace(Client=Client))
    assert main(["sim", "sweep", short, "--seeds", "1", "--executor", "dask://host:8786"]) == 0
    assert Client.asked == ["tcp://host:8786", "closed"]
    assert main(["sim", "sweep", short, "--seeds", "1", "--executor", "dask://nobody:1"]) == 1
    assert "no Dask scheduler answers at tcp://nobody:1: timed out" in capsys.readouterr().err


def test_no_other_verb_loads_the_simulator() -> None:
    program = (
        "import sys; from meshcrdt.daemon.cli import main; main(['version']); "
        "main(['sim', '--help']); "
        "assert not [name for name in sys.modules if name.startswith('meshcrdt.sim')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
