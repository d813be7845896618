"""What the dataplane needs and may lack: nft, root, pyroute2."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.model import DataplaneConfig
from meshcrdt.dataplane.nft import Rules
from meshcrdt.dataplane.rules import RESTORE_MARK

CONFIG = DataplaneConfig(universes=("10.32.0.0/12",), vni=7)

FAKE_NFT = """#!/bin/sh
state="$(dirname "$0")/table"
case "$1" in
-f) cat > "$state" ;;
list) cat "$state" 2>/dev/null || { echo "Error: No such file or directory" >&2; exit 1; } ;;
delete) rm "$state" ;;
esac
"""


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nft that keeps one table in a file; returns that file."""
    program = tmp_path / "nft"
    program.write_text(FAKE_NFT)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "table"


def test_without_nft_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rules = Rules("t")
    assert rules.seen() is None
    with pytest.raises(DataplaneError, match=r"nft is not installed \(package nftables\)"):
        rules.replace("", restore_forwarding=False)


def test_an_untouched_table_is_told_from_a_changed_one(nft: Path) -> None:
    rules = Rules("t")
    assert rules.seen() is None
    rules.replace("\tchain c {\n\t}", restore_forwarding=False)
    assert rules.seen() == "\tchain c {\n\t}"
    nft.write_text(nft.read_text().replace("chain c", "chain d"))
    assert rules.seen() == ""
    rules.remove()
    assert rules.seen() is None


def test_a_later_daemon_reads_what_to_put_back(nft: Path) -> None:
    Rules("t").replace("", restore_forwarding=True)
    assert RESTORE_MARK in nft.read_text()
    later = Rules("t")
    assert later.seen() == ""
    assert later.restore_forwarding
    nft.unlink()
    assert later.seen() is None
    assert later.restore_forwarding, "the note is kept when somebody removes the table"
    later.forget()
    assert not later.restore_forwarding


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyroute2")
    from meshcrdt.dataplane.linux_kernel import LinuxKernel

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = LinuxKernel(CONFIG).why_unable()
    assert reason == "the dataplane needs root: start as root, or with --dataplane none"
