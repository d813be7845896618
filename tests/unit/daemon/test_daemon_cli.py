"""The command line: what is wrong is found before any daemon is asked, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshcrdt.daemon import launch
from meshcrdt.daemon.cli import main
from meshcrdt.daemon.cli.app import VERBS
from meshcrdt.daemon.client import ApiClient
from meshcrdt.daemon.config import Settings
from meshcrdt.daemon.exits import CommandError


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Record calls instead of making them; answers are in `answers`. No daemon is launched."""
    calls: list[tuple[str, str, str]] = []

    def call(self: ApiClient, method: str, path: str, **_: Any) -> Any:
        calls.append((self.url, method, path))
        return answers.get(path, {})

    answers: dict[str, Any] = {
        "/v1/ipam/allocate": {"outcome": "allocated", "address": "10.32.0.1/12"},
        "/v1/token": {"token": "mct1-x"},
        "/v1/ipam": {"entries": {"a": ["10.32.0.1/12"]}},
    }
    monkeypatch.setattr(ApiClient, "call", call)
    monkeypatch.setattr(launch, "launch_daemon", lambda settings: 0)
    return calls


@pytest.mark.parametrize(
    "arguments",
    [
        ["sabotage", "x"],
        ["allocate"],
        ["allocate", "a\x00b"],
        ["allocate", "a", "--subnet", "10.0.0.1/8"],
        ["allocate", "a", "--timeout", "soon"],
        ["claim", "a", "10.0.0.300"],
        ["dns-add", "bad\tname", "10.0.0.1"],
        ["dns-add", "web"],
        ["dns-lookup", "x" * 64],
        ["dns-lookup", "caf\u00e9"],
        ["dns-add", "a*b", "10.0.0.1"],
        ["launch", "--dns-domain", "a*b"],
        ["launch", "--http-addr", "0.0.0.0:6784"],
        ["launch", "--http-addr", "[::]:6784"],
        ["launch", "--api", "http://0.0.0.0:6784"],
        ["status", "--api", "http://[::]:6784"],
        ["put", "c"],
        ["put", "~mine", "k", "v"],
        ["put", "directory", "k", "v"],
        ["get", "names"],
        ["why"],
        ["why", "names", "web"],
        ["why", "c", "bad\tkey"],
        ["delete", "ipam", "k"],
        ["watch", "channels"],
        ["watch", "c", "--resume", "caf\u00e9"],
        ["watch", "c", "--resume", "a\r\nb: c"],
        ["allocate", "a", "--timeout", "0"],
        ["allocate", "a", "--timeout", "301"],
        ["token", "create", "--ttl", "0"],
        ["token", "create", "--ttl", "31d"],
        ["attach", "pid:0"],
        ["detach", "netns:/x", "net:10.32.0.0/16"],
        ["hide", "net:default"],
        ["connect", "bad host"],
        ["connect", "300.1.1.1"],
        ["connect", "1.2.3"],
        ["launch", "300.1.1.1"],
        ["launch", "--listen", "1.2.3:80"],
        ["launch", "--advertise", "300.1.1.1"],
        ["launch", "--http-addr", "300.1.1.1:80"],
        ["launch", "--dns-listen", "1.2.3:53"],
        ["status", "--api", "nonsense"],
        ["--api", "nonsense", "status"],
        ["launch", "--mtu", "1"],
        ["launch", "--dataplane", "magic"],
        ["launch", "--ipalloc-range", "10.0.0.1/8"],
        ["launch", "--ipalloc-init", "whatever"],
        ["launch", "--no-dns", "--dns-listen", "127.0.0.1:5300"],
        ["launch", "--log-format", "xml"],
        ["launch", "--token", "mct1-x"],
    ],
)
def test_a_wrong_command_line_exits_2_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], called: list[Any]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("meshcrdt: ")
    assert called == []


def test_common_options_before_and_after_a_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], called: list[tuple[str, str, str]]
) -> None:
    state = str(tmp_path)
    assert main(["--state-dir", state, "--json", "allocate", "a"]) == 0
    assert main(["allocate", "a", "--json", "--state-dir", state]) == 0
    assert main(["--state-dir", "/nowhere", "allocate", "--state-dir", state, "a", "--json"]) == 0
    assert {url for url, _, _ in called} == {f"unix://{tmp_path}/api.sock"}
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line) == {"outcome": "allocated", "address": "10.32.0.1/12"}


def test_common_options_around_a_nested_verb(
    capsys: pytest.CaptureFixture[str], called: list[tuple[str, str, str]]
) -> None:
    assert main(["token", "--json", "create", "--api", "/x.sock"]) == 0
    assert json.loads(capsys.readouterr().out) == {"token": "mct1-x"}
    assert called == [("unix:///x.sock", "POST", "/v1/token")]


