"""What was acknowledged is there after kill -9, however often and wherever it strikes."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from meshcrdt.errors import StoreInUse
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.watch import ABSENT

WRITER = Path(__file__).with_name("mesh_writer.py")
KILLS = 6
LINES_MAX = 120
"""A kill strikes after a random number of acknowledgements up to this one."""
FILE_BLOCKS_MAX = 600
"""Of 512 bytes: what a file may grow to on the disk that is full."""
FSYNCS_THAT_WORK = 40
PATIENCE_S = 60.0

pytestmark = pytest.mark.system


class Acknowledged:
    """Everything that writers said was done."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], object] = {}
        self.addresses: dict[str, str] = {}

    def take(self, line: str) -> None:
        kind, *words = line.split()
        if kind == "put":
            channel, key, number = words
            self.values[channel, key] = int(number)
        elif kind == "deleting":  # from here on it may be there or not
            channel, key = words
            del self.values[channel, key]
        elif kind == "deleted":
            channel, key = words
            self.values[channel, key] = ABSENT
        else:
            key, address = words
            assert address not in self.addresses.values(), f"{address} was given twice"
            self.addresses[key] = address


def lines_until_killed(store: str, run: int, count: int) -> list[str]:
    """Start a writer, kill it after `count` acknowledgements, return all it got out."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), store, str(run)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        try:
            lines = [writer.stdout.readline() for _ in range(count)]
        finally:
            writer.send_signal(signal.SIGKILL)
        # What was written to the pipe before the signal was acknowledged too.
        lines += writer.stdout.read().splitlines(keepends=True)
    assert writer.returncode == -signal.SIGKILL
    return [line.decode() for line in lines if line.endswith(b"\n")]


async def check(store: str, said: Acknowledged) -> None:
    async with open_mesh(name="writer", store=store) as mesh:
        mesh.check()
        assert mesh.status().alarms == ()
        for (channel, key), value in said.values.items():
            assert mesh.channel(channel).get(key, ABSENT) == value, (channel, key)
        for key, address in said.addresses.items():
            assert mesh.ipam.lookup(key) == (address,)


async def test_everything_acknowledged_survives_kill_9(tmp_path):
    store = f"sqlite://{tmp_path}/mesh.db"
    said = Acknowledged()
    dice = random.Random(str(tmp_path))
    with trio.fail_after(KILLS * PATIENCE_S):
        for run in range(KILLS):
            count = dice.randint(1, LINES_MAX)
            lines = await trio.to_thread.run_sync(lines_until_killed, store, run, count)
            for line in lines:
                said.take(line)
            await check(store, said)
    assert said.values
    assert said.addresses


FULL_DISK = ("sh", "-c", f'ulimit -f {FILE_BLOCKS_MAX}; exec "$@"', "sh")
FAILING_FSYNC = (
    *("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"),
    *("-e", f"inject=fsync,fdatasync:error=EIO:when={FSYNCS_THAT_WORK}+"),
)


def lines_until_failure(prefix: tuple[str, ...], store: str) -> tuple[list[str], str]:
    """Run a writer whose disk fails; return what it acknowledged, and its last words."""
    done = subprocess.run(
        [*prefix, sys.executable, str(WRITER), store, "0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("prefix", [FULL_DISK, FAILING_FSYNC], ids=["full", "fsync"])
async def test_a_failing_disk_ends_acknowledgements_and_loses_none(prefix, tmp_path):
    if shutil.which(prefix[0]) is None:
        pytest.skip(f"{prefix[0]} is not installed: it is what makes fsync fail")
    store = f"sqlite://{tmp_path}/mesh.db"
    said = Acknowledged()
    lines, end = await trio.to_thread.run_sync(lines_until_failure, prefix, store)
    if "ptrace" in end:
        pytest.skip(f"{prefix[0]} may not trace here: it is what makes fsync fail")
    assert "StoreError" in end
    for line in lines:
        said.take(line)
    assert said.values
    await check(store, said)


async def test_a_store_is_one_process_only_and_free_again_when_that_is_killed(tmp_path):
    store = f"sqlite://{tmp_path}/mesh.db"
    writer = await trio.lowlevel.open_process(
        [sys.executable, str(WRITER), store, "0"], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    try:
        with trio.fail_after(PATIENCE_S):
            await writer.stdout.receive_some(1)
            with pytest.raises(StoreInUse, match=f"in use by process {writer.pid}"):
                async with open_mesh(store=store):
                    raise AssertionError("opened twice")
    finally:
        writer.kill()
        await writer.wait()
        await writer.stdout.aclose()
    async with open_mesh(store=store) as mesh:
        assert mesh.state == "ready"
