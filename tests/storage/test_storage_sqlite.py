"""What is particular to the SQLite store: files, modes, refusals, and a disk that fails."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio
from plain_user import USER, as_user, why_no_user

from meshcrdt.errors import CorruptStore, StoreError, StoreInUse, UsageError, WrongStore
from meshcrdt.storage.registry import key_path, open_store
from meshcrdt.storage.sqlite import FORMAT, open_sqlite

OPENER = """
import sys, trio
from meshcrdt.storage.sqlite import open_sqlite
async def main():
    await (await open_sqlite(sys.argv[1])).aclose()
trio.run(main)
"""

HOLDER = """
import sys, trio
from meshcrdt.storage.sqlite import open_sqlite
async def main():
    store = await open_sqlite(sys.argv[1])
    await store.write([("t", b"k", b"acknowledged")])
    print("held", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


async def test_files_are_private_whatever_the_umask(tmp_path):
    path = tmp_path / "state" / "mesh.db"
    before = os.umask(0)
    try:
        store = await open_sqlite(f"sqlite://{path}")
        await store.write([("t", b"k", b"v")])
        assert mode_of(path.parent) == 0o750
        for file in path.parent.iterdir():
            assert mode_of(file) == 0o600, file
        await store.aclose()
    finally:
        os.umask(before)


async def test_existing_directory_is_used_as_it_is(tmp_path):
    tmp_path.chmod(0o711)
    store = await open_sqlite(f"sqlite://{tmp_path}/mesh.db")
    await store.aclose()
    assert mode_of(tmp_path) == 0o711


async def test_durability_settings_hold(tmp_path):
    store = await open_sqlite(f"sqlite://{tmp_path}/mesh.db")
    settings = [
        store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    strict = store._connection.execute("SELECT name, strict FROM pragma_table_list").fetchall()
    assert settings == ["wal", 2]
    assert {("rows", 1), ("format", 1)} <= set(strict)
    await store.aclose()


async def test_second_process_is_refused_by_pid_and_a_kill_loses_nothing(tmp_path):
    url = f"sqlite://{tmp_path}/mesh.db"
    holder = await trio.lowlevel.open_process(
        [sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE
    )
    try:
        with trio.fail_after(30):
            assert (await holder.stdout.receive_some(100)).startswith(b"held")
        with pytest.raises(StoreInUse, match=rf"mesh\.db is in use by process {holder.pid}"):
            await open_store(url)
    finally:
        holder.send_signal(signal.SIGKILL)
        await holder.wait()
        await holder.stdout.aclose()
    store = await open_store(url)
    assert await store.load() == {"t": {b"k": b"acknowledged"}}
    await store.aclose()


async def test_newer_format_is_not_touched(tmp_path):
    path = tmp_path / "mesh.db"
    await (await open_sqlite(f"sqlite://{path}")).aclose()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE format SET version = ?", (FORMAT + 1,))
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(WrongStore, match=rf"mesh\.db has format {FORMAT + 1}"):
        await open_sqlite(f"sqlite://{path}")
    assert path.read_bytes() == before


async def test_file_of_another_program_is_not_touched(tmp_path):
    path = tmp_path / "mesh.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE other (x)")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(WrongStore, match="another program"):
        await open_sqlite(f"sqlite://{path}")
    assert path.read_bytes() == before


async def test_damaged_file_is_named(tmp_path):
    path = tmp_path / "mesh.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(CorruptStore, match=r"mesh\.db"):
        await open_sqlite(f"sqlite://{path}")


async def test_damaged_page_is_found_on_load(tmp_path):
    path = tmp_path / "mesh.db"
    store = await open_sqlite(f"sqlite://{path}")
    await store.write([("t", b"%d" % n, b"x" * 500) for n in range(500)])
    await store.aclose()
    content = bytearray(path.read_bytes())
    content[20_000:60_000] = b"\xa5" * 40_000
    path.write_bytes(content)
    store = await open_sqlite(f"sqlite://{path}")
    with pytest.raises(CorruptStore, match=r"mesh\.db"):
        await store.load()
    await store.aclose()


async def test_path_that_is_a_directory_or_below_a_file(tmp_path):
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(StoreError, match=r"dir\.db: Is a directory"):
        await open_sqlite(f"sqlite://{tmp_path}/dir.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file is not a directory"):
        await open_sqlite(f"sqlite://{tmp_path}/file/mesh.db")


def test_unreadable_file():
    reason = why_no_user()
    if reason is not None:
        pytest.skip(reason)
    # Root may read everything, so a user without root asks, where such a user may enter.
    with tempfile.TemporaryDirectory(prefix="meshcrdt-", dir="/tmp") as directory:
        path = Path(directory) / "mesh.db"
        opened = [sys.executable, "-c", OPENER, f"sqlite://{path}"]
        subprocess.run(opened, check=True, timeout=60)
        path.chmod(0)
        if os.geteuid() == 0:
            for each in (Path(directory), *Path(directory).iterdir()):
                if each != path:
                    shutil.chown(each, USER)
        done = subprocess.run(
            [*as_user(), *opened], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("meshcrdt.errors.StoreError: ")
    assert "mesh.db: Permission denied" in last


async def test_failed_open_leaves_no_lock(tmp_path):
    path = tmp_path / "mesh.db"
    path.write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(CorruptStore):
            await open_sqlite(f"sqlite://{path}")
    path.unlink()
    await (await open_sqlite(f"sqlite://{path}")).aclose()


async def test_after_a_failed_write_nothing_is_acknowledged(tmp_path):
    url = f"sqlite://{tmp_path}/mesh.db"
    store = await open_sqlite(url)
    await store.write([("t", b"before", b"1")])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # the disk is full
    with pytest.raises(StoreError, match="full"):
        await store.write([("t", b"big", b"x" * 1_000_000)])
    store._connection.execute("PRAGMA max_page_count = 1000000")  # and has room again
    with pytest.raises(StoreError, match="failed earlier"):
        await store.write([("t", b"after", b"1")])
    await store.aclose()
    store = await open_sqlite(url)
    assert await store.load() == {"t": {b"before": b"1"}}
    await store.aclose()


async def test_writes_behind_a_failed_one_fail_too(tmp_path):
    store = await open_sqlite(f"sqlite://{tmp_path}/mesh.db")
    store._connection.execute("PRAGMA max_page_count = 1")
    outcomes = []

    async def write(number):
        try:
            await store.write([("t", b"%d" % number, b"x" * 100_000)])
        except StoreError:
            outcomes.append("failed")
        else:
            outcomes.append("acknowledged")

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(write, number)
    assert outcomes == ["failed"] * 5
    await store.aclose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///dir/", "sqlite:///a\0b"])
async def test_bad_urls(url):
    with pytest.raises(UsageError):
        await open_sqlite(url)


async def test_unknown_scheme_names_the_known_ones():
    with pytest.raises(UsageError, match=r"'etcd'.*mem, sqlite"):
        await open_store("etcd://x")


def test_keys_live_beside_the_store():
    assert key_path("sqlite:///var/lib/mesh.db") == Path("/var/lib/mesh.db.key")
    assert key_path("mem://x") is None


async def test_open_and_close_leak_nothing(tmp_path):
    url = f"sqlite://{tmp_path}/mesh.db"
    await (await open_sqlite(url)).aclose()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        store = await open_sqlite(url)
        await store.aclose()
    assert len(os.listdir("/proc/self/fd")) == before
