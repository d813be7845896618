"""A real node's trace: it is replayed byte for byte, and holds no secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import trio
import trio.testing

import meshcrdt
from meshcrdt.errors import UsageError
from meshcrdt.mesh.keys import open_keyring
from meshcrdt.sim.replay import replay

SECRET = bytes(range(32))


async def lived(path: Path, store: str = "mem://") -> None:
    """Live through a little of everything as one of two nodes, recorded."""
    with meshcrdt.TraceRecorder(path) as recorder:
        async with (
            meshcrdt.open_mesh(
                name="n1",
                listen=["mem://recorded"],
                secret=SECRET,
                store=store,
                instrument=recorder,
            ) as mesh,
            meshcrdt.open_mesh(name="n2", peers=["mem://recorded"], secret=SECRET) as other,
        ):
            await mesh.members(at_least=2, timeout=10)
            services = mesh.channel("acme/services")
            receipt = await services.put("web", {"port": 80})
            await receipt.reached(targets=meshcrdt.Targets.LIVE, timeout=10)
            hits = mesh.channel("acme/hits", meshcrdt.GCounter)
            await hits.update(lambda value: value.increment(mesh.peer, 2))
            with pytest.raises(UsageError):
                await hits.update(lambda value: "no counter")  # type: ignore[arg-type,return-value]
            await other.channel("acme/services").put("db", 1)
            await mesh.ipam.allocate("pod-7", timeout=5)
        assert recorder.recording
    assert not recorder.recording


async def test_a_real_trace_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "n1.trace"
    await lived(path)
    with path.open() as lines:
        found = replay(lines)
    assert found.difference is None, found.difference
    assert found.nodes == 1
    assert found.turns > 20
    assert found.signatures > 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_trace_holds_no_key_and_no_secret(tmp_path: Path) -> None:
    path, store = tmp_path / "n1.trace", f"sqlite://{tmp_path}/mesh.db"
    await lived(path, store)
    text = path.read_text()
    keyring = await open_keyring(store, owner=None)
    assert keyring.identity.public.hex() in text
    for secret in (
        SECRET,
        keyring.identity.seed,
        keyring.identity.noise_static.private_bytes_raw(),
    ):
        assert secret.hex() not in text


async def test_a_disk_that_fails_ends_the_recording_and_not_the_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = meshcrdt.TraceRecorder(tmp_path / "n1.trace")
    honest = recorder._stream

    class Full:
        closed = False

        def write(self, line: str) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self.closed = True
            honest.close()

    async with meshcrdt.open_mesh(name="n1", secret=SECRET, instrument=recorder) as mesh:
        await mesh.channel("acme/services").put("web", 1)
        recorder._stream = Full()  # type: ignore[assignment]
        await mesh.channel("acme/services").put("web", 2)
        await trio.testing.wait_all_tasks_blocked()
        assert mesh.channel("acme/services").get("web") == 2
    assert not recorder.recording
    assert "No space left on device" in caplog.text
