"""Real daemons for system tests: processes on loopback, ended and removed whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from waiting import free_port, patience, until

CLI = (sys.executable, "-m", "meshcrdt")
PATIENCE_S = patience(20.0)
TIMEOUT_S = 40.0
"""For one verb on a machine that is busy with other tests; the verbs' own limits are tighter."""


class Host:
    """One daemon, its state directory and the command line that talks to it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.state_dir = directory / name
        self.port = free_port()
        self.pids: list[int] = []

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(
        self, *arguments: str, stdin: str = "", environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CLI, *arguments, "--state-dir", str(self.state_dir)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, **(environ or {})},
        )

    def launch(self, *options: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Launch detached; on loopback and without a dataplane unless options say otherwise."""
        given = " ".join(options)
        if "--listen" not in given:
            options = ("--listen", self.url, *options)
        if "--dataplane" not in given:
            options = ("--dataplane", "none", *options)
        if token is not None:
            options = ("--join-file", "-", *options)
        done = self.run("launch", "--detach", "--name", self.name, *options, stdin=token or "")
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            self.pids.append(self.pid)
        return done

    def ready(self, *options: str, token: str | None = None) -> Host:
        done = self.launch(*options, token=token)
        assert done.returncode == 0, done.stderr + self.log
        return self

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr, self.log)
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run a verb that must fail in one line; returns that line."""
        done = self.run(*arguments)
        assert done.returncode == code, (done.returncode, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    @property
    def pid(self) -> int:
        return int((self.state_dir / "lock").read_text())

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.state_dir / "daemon.log").read_text()
        return ""

    def kill(self) -> None:
        """End it as a power cut would, and wait until it has gone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        until("the process is gone", lambda: not alive(pid), within_s=PATIENCE_S)

    def token(self) -> str:
        return self.ok("token", "create").strip()

    def clean_up(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Make hosts; their daemons end with the test."""
    made: list[Host] = []

    def make(name: str) -> Host:
        host = Host(tmp_path, name)
        made.append(host)
        return host

    yield make
    for host in made:
        host.clean_up()


@pytest.fixture
def wait_until() -> Callable[..., float]:
    """Wait for something in the world; returns the seconds waited."""

    def wait(holds: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S) -> float:
        return until(what, holds, within_s=timeout_s)

    return wait
