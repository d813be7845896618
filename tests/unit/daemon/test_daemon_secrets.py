"""Secrets of the daemon: in files of its own, private from the first byte, and gone after reset."""

import os
import stat

import pytest

from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.http.server import bearer_token
from meshcrdt.daemon.lock import StateLock, word_left
from meshcrdt.daemon.reset import OWN_FILES, wipe_state


def test_the_api_token_is_made_once_and_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        token = bearer_token(tmp_path)
    finally:
        os.umask(before)
    assert len(token) >= 32
    assert bearer_token(tmp_path) == token
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_reads_along_while_the_api_token_is_made(tmp_path):
    planted = tmp_path / "api.token.new"
    planted.touch(0o666)
    with planted.open("rb") as reader:
        bearer_token(tmp_path)
        assert reader.read() == b""


def test_a_place_that_takes_no_token_is_named(tmp_path):
    with pytest.raises(CommandError, match="API token"):
        bearer_token(tmp_path / "missing")


def test_reset_removes_what_a_killed_write_left_and_nothing_of_others(tmp_path):
    for name in OWN_FILES:
        (tmp_path / name).touch()
        (tmp_path / f"{name}.new").touch()
    (tmp_path / "somebody-elses.new").touch()
    wipe_state(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["somebody-elses.new"]


def test_reset_names_what_stays_also_to_who_waited_for_the_lock(tmp_path):
    # A directory in its place is what even root cannot unlink.
    (tmp_path / "mesh.db.key").mkdir()
    (tmp_path / "mesh.db").touch()
    lock = StateLock(tmp_path)
    lock.acquire()
    with pytest.raises(CommandError, match="not everything could be removed") as caught:
        wipe_state(tmp_path)
    lock.release()
    assert str(tmp_path / "mesh.db.key") in str(caught.value)
    assert not (tmp_path / "mesh.db").exists(), "what can be removed is removed"
    assert word_left(str(lock.path), os.getpid()) == str(caught.value)


def test_what_a_process_left_in_its_lock_file_is_its_own(tmp_path):
    path = tmp_path / "lock"
    assert word_left(str(path), 7) is None
    path.write_text("7\n")
    assert "process 7 ended before" in (word_left(str(path), 7) or "")
    path.write_text("8\n")
    assert word_left(str(path), 7) is None, "somebody else has begun since"
