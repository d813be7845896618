"""What the dataplane needs and may lack: nft, root, pyroute2."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from meshcrdt.dataplane import operations as op
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


@pytest.mark.parametrize(
    "line",
    [
        "Error: No such file or directory",
        "Error: Could not process rule: No such file or directory",
        "Unable to initialize Netlink socket: Protocol not supported",
    ],
)
def test_what_nft_says_of_an_absent_table(line: str, nft: Path) -> None:
    (nft.parent / "nft").write_text(f"#!/bin/sh\necho '{line}' >&2; exit 1\n")
    assert Rules("t").seen() is None


@pytest.mark.parametrize(
    "line",
    [
        "Error: Could not process rule: Device or resource busy",
        "nft: error while loading shared libraries: libnftables.so.1: cannot open shared object "
        "file: No such file or directory",
    ],
)
def test_an_nft_that_cannot_tell_is_taken_for_no_absence(line: str, nft: Path) -> None:
    (nft.parent / "nft").write_text(f"#!/bin/sh\necho '{line}' >&2; exit 1\n")
    with pytest.raises(DataplaneError) as caught:
        Rules("t").seen()
    assert str(caught.value) == f"nft: {line}"


def test_an_nft_that_hangs_is_taken_for_no_absence(
    nft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nft.parent / "nft").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("meshcrdt.dataplane.nft._TIMEOUT_S", 0.05)
    with pytest.raises(DataplaneError, match="timed out"):
        Rules("t").seen()


def test_one_bad_text_is_one_failure_and_the_rest_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyroute2")
    from meshcrdt.dataplane import linux_kernel

    applied: list[str] = []

    class Route:
        def __enter__(self) -> Route:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def link_lookup(self, ifname: str) -> list[int]:
            return [2**30]

        def link(self, verb: str, **details: object) -> None:
            applied.append(verb)

    monkeypatch.setattr(linux_kernel, "IPRoute", Route)
    failures = linux_kernel.LinuxKernel(CONFIG).apply(
        CONFIG,
        [
            op.SetForwarding(name="vx", entries=(("not a mac", "192.0.2.1"),)),
            op.SetUp(name="vx"),
        ],
    )
    assert len(failures) == 1
    assert failures[0].startswith("SetForwarding vx: ")
    assert applied == ["set"]


def test_a_kernel_that_cannot_be_asked_is_a_failure_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyroute2")
    from meshcrdt.dataplane import linux_kernel

    def no_socket() -> None:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(linux_kernel, "IPRoute", no_socket)
    failures = linux_kernel.LinuxKernel(CONFIG).apply(CONFIG, [op.SetUp(name="vx")])
    assert failures == [f"cannot change the kernel: {os.strerror(errno.EMFILE)}"]


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyroute2")
    from meshcrdt.dataplane.linux_kernel import LinuxKernel

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = LinuxKernel(CONFIG).why_unable()
    assert reason == "the dataplane needs root: start as root, or with --dataplane none"
