"""What verbs print, and what happens when nobody takes it."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshcrdt.daemon.cli import main
from meshcrdt.daemon.cli.output import READABLE_MAX, count
from meshcrdt.daemon.cli.peers import status_text
from meshcrdt.daemon.client import ApiClient

CLI = (sys.executable, "-m", "meshcrdt")
TIMEOUT_S = 60


class _Answers(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        body = json.dumps({"entries": {"a": ["10.32.0.1/12"]}}).encode()
        while self.rfile.readline().strip():
            pass
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.encode() + body)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "api.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield str(path)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("arguments", [("ps",), ("ps", "--json"), ("--help",), ("ps", "--help")])
def test_a_full_disk_is_one_line(api: str, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*CLI, "--api", api, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ("meshcrdt: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "code", "lines"), [(("ps",), 1, 0), (("ps", "--api", "/nowhere.sock"), 5, 1)]
)
def test_a_reader_who_has_gone_is_told_nothing(
    api: str, arguments: tuple[str, ...], code: int, lines: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*CLI, "--api", api, *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    os.close(writer)
    assert done.returncode == code
    assert done.stderr.count("\n") == lines, done.stderr


def test_a_full_standard_error_keeps_the_code() -> None:
    with Path("/dev/full").open("wb") as full:
        for arguments, code in ((["ps", "--api", "/nowhere.sock"], 5), (["nonsense"], 2)):
            done = subprocess.run([*CLI, *arguments], stderr=full, timeout=TIMEOUT_S, check=False)
            assert done.returncode == code


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (16_384, "16,384"),
        (READABLE_MAX - 1, "999,999,999"),
        (1 << 74, "2^74"),
        ((1 << 74) - 2, "about 2^74"),
        (3 << 72, "about 2^73.58"),
        ((1 << 128) - 1, "about 2^128"),
    ],
)
def test_counts_are_for_people(number: int, shown: str) -> None:
    assert count(number) == shown


def status_object(**more: Any) -> dict[str, Any]:
    return {
        "peer": "7" * 32,
        "name": "n1",
        "cluster": None,
        "state": "ready",
        "minority": True,
        "version": "1",
        "ipam": {"universes": [{"cidr": "fd62:bdc0:516f::/48", "owned": 1, "free": 2, "used": 3}]},
        "dns": {"names": 0, "domain": "mesh.internal."},
        "dataplane": {"kind": "linux", "reason": None, "trusted": ["192.0.2.0/24"]},
        "peers": [],
        "connections": [],
        **more,
    }


def test_the_status_is_in_two_columns() -> None:
    lines = status_text(status_object()).splitlines()
    assert "state:                     ready, in a minority" in lines
    assert "range fd62:bdc0:516f::/48: owned 1, free 2, used 3" in lines
    assert "trusted subnets:           192.0.2.0/24" in lines
    assert "NO PATH TO" not in "\n".join(lines)


def test_the_status_says_why_there_is_no_path_and_what_is_wrong() -> None:
    two, three, reason = "2" * 32, "3" * 32, "n3 declares no trusted subnets"
    peers = [
        {"name": f"n{peer[0]}", "peer": peer, "state": "alive", "epoch": "1.a"}
        for peer in (two, three)
    ]
    dataplane = {"kind": "linux", "paths": {two: None, three: reason}, "errors": ["no room"]}
    text = status_text(
        status_object(
            peers=peers, dataplane=dataplane, alarms=["the disk is full"], quarantined=["a header"]
        )
    )
    head, _, tables = text.partition("\n\n")
    rows = {
        label: value.strip() for label, _, value in (x.partition(":") for x in head.split("\n"))
    }
    assert rows["dataplane error"] == "no room"
    assert rows["alarm"] == "the disk is full"
    assert rows["quarantined"] == "a header"
    lines = [line.split(maxsplit=2) for line in tables.split("\n\n")[1].splitlines()]
    assert lines == [["NO", "PATH", lines[0][2]], ["n3", three, reason]]


@pytest.mark.parametrize("json_flag", [(), ("--json",)])
def test_attach_tells_of_peers_without_a_path_on_standard_error(
    json_flag: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attached = {"id": "netns:/x", "addresses": ["10.32.0.1/12"], "no_path": {"3" * 32: "why"}}
    monkeypatch.setattr(ApiClient, "call", lambda *_, **__: attached)
    assert main(["attach", "netns:/x", *json_flag]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"meshcrdt: no path to {'3' * 32}: why\n"
    assert printed.out == (json.dumps(attached) if json_flag else "10.32.0.1/12") + "\n"
