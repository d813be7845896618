"""What a person reads when a daemon ends by an error, and what is in the log of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from meshcrdt.daemon import launch
from meshcrdt.daemon.config import Settings, load_settings
from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.errors import ClosedError, InternalError, UsageError


def settings(state_dir: Path) -> Settings:
    flags = {"state_dir": str(state_dir), "dataplane": "none"}
    return load_settings(flags, environ={}, config_file=None, root=False)


def ended_by(error: BaseException, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the line that is shown for what ended the daemon."""

    async def run_daemon(_: launch.Launch) -> None:
        raise error

    monkeypatch.setattr(launch, "run_daemon", run_daemon)
    # The log of this process is the tests' own.
    monkeypatch.setattr(launch, "set_up_log", lambda level, form: None)
    with pytest.raises(CommandError) as caught:
        launch.launch_daemon(settings(state_dir))
    return str(caught.value)


def test_a_bug_is_not_hidden_behind_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [ClosedError("this mesh is closed"), CommandError("no"), ZeroDivisionError("by 0")]
    for error in (ExceptionGroup("", parts), ExceptionGroup("", [ExceptionGroup("", parts)])):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="meshcrdt.daemon"):
            line = ended_by(error, tmp_path / "state", monkeypatch)
        assert line.startswith("internal error: ZeroDivisionError: by 0")
        assert "this mesh is closed" in caplog.text
        assert "ZeroDivisionError" in caplog.text
    assert (tmp_path / "state").exists(), "what a bug leaves is kept, the log above all"


def test_a_broken_invariant_is_a_bug_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ExceptionGroup("", [UsageError("a bad value"), InternalError("names: differ")])
    line = ended_by(error, tmp_path / "state", monkeypatch)
    assert line.startswith("internal error: InternalError: names: differ")


def test_a_refusal_is_shown_with_its_code_before_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = CommandError("off here", code=ExitCode.FEATURE_OFF)
    error = ExceptionGroup("", [ClosedError("closed"), refusal])
    with caplog.at_level(logging.DEBUG, logger="meshcrdt.daemon"):
        assert ended_by(error, tmp_path / "state", monkeypatch) == "off here"
    assert "closed" in caplog.text, "the group is in the log whatever is shown"
    assert not (tmp_path / "state").exists(), "a refused launch leaves no trace"
    assert ended_by(ExceptionGroup("", [ClosedError("closed")]), tmp_path, monkeypatch) == "closed"
