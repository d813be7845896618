"""`launch --detach`: a double fork, and a parent that waits until the daemon is ready.

The parent returns 0 when the daemon is ready, or prints the daemon's own line and returns
its code. The daemon's log goes to a file in the state directory.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.lines import PipeStarter, Starter

LOG_NAME = "daemon.log"
READY_TIMEOUT_S = 30.0
"""A daemon that has not joined by then goes on trying without its parent."""


def run_detached(work: Callable[[Starter], int], *, timeout_s: float = READY_TIMEOUT_S) -> int:
    """Run `work` in a process of its own and wait for what it says first.

    Raises CommandError with the daemon's own line and code.
    """
    reader, writer = os.pipe()
    is_terminal = sys.stdout.isatty()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _become_daemon(work, PipeStarter(writer, is_terminal=is_terminal))
    os.close(writer)
    os.waitpid(child, 0)
    try:
        return _await_news(reader, timeout_s)
    finally:
        os.close(reader)


def _become_daemon(work: Callable[[Starter], int], starter: PipeStarter) -> None:
    """Never returns: the grandchild works, everyone else leaves without cleaning up twice."""
    code = int(ExitCode.FAILED)
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        code = work(starter)
    except CommandError as error:
        starter.failed(error)
        code = int(error.code)
    except BaseException as error:
        starter.failed(CommandError(f"internal error: {error!r}"))
    finally:
        os._exit(code)


def log_to_file(state_dir: Path) -> None:
    """Send standard error to the log file of a detached daemon."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fd = os.open(state_dir / LOG_NAME, flags, 0o640)
    os.dup2(fd, 2)
    os.close(fd)


def _await_news(reader: int, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    pending = b""
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([reader], [], [], remaining)[0]:
            raise CommandError(
                f"not ready after {timeout_s:g} s: no peer has let this node in yet; "
                "the daemon goes on trying ('meshcrdt status' shows why)"
            )
        chunk = os.read(reader, 65_536)
        if not chunk:
            raise CommandError("the daemon ended before it was ready")
        pending += chunk
        *lines, pending = pending.split(b"\n")
        for line in lines:
            news = json.loads(line)
            if "say" in news:
                for text in news["say"]:
                    print(text, flush=True)
            elif "ready" in news:
                return int(ExitCode.DONE)
            else:
                raise CommandError(news["line"], code=ExitCode(news["code"]))