def test_a_failure_prints_its_outcome_with_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = {"outcome": "exhausted", "reason": "10.0.0.0/30 is full"}

    def call(self: ApiClient, *_: Any, **__: Any) -> Any:
        raise CommandError("exhausted: 10.0.0.0/30 is full", body=outcome)

    monkeypatch.setattr(ApiClient, "call", call)
    assert main(["allocate", "a", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == outcome
    assert captured.err == "meshcrdt: exhausted: 10.0.0.0/30 is full\n"
    assert main(["allocate", "a"]) == 1
    assert capsys.readouterr().out == ""


def test_nobody_there_exits_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--state-dir", str(tmp_path)]) == 5
    assert capsys.readouterr().err.startswith("meshcrdt: no daemon answers at")


def test_a_bad_variable_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MESHCRDT_API", "nonsense")
    assert main(["status"]) == 1
    assert "'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "Example:" in capsys.readouterr().out


def test_the_list_of_verbs_needs_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version"}


def test_plain_columns_when_nobody_looks(
    capsys: pytest.CaptureFixture[str], called: list[Any]
) -> None:
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == "ID  ADDRESSES\na   10.32.0.1/12\n"


def test_why_shows_each_record_of_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    n1, n2 = {"peer": "a" * 32, "name": "n1"}, {"peer": "b" * 32, "name": None}
    lost = {
        "writer": n1,
        "epoch": "2.00112233",
        "seq": 7,
        "bytes": "ff" * 40,
        "age_s": 12.345,
        "source": "neighbour",
        "from": n2,
        "verdict": "superseded",
        "reason": "because",
        "superseded_by": [n2],
    }
    wins = lost | {"value": None, "from": None, "source": "own", "verdict": "wins"}
    wins |= {"superseded_by": []}
    story = {"channel": "c/d", "key": "k", "type": "ormap-lww", "records": [lost, wins]}
    asked: list[str] = []

    def call(self: ApiClient, method: str, path: str) -> Any:
        asked.append(f"{method} {path}")
        return story

    monkeypatch.setattr(ApiClient, "call", call)
    assert main(["why", "c/d", "k"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert " ".join(header.split()) == "WRITER EPOCH SEQ AGE FROM VALUE VERDICT REASON"
    for cell in ("n1 (aaaaaaaa)", "2.00112233", "7", "12.3 s", "(bbbbbbbb)", "0xff", "…"):
        assert cell in first
    assert "superseded by (bbbbbbbb)  because" in first
    for cell in ("(own)", "null", "wins", "because"):
        assert cell in second
    assert main(["why", "c/d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == story
    route = "GET /v1/channels/c%2Fd"
    assert asked == [f"{route}/k/explain", f"{route}/%00/explain"]


@pytest.mark.parametrize("value", ["-1", "-2.5e3", "-text", "--"])
def test_a_value_may_begin_with_a_dash(value: str, called: list[tuple[str, str, str]]) -> None:
    arguments = ["--", value] if value == "--" else [value]
    assert main(["put", "--json", "c", "k", *arguments]) == 0
    assert called[-1][1:] == ("PUT", "/v1/channels/c/k")


def test_examples_are_not_broken_over_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "create", "--help"]) == 0
    line = "\n    meshcrdt token create | ssh host3 meshcrdt launch HOST1 --join-file -\n"
    assert line in capsys.readouterr().out


def test_an_unknown_dataplane_is_usage_and_the_known_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["launch", "--dataplane", "magic"]) == 2
    assert "linux, none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"port": 80}', {"port": 80}),
        ("null", None),
        ("2.5", 2.5),
        ("web", "web"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ('"\\ud800"', '"\\ud800"'),
        ("\udcff", "\udcff"),
    ],
)
def test_a_value_is_json_as_the_mesh_reads_it_or_else_a_string(
    text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[object] = []
    monkeypatch.setattr(ApiClient, "call", lambda self, *_, body, **__: bodies.append(body))
    assert main(["put", "c", "k", text]) == 0
    assert bodies == [value]


@pytest.mark.parametrize(("given", "mtu"), [((), 1400), (("auto",), 0), (("900",), 900)])
def test_the_flag_mtu_auto_overrules_a_variable_as_any_other_flag_does(
    given: tuple[str, ...], mtu: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched: list[Settings] = []
    monkeypatch.setenv("MESHCRDT_MTU", "1400")
    monkeypatch.setattr(launch, "launch_daemon", launched.append)
    flags = ["--mtu", *given] if given else []
    assert main(["launch", "--state-dir", str(tmp_path), *flags]) == 0
    assert [(each.mtu, each.of("mtu").given) for each in launched] == [(mtu, True)]
