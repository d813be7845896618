"""A daemon as an operator has it: started, asked and ended by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acceptance_hosts import die_with_parent
from attrs import frozen
from waiting import patience, until

from meshcrdt.daemon.client import ApiClient
from meshcrdt.daemon.exits import CommandError

CLI = (sys.executable, "-m", "meshcrdt")
READY_S = patience(20.0)
"""To find out that it hangs; what is promised of a launch is asserted where it is."""
VERB_S = 8.0
"""No verb takes longer: five seconds of the daemon's own, and the start of a process."""
_KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A shell's environment without what would change a daemon's defaults."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(extra or {})


def local(port: int) -> list[str]:
    """Options of a daemon on loopback that needs no root."""
    return ["--listen", f"tcp://127.0.0.1:{port}", "--dataplane", "none"]


@frozen
class Result:
    """What a command said, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def line(self) -> str:
        """The one line of an error."""
        assert self.err.count("\n") == 1, f"not one line: {self.err!r}"
        return self.err.strip()


def call(
    command: Sequence[str],
    *,
    within_s: float = VERB_S,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a command to its end; taking longer than `within_s` fails the test."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            env=environment(env),
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{' '.join(command)} hangs: not done in {within_s} s") from None
    return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


class Daemon:
    """One daemon and its state directory; `prefix` puts commands on its host."""

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.state_dir = directory / name
        self.log_path = directory / f"{name}.log"
        self.token_path = directory / f"{name}.token"
        self.prefix = tuple(prefix)
        self.env = dict(env or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        """Where it listens, for tests that chose the port."""
        self.slowest: Result | None = None
        self.slowest_verb = ""

    # --- its life --------------------------------------------------------------------------

    def launch(self, *options: str, token: str | None = None, wait: bool = True) -> float:
        """Start it; returns after how many seconds it was ready."""
        command = [*self.prefix, *CLI, "launch", "--state-dir", str(self.state_dir), *options]
        if token is not None:
            self.token_path.touch(mode=0o600)
            self.token_path.write_text(token + "\n")
            command += ["--join-file", str(self.token_path)]
        if self.process is not None:
            self.process.wait(12)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.env),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no other thread runs
            )
        return self.until_ready() if wait else 0.0

    def until_ready(self, within_s: float = READY_S) -> float:
        return until(
            f"{self.name} is ready: {self.log()[-500:]}", self._is_ready, within_s=within_s
        )

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended: {self.log()[-1_000:]}"
        try:
            return bool(self.status()["state"] == "ready")
        except CommandError:
            return False

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ended(self, within_s: float = 12.0) -> int:
        assert self.process is not None
        return self.process.wait(within_s)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.kill()

    # --- asking it -------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What `status --json` shows, without the cost of a process: for polling."""
        shown: dict[str, Any] = self.ask("/v1/status")
        return shown

    def ask(self, path: str) -> Any:
        return ApiClient(f"unix://{self.state_dir}/api.sock").call("GET", path, timeout_s=1.0)

    def run(self, *verb: str, within_s: float = VERB_S, stdin: str | None = None) -> Result:
        """Run a verb, whatever comes of it."""
        command = [*self.prefix, *CLI, *verb, "--state-dir", str(self.state_dir)]
        result = call(command, within_s=within_s, stdin=stdin, env=self.env)
        if self.slowest is None or result.seconds > self.slowest.seconds:
            self.slowest, self.slowest_verb = result, " ".join(verb)
        return result

    def ok(self, *verb: str, within_s: float = VERB_S) -> str:
        """Run a verb that has to succeed; returns its output."""
        result = self.run(*verb, within_s=within_s)
        assert result.code == 0, f"{self.name}: {' '.join(verb)} exited {result.code}: {result.err}"
        return result.out

    def json(self, *verb: str, within_s: float = VERB_S) -> Any:
        """Run a verb that has to succeed with `--json`; returns its object."""
        return json.loads(self.ok(*verb, "--json", within_s=within_s))

    def token(self, *options: str) -> str:
        return self.ok("token", "create", *options).strip()
