"""Which dataplane runs is decided by what the plane of that name says, whoever made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshcrdt.daemon import startup
from meshcrdt.daemon.config import Settings, load_settings
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.startup import effective_dataplane
from meshcrdt.dataplane.fake import FakeKernel
from meshcrdt.dataplane.linux import LinuxDataplane
from meshcrdt.dataplane.model import DataplaneConfig
from meshcrdt.dataplane.none import OFF


def settings(tmp_path: Path, **flags: object) -> Settings:
    return load_settings(
        {"state_dir": str(tmp_path), **flags}, environ={}, config_file=None, root=True
    )


def on_kernel(monkeypatch: pytest.MonkeyPatch, kernel: FakeKernel) -> None:
    def bare_plane(name: str, bridge: str) -> LinuxDataplane:
        config = DataplaneConfig(universes=("10.32.0.0/12",), vni=1, bridge=bridge)
        return LinuxDataplane(config, kernel)

    monkeypatch.setattr(startup, "bare_plane", bare_plane)


async def test_the_one_that_is_off_says_so(tmp_path: Path) -> None:
    assert await effective_dataplane(settings(tmp_path, dataplane="none")) == OFF


async def test_one_that_was_asked_for_and_cannot_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_kernel(monkeypatch, FakeKernel(unable="no vxlan here"))
    with pytest.raises(CommandError, match="--dataplane linux cannot run here: no vxlan here"):
        await effective_dataplane(settings(tmp_path, dataplane="linux"))
    by_default = await effective_dataplane(settings(tmp_path))
    assert by_default is not None
    assert "no vxlan here" in by_default


async def test_one_that_can_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_kernel(monkeypatch, FakeKernel())
    assert await effective_dataplane(settings(tmp_path)) is None
