"""The dataplane's trio side over the fake kernel, targets, and the dataplane that is off."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from meshcrdt.abc import Dataplane
from meshcrdt.dataplane import linux, paths
from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError, DataplaneOff, NamespaceGone
from meshcrdt.dataplane.fake import FakeKernel
from meshcrdt.dataplane.linux import LinuxDataplane
from meshcrdt.dataplane.model import (
    DataplaneConfig,
    Desired,
    Port,
    Remote,
    Statistics,
)
from meshcrdt.dataplane.namespaces import call_inside, opened, resolve_target, target_path
from meshcrdt.dataplane.none import OFF, open_none
from meshcrdt.dataplane.observed import Observed
from meshcrdt.dataplane.overlap import HostRoute
from meshcrdt.dataplane.paths import ClearPath, NoPath, path_to
from meshcrdt.dataplane.plan import plan
from meshcrdt.dataplane.watch import Watch
from meshcrdt.errors import UsageError

TRUSTED = ("192.168.0.0/16",)
CONFIG = DataplaneConfig(
    universes=("10.32.0.0/12",), vni=7, trusted=TRUSTED, underlay=("192.168.0.1",)
)
PORT = Port(workload="w1", namespace="/run/netns/w1", addresses=("10.32.0.1/12",))
REMOTES = (
    Remote(peer="p2", underlay=("192.168.0.2",), trusted=TRUSTED),
    Remote(peer="p3", underlay=("172.16.0.3",), trusted=TRUSTED),
)


class StubbornKernel(FakeKernel):
    """Refuses every port, as a kernel without rights to a namespace would."""

    def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
        kept = [x for x in operations if not isinstance(x, op.CreatePort)]
        refused = ["CreatePort: not permitted"] * (len(operations) - len(kept))
        is_ours = [x for x in kept if getattr(x, "name", "") != config.outside("w1")]
        rest = [x for x in is_ours if not isinstance(x, op.SetInside)]
        return super().apply(config, rest) + refused


class TellingKernel(FakeKernel):
    """Sets an event in the loop whenever it makes a port."""

    made: trio.Event

    def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
        failures = super().apply(config, operations)
        if any(isinstance(x, op.CreatePort) for x in operations):
            trio.from_thread.run_sync(self.made.set)
        return failures


async def test_apply_reports_paths_and_what_is_gone() -> None:
    kernel = FakeKernel()
    dataplane: Dataplane = LinuxDataplane(CONFIG, kernel)
    report = await dataplane.apply(Desired(ports=(PORT,), remotes=REMOTES))
    assert report.paths["p2"] is None
    assert "172.16.0.3" in (report.paths["p3"] or "")
    assert report.paths["p3"] == dataplane.why_no_path(REMOTES)["p3"]
    assert (report.gone, report.errors, report.mtu) == (("w1",), (), 1450)
    assert dataplane.why_closed() is None


async def test_what_the_kernel_refuses_is_reported_and_the_rest_applied() -> None:
    kernel = StubbornKernel(namespaces={PORT.namespace})
    dataplane = LinuxDataplane(CONFIG, kernel)
    report = await dataplane.apply(Desired(ports=(PORT,)))
    assert report.errors == ("CreatePort: not permitted",)
    assert report.blocked is None, "the rest was done"
    assert kernel.bridge is not None
    assert dataplane.statistics().failures == 3, "a refusal is tried again, not for ever"


async def test_a_lasting_refusal_costs_two_looks_and_no_third() -> None:
    kernel = StubbornKernel(namespaces={PORT.namespace})
    dataplane = LinuxDataplane(CONFIG, kernel)
    await dataplane.apply(Desired(ports=(PORT,)))
    before = dataplane.statistics()
    report = await dataplane.apply(Desired(ports=(PORT,)))
    after = dataplane.statistics()
    assert (after.looks - before.looks, after.failures - before.failures) == (2, 2)
    assert report.errors == ("CreatePort: not permitted",)


async def test_a_workload_is_gone_and_a_later_one_under_its_path_is_not() -> None:
    path = PORT.namespace
    kernel = FakeKernel(namespaces={path}, identities={path: "4:202"})
    dataplane = LinuxDataplane(CONFIG, kernel)
    old = evolve(PORT, identity="4:101")
    new = Port(workload="w2", namespace=path, identity="4:202", addresses=("10.32.0.2/12",))
    report = await dataplane.apply(Desired(ports=(old, new)))
    assert (report.gone, report.errors) == (("w1",), ())
    assert set(kernel.links) == {CONFIG.outside("w2")}


async def test_looking_and_planning_leave_the_loop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    asked: list[str] = []

    def noting_plan(*args: Any) -> list[op.Operation]:
        threads.add(threading.get_ident())
        return plan(*args)

    def noting_path(config: DataplaneConfig, remote: Remote) -> ClearPath | NoPath:
        threads.add(threading.get_ident())
        asked.append(remote.peer)
        return path_to(config, remote)

    monkeypatch.setattr(linux, "plan", noting_plan)
    monkeypatch.setattr(paths, "path_to", noting_path)
    dataplane = LinuxDataplane(CONFIG, FakeKernel())
    report = await dataplane.apply(Desired(remotes=REMOTES))
    assert sorted(report.paths) == sorted(asked) == ["p2", "p3"], "each path is found once"
    assert threading.get_ident() not in threads


async def test_rules_that_cannot_be_looked_at_are_told_and_the_rest_is_applied() -> None:
    class Blind(FakeKernel):
        def observe(self, config: DataplaneConfig, desired: Desired) -> Observed:
            return evolve(super().observe(config, desired), rules_unreadable="nft: timed out")

    kernel = Blind()
    dataplane = LinuxDataplane(CONFIG, kernel)
    report = await dataplane.apply(Desired(remotes=REMOTES))
    assert (report.errors, report.blocked) == (("nft: timed out",), None)
    assert kernel.bridge is not None
    assert kernel.rules is None


@pytest.mark.parametrize(
    ("code", "is_told"),
    [(errno.EPROTONOSUPPORT, False), (errno.ENOENT, False), (errno.EPERM, True)],
)
async def test_nftables_that_cannot_be_watched_stop_nothing(
    code: int,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refused(watch: Watch) -> None:
        watch.close()
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Watch, "_bind", refused)
    assert await Watch.open_rules() is None
    assert [os.strerror(code) in record.getMessage() for record in caplog.records] == [
        True
    ] * is_told


async def test_a_foreign_device_is_an_error_of_the_report() -> None:
    kernel = FakeKernel()
    dataplane = LinuxDataplane(CONFIG, kernel)
    await dataplane.apply(Desired())
    assert kernel.bridge is not None
    object.__setattr__(kernel.bridge, "kind", "dummy")
    report = await dataplane.apply(Desired())
    assert report.errors == ("device meshcrdt exists and is a dummy, not our bridge",)
    assert report.blocked == report.errors[0]


async def test_check_asks_the_kernel_first_and_then_the_routes() -> None:
    kernel = FakeKernel(unable="needs root")
    dataplane = LinuxDataplane(CONFIG, kernel)
    assert await dataplane.check(["10.32.0.0/12"]) == "needs root"
    kernel.unable = None
    kernel.host_routes = [HostRoute(prefix="10.40.0.0/16", device="eth0")]
    reason = await dataplane.check(["10.32.0.0/12"])
    assert reason == "range 10.32.0.0/12 overlaps the host's route 10.40.0.0/16 on eth0"
    assert await dataplane.check(["10.64.0.0/12"]) is None


async def test_reset_removes_everything_and_stays_removed() -> None:
    kernel = FakeKernel(namespaces={PORT.namespace})
    dataplane = LinuxDataplane(CONFIG, kernel)
    await dataplane.apply(Desired(ports=(PORT,), remotes=REMOTES))
    await dataplane.reset()
    assert (kernel.bridge, kernel.vxlan, kernel.links, kernel.rules) == (None, None, {}, None)
    counted = dataplane.statistics()
    await dataplane.reset()
    assert dataplane.statistics() == Statistics(
        looks=counted.looks + 1, operations=counted.operations, failures=0
    )


async def test_reset_that_cannot_remove_names_the_reason() -> None:
    class Sticky(FakeKernel):
        def apply(self, config: DataplaneConfig, operations: Sequence[op.Operation]) -> list[str]:
            if any(isinstance(x, op.RemoveLink) for x in operations):
                return ["RemoveLink meshcrdt: busy"]
            return super().apply(config, operations)

    dataplane = LinuxDataplane(CONFIG, Sticky())
    await dataplane.apply(Desired())
    with pytest.raises(DataplaneError, match="RemoveLink meshcrdt: busy"):
        await dataplane.reset()


async def test_the_watch_repairs_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    # No kernel event tells of a fake kernel: the periodic look does it, often.
    monkeypatch.setattr("meshcrdt.dataplane.linux._LOOK_INTERVAL_S", 0.01)
    kernel = TellingKernel(namespaces={PORT.namespace})
    dataplane = LinuxDataplane(CONFIG, kernel)
    with trio.fail_after(30):
        async with dataplane.run() as reports:
            kernel.made = trio.Event()
            await dataplane.apply(Desired(ports=(PORT,)))
            kernel.made = trio.Event()
            kernel.links.clear()
            await kernel.made.wait()
            kernel.remove_namespace(PORT.namespace)
            assert (await reports.receive()).gone == ("w1",)
    assert kernel.bridge is not None, "leaving the watch leaves traffic flowing"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("netns:/run/netns/w1", "/run/netns/w1"),
        ("netns:w1", "/run/netns/w1"),
        ("pid:42", "/proc/42/ns/net"),
    ],
)
def test_targets_name_paths(target: str, path: str) -> None:
    assert target_path(target) == path


@pytest.mark.parametrize("target", ["", "pid:", "pid:0", "pid:x", "netns:", "netns:..", "web"])
def test_a_malformed_target_is_named(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        target_path(target)
    assert repr(target) in str(caught.value)


def test_a_missing_namespace_is_named(tmp_path: Path) -> None:
    with pytest.raises(NamespaceGone, match=f"{tmp_path}/none does not exist"):
        resolve_target(f"netns:{tmp_path}/none")
    with pytest.raises(NamespaceGone, match="/proc/4194304/ns/net does not exist"):
        resolve_target("pid:4194304")


def test_a_plain_file_is_no_namespace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NamespaceGone, match="is not a network namespace"):
        resolve_target(f"netns:{file}")


def test_another_kind_of_namespace_is_refused() -> None:
    with (
        pytest.raises(DataplaneError, match="but not a network namespace"),
        opened("/proc/self/ns/uts"),
    ):
        raise AssertionError("it was opened")


def test_the_hosts_own_namespace_is_refused() -> None:
    with pytest.raises(DataplaneError, match="the host's own network namespace"):
        resolve_target(f"pid:{os.getpid()}")


def test_another_identity_under_the_same_path_is_gone() -> None:
    with pytest.raises(NamespaceGone, match="another network namespace"):
        call_inside("/proc/self/ns/net", "1:1", lambda: None)


async def test_the_dataplane_that_is_off_says_so() -> None:
    dataplane: Dataplane = open_none()
    assert await dataplane.check(["10.32.0.0/12"]) is None
    assert dataplane.why_off() == dataplane.why_closed() == OFF
    report = await dataplane.apply(Desired(remotes=REMOTES))
    assert dict(report.paths) == {"p2": OFF, "p3": OFF}
    with pytest.raises(DataplaneOff, match="--dataplane none"):
        await dataplane.apply(Desired(ports=(PORT,)))
    async with dataplane.run():
        await dataplane.reset()
