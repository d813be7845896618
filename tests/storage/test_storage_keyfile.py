"""The key file is private, whole, and silent about what it holds."""

import json
import os
import stat
import traceback

import pytest

from meshcrdt.errors import CorruptStore, StoreError, WrongStore
from meshcrdt.storage import files
from meshcrdt.storage.files import make_directory
from meshcrdt.storage.keyfile import FORMAT, KeyMaterial, read_key_file, write_key_file

SEED = bytes(range(32))
SECRET = bytes(range(100, 132))


@pytest.mark.parametrize("secret", [None, SECRET])
def test_round_trip(tmp_path, secret):
    path = tmp_path / "new" / "mesh.db.key"
    assert read_key_file(path) is None
    write_key_file(path, KeyMaterial(SEED, secret))
    assert read_key_file(path) == KeyMaterial(SEED, secret)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "k", KeyMaterial(SEED))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "k").st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_file_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "k"
    write_key_file(path, KeyMaterial(SEED))
    path.chmod(mode)
    with pytest.raises(StoreError, match=f"mode {mode:04o}"):
        read_key_file(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json " + SECRET.hex().encode(),
        b"[]",
        b'{"format": 1}',
        json.dumps({"format": 1, "seed": SECRET.hex()[:-2], "secret": None}).encode(),
        json.dumps({"format": 1, "seed": SEED.hex(), "secret": SECRET.hex() + "zz"}).encode(),
        json.dumps({"format": "1", "seed": SEED.hex(), "secret": None}).encode(),
        b"x" * 10_000,
        b"[" * 4_000,
    ],
)
def test_damage_is_named_without_the_content(tmp_path, content):
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CorruptStore, match=r"key file .* is damaged") as caught:
        read_key_file(path)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET.hex()[:16] not in shown
    assert SEED.hex()[:16] not in shown


def test_newer_format_is_refused_by_number(tmp_path):
    path = tmp_path / "k"
    path.write_text(json.dumps({"format": FORMAT + 1}))
    path.chmod(0o600)
    with pytest.raises(WrongStore, match=f"format {FORMAT + 1}"):
        read_key_file(path)


def test_material_shows_nothing():
    shown = repr(KeyMaterial(SEED, SECRET))
    assert SEED.hex() not in shown
    assert repr(SEED) not in shown
    assert repr(SECRET) not in shown


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "k"
    write_key_file(path, KeyMaterial(SEED))

    def broken_fsync(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", broken_fsync)
    with pytest.raises(StoreError, match="Input/output error"):
        write_key_file(path, KeyMaterial(SECRET))
    monkeypatch.undo()
    assert read_key_file(path) == KeyMaterial(SEED)
    assert [each.name for each in tmp_path.iterdir()] == ["k"]


def test_directory_and_unwritable_place(tmp_path):
    with pytest.raises(StoreError, match="not a regular file"):
        read_key_file(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not a directory"):
        write_key_file(tmp_path / "file" / "k", KeyMaterial(SEED))


def test_what_a_killed_writer_left_is_gone_and_nobody_reads_along(tmp_path):
    path = tmp_path / "mesh.db.key"
    beside = tmp_path / "mesh.db.key.new"
    beside.write_bytes(b"half a secret")
    beside.chmod(0o666)
    with beside.open("rb") as reader:
        write_key_file(path, KeyMaterial(SEED, SECRET))
        assert reader.read() == b"half a secret"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mesh.db.key"]
    assert read_key_file(path) == KeyMaterial(SEED, SECRET)


def test_every_directory_that_is_made_is_made_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    make_directory(tmp_path / "a" / "b" / "c")
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
