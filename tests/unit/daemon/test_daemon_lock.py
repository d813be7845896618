"""One daemon per state directory: the lock names its holder and dies with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.lock import StateLock, wait_until_free


def test_the_second_holder_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    first.acquire()
    with pytest.raises(CommandError, match=f"in use by process {os.getpid()}"):
        StateLock(tmp_path).acquire()
    assert not wait_until_free(str(first.path), timeout_s=0.0)
    first.release()
    first.release()
    assert wait_until_free(str(first.path), timeout_s=0.0)
    StateLock(tmp_path).acquire()


def test_a_killed_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from meshcrdt.daemon.lock import StateLock\n"
        f"lock = StateLock(pathlib.Path({str(tmp_path)!r})); lock.acquire()\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    StateLock(tmp_path).acquire()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"state directory .*missing cannot be used"):
        StateLock(tmp_path / "missing").acquire()


def test_a_lock_that_is_not_there_is_free(tmp_path: Path) -> None:
    assert wait_until_free(str(tmp_path / "lock"), timeout_s=0.0)
