"""One daemon of the demo as a process, and the command line that talks to it."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from meshcrdt.daemon.exits import ExitCode

READY_TIMEOUT_S = 20.0
VERB_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 12.0
POLL_S = 0.1
_CLI = (sys.executable, "-m", "meshcrdt")


class VerbFailed(Exception):
    """A verb of the command line did not exit 0."""

    def __init__(self, command: str, code: int, line: str) -> None:
        super().__init__(f"{command} exited {code}: {line}")
        self.code = code


class DaemonProcess:
    """A daemon in a state directory of its own, in the foreground of a child process.

    `prefix` is put before every command, such as `ip netns exec h1`.
    """

    def __init__(self, name: str, directory: Path, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.state_dir = directory / name
        self.log_path = directory / f"{name}.log"
        self._prefix = tuple(prefix)
        self._process: trio.Process | None = None

    async def launch(self, nursery: trio.Nursery, *options: str, token: str | None = None) -> None:
        """Start the daemon and return when it is ready."""
        command = [*self._prefix, *_CLI, "launch", "--name", self.name]
        command += ["--state-dir", str(self.state_dir), *options]
        if token is not None:
            # By file: a token is a secret and travels in no argument.
            join_file = self.log_path.with_suffix(".token")
            join_file.touch(mode=0o600)
            join_file.write_text(token)
            command += ["--join-file", str(join_file)]
        with self.log_path.open("ab") as log:
            run = partial(
                trio.run_process,
                command,
                stdout=log.fileno(),
                stderr=log.fileno(),
                check=False,
                deliver_cancel=_end_with_grace,
            )
            process: trio.Process = await nursery.start(run)
        self._process = process
        await self._until_ready()

    async def _until_ready(self) -> None:
        with trio.move_on_after(READY_TIMEOUT_S):
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} did not start: {self.last_line()}")
                try:
                    if (await self.json("status"))["state"] == "ready":
                        return
                except VerbFailed as error:
                    if error.code != ExitCode.NO_DAEMON:
                        raise
                await trio.sleep(POLL_S)
        raise RuntimeError(
            f"{self.name} was not ready in {READY_TIMEOUT_S:g} s: {self.last_line()}"
        )

    def last_line(self) -> str:
        """Return the last line of the daemon's log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    async def run(self, *verb: str) -> str:
        """Run a verb of the command line against this daemon; returns its output."""
        command = [*self._prefix, *_CLI, *verb, "--state-dir", str(self.state_dir)]
        with trio.fail_after(VERB_TIMEOUT_S):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False
            )
        if done.returncode:
            line = done.stderr.decode(errors="replace").strip()
            raise VerbFailed(" ".join(("meshcrdt", *verb)), done.returncode, line)
        return done.stdout.decode()

    async def json(self, *verb: str) -> Any:
        """Run a verb with `--json`; returns its object."""
        return json.loads(await self.run(*verb, "--json"))


async def _end_with_grace(process: trio.Process) -> None:
    """What cancelling does to a daemon: SIGTERM, and SIGKILL when that is not enough."""
    process.send_signal(signal.SIGTERM)
    with trio.move_on_after(STOP_TIMEOUT_S):
        await process.wait()
        return
    process.kill()


def missing_tool(*tools: str) -> str | None:
    """Return the first of these programs that is not installed."""
    return next((tool for tool in tools if shutil.which(tool) is None), None)
