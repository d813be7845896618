"""Without root: the control plane works, in the user's own directories, and says what is off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_daemon import CLI, Daemon, call
from plain_user import USER, as_user, why_no_user
from waiting import free_port, patience, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of the user's own."""
    reason = why_no_user()
    if reason is not None:
        pytest.skip(reason)
    path = Path("/tmp") / f"mcahome{os.getpid()}"
    path.mkdir(mode=0o755)
    try:
        for name in ("state", "run"):
            (path / name).mkdir()
        if os.geteuid() == 0:
            for each in (path, path / "state", path / "run"):
                shutil.chown(each, USER)
        yield path
    finally:
        shutil.rmtree(path)


def user_environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(home / "run"),
    }


class UserDaemon(Daemon):
    """A daemon that is given no directory: the user's are the default."""

    def __init__(self, home: Path, logs: Path) -> None:
        super().__init__("mine", home, prefix=as_user(), env=user_environment(home))
        self.log_path = logs / "mine.log"
        self.state_dir = home / "run" / "meshcrdt"
        """Where the API socket is, for polling; no command gets it."""

    def without_directory(self, *arguments: str) -> list[str]:
        return [*self.prefix, *CLI, *arguments]


def test_a_user_runs_a_daemon_in_directories_of_their_own(home: Path, tmp_path: Path) -> None:
    mine = UserDaemon(home, tmp_path)
    env = mine.env
    command = mine.without_directory("launch", "--listen", f"tcp://127.0.0.1:{free_port()}")
    done = call([*command, "--detach"], env=env, within_s=patience(20.0))
    assert done.code == 0, done
    try:
        assert "not root: --dataplane none, this daemon carries no workload traffic" in done.out
        assert f"not root: the state directory is {home}/state/meshcrdt" in done.out
        pid = int((home / "state" / "meshcrdt" / "lock").read_text())
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert (home / "run" / "meshcrdt" / "api.sock").is_socket()
        until("it is ready", lambda: mine.status()["state"] == "ready", within_s=patience(10.0))
        given = call(mine.without_directory("allocate", "job", "--json"), env=env)
        assert given.code == 0, given
        named = call(mine.without_directory("dns-add", "job", "10.32.0.9"), env=env)
        assert named.code == 0, named
        refused = call(mine.without_directory("attach", f"pid:{pid}"), env=env)
        assert refused.code == 4
        assert "--dataplane none" in refused.line
        # Nothing of it is for others to read.
        assert (home / "state" / "meshcrdt" / "mesh.db.key").stat().st_mode & 0o077 == 0
    finally:
        stopped = call(mine.without_directory("stop"), env=env, within_s=15.0)
    assert stopped.code == 0, stopped


def test_a_user_who_asks_for_the_linux_dataplane_is_told(home: Path) -> None:
    command = [*as_user(), *CLI, "launch", "--dataplane", "linux"]
    result = call(command, env=user_environment(home))
    assert result.code == 4
    assert "needs root" in result.line
    assert "--dataplane none" in result.line


@pytest.mark.parametrize("mode", [0o000, 0o500], ids=["unreadable", "unwritable"])
def test_a_state_directory_that_cannot_be_used_is_named(home: Path, mode: int) -> None:
    state = home / "closed"
    state.mkdir()
    (state / "mesh.db").write_bytes(b"")
    if os.geteuid() == 0:
        shutil.chown(state, USER)
    state.chmod(mode)
    try:
        command = [*as_user(), *CLI, "launch", "--state-dir", str(state), "--dataplane", "none"]
        result = call(
            [*command, "--listen", f"tcp://127.0.0.1:{free_port()}", "--log-level", "error"],
            env=user_environment(home),
        )
        assert result.code == 1
        assert str(state) in result.line
        assert "Permission denied" in result.line
    finally:
        state.chmod(0o700)
    assert [path.name for path in state.iterdir()] == ["mesh.db"]


@pytest.mark.root
def test_a_state_directory_of_roots_is_named(home: Path, able: None) -> None:
    state = home / "roots"
    state.mkdir(mode=0o700)
    command = [*as_user(), *CLI, "launch", "--state-dir", str(state), "--log-level", "error"]
    result = call(command, env=user_environment(home))
    assert result.code == 1
    assert str(state) in result.line
    assert list(state.iterdir()) == []
