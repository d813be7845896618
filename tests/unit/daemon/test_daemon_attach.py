"""Attach and detach on a real node and a kernel in memory: what is taken is given back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve

from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.host import until_placed
from meshcrdt.daemon.observer import Observer, Wake
from meshcrdt.daemon.outcomes import Unsettled
from meshcrdt.daemon.workloads import attach as attach_module
from meshcrdt.daemon.workloads.attach import HOST_ID, Workloads
from meshcrdt.daemon.workloads.plane import Plane
from meshcrdt.daemon.workloads.records import Remembered, load_records, save_records
from meshcrdt.daemon.workloads.targets import Place
from meshcrdt.dataplane.fake import FakeKernel
from meshcrdt.dataplane.linux import LinuxDataplane
from meshcrdt.dataplane.model import DataplaneConfig, Desired, Report
from meshcrdt.errors import NotReady, StoreError
from meshcrdt.ipam.outcomes import Recovering
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.open import open_mesh

UNIVERSES = ("10.44.0.0/24", "fd44::/64")
TRUSTED = ("192.0.2.0/24",)


class QuietDataplane(LinuxDataplane):
    """The Linux dataplane on a kernel in memory, with a watch that a test speaks through."""

    def __init__(self, config: DataplaneConfig, kernel: FakeKernel) -> None:
        super().__init__(config, kernel)
        self.say, self._heard = trio.open_memory_channel[Report](4)
        self.paths: dict[str, str | None] = {}
        """What the reports say of hosts that are not there."""
        self.errors: tuple[str, ...] = ()
        """What the reports say that the kernel refused, and that it refused all."""
        self.blocked: str | None = None

    async def apply(self, desired: Desired) -> Report:
        report = await super().apply(desired)
        return evolve(
            report,
            paths={**report.paths, **self.paths},
            errors=(*report.errors, *self.errors),
            blocked=self.blocked or report.blocked,
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[trio.MemoryReceiveChannel[Report]]:
        yield self._heard


class Loud(Observer):
    """An observer that also wakes a test at every event."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = Wake()

    def after_handle(self, event: object, effects: Sequence[object], now: float) -> None:
        super().after_handle(event, effects, now)
        self.anything.set()


class World:
    """A node, its workloads and a kernel; `again` is a restart on the same state."""

    def __init__(self, mesh: Mesh, observer: Loud, state_dir: Path) -> None:
        self.mesh = mesh
        self.observer = observer
        self.state_dir = state_dir
        self.kernel = FakeKernel(namespaces={"/ns/one", "/ns/two"})
        self.trusted: tuple[str, ...] = TRUSTED

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Workloads]:
        workloads = Workloads(self.mesh, self.state_dir, load_records(self.state_dir))
        config = DataplaneConfig(
            universes=UNIVERSES, vni=7, trusted=self.trusted, underlay=("192.0.2.1",)
        )
        self.dataplane = QuietDataplane(config, self.kernel)
        plane = Plane(
            self.mesh,
            self.dataplane,
            self.observer,
            config=config,
            remembered=lambda: workloads.remembered,
        )
        workloads.plane = plane
        await workloads.restore()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plane.run, workloads.release_gone)
            await plane.settle()
            yield workloads
            nursery.cancel_scope.cancel()

    def held(self) -> dict[str, tuple[str, ...]]:
        return self.mesh.ipam.entries()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    def find_place(target: str) -> Place:
        path = "/ns/" + target.removeprefix("netns:")
        return Place(id=target, namespace=path, identity=f"1:{target}")

    observer = Loud()
    async with open_mesh(name="n1", universes=UNIVERSES, instrument=observer) as mesh:
        made = World(mesh, observer, tmp_path)
        monkeypatch.setattr(attach_module, "find_place", find_place)
        monkeypatch.setattr(
            attach_module, "_is_there", lambda entry: entry.namespace in made.kernel.namespaces
        )
        yield made


async def eventually(world: World, holds: Callable[[], bool]) -> None:
    """Wait until something holds; it can only begin to when the node has had an event."""
    with trio.fail_after(10):
        changed = world.observer.anything.next()
        while not holds():
            await changed.wait()
            changed = world.observer.anything.next()


async def test_an_attached_workload_has_one_address_of_each_family(world: World) -> None:
    async with world.running() as workloads:
        shown = await workloads.attach("netns:one", (), name="One")
        assert [a.partition("/")[2] for a in shown["addresses"]] == ["24", "64"]
        assert shown["names"] == ["One"]
        assert world.held() == {"netns:one": tuple(shown["addresses"])}
        bare = sorted(a.partition("/")[0] for a in shown["addresses"])
        assert sorted(world.mesh.names.lookup("one")) == bare
        assert sorted(e.address for e in world.mesh.node.endpoints()) == bare
        assert len(world.kernel.links) == 1
        assert await workloads.attach("netns:one", (), name=None) == shown
        await workloads.detach("netns:one", ())
        assert world.held() == {}
        assert world.mesh.names.lookup("one") == ()
        assert world.mesh.node.endpoints() == ()
        assert world.kernel.links == {}


@pytest.mark.parametrize("family", [0, 1])
async def test_an_attach_after_a_partial_detach_makes_it_whole(world: World, family: int) -> None:
    async with world.running() as workloads:
        before = (await workloads.attach("netns:one", (), name="one"))["addresses"]
        gone, stays = before[family], before[1 - family]
        await workloads.detach("netns:one", [gone.partition("/")[0]])
        assert world.held() == {"netns:one": (stays,)}
        after = (await workloads.attach("netns:one", (), name=None))["addresses"]
        assert stays in after
        assert {a.partition("/")[2] for a in after} == {"24", "64"}
        assert len(after) == 2
        bare = sorted(a.partition("/")[0] for a in after)
        assert sorted(world.mesh.names.lookup("one")) == bare
        assert sorted(e.address for e in world.mesh.node.endpoints()) == bare


async def test_without_trust_there_is_no_path_and_nothing_is_taken(world: World) -> None:
    world.trusted = ()
    async with world.running() as workloads:
        with pytest.raises(CommandError, match="--trusted-subnets") as caught:
            await workloads.attach("netns:one", (), name=None)
        assert caught.value.code is ExitCode.FEATURE_OFF
        assert world.held() == {}


async def test_attach_tells_which_peers_it_cannot_reach_and_why(world: World) -> None:
    async with world.running() as workloads:
        assert (await workloads.attach("netns:one", (), name=None))["no_path"] == {}
        world.dataplane.paths = {"p2": None, "p3": "p3 declares no trusted subnets"}
        shown = await workloads.attach("netns:two", (), name=None)
        assert shown["no_path"] == {"p3": "p3 declares no trusted subnets"}
        assert workloads.status()["paths"] == world.dataplane.paths


async def test_a_namespace_that_is_not_there_takes_nothing(world: World) -> None:
    async with world.running() as workloads:
        with pytest.raises(CommandError, match="netns:missing"):
            await workloads.attach("netns:missing", (), name="m")
        await eventually(world, lambda: world.held() == {})
        assert world.mesh.names.lookup("m") == ()
        assert world.mesh.node.endpoints() == ()
        assert load_records(world.state_dir).workloads == ()


async def test_a_refused_address_gives_the_others_back(world: World) -> None:
    await world.mesh.ipam.claim("other", "10.44.0.9")
    async with world.running() as workloads:
        with pytest.raises(CommandError, match="other") as caught:
            await workloads.attach("netns:one", ("net:default", "10.44.0.9"), name=None)
        assert caught.value.body is not None
        assert caught.value.body["outcome"] == "refused"
        assert world.held() == {"other": ("10.44.0.9/24",)}


async def test_adding_an_address_that_is_refused_keeps_what_was(world: World) -> None:
    await world.mesh.ipam.claim("other", "10.44.0.9")
    async with world.running() as workloads:
        shown = await workloads.attach("netns:one", ("10.44.0.5",), name=None)
        with pytest.raises(CommandError, match="other"):
            await workloads.attach("netns:one", ("10.44.0.9",), name="new")
        assert world.held()["netns:one"] == tuple(shown["addresses"])
        assert [e.address for e in world.mesh.node.endpoints()] == ["10.44.0.5"]
        assert world.mesh.names.lookup("new") == ()
        more = await workloads.attach("netns:one", ("10.44.0.6",), name=None)
        assert more["addresses"] == ["10.44.0.5/24", "10.44.0.6/24"]
        await workloads.detach("netns:one", ("10.44.0.5",))
        assert world.held()["netns:one"] == ("10.44.0.6/24",)
        with pytest.raises(CommandError, match=r"10\.44\.0\.5"):
            await workloads.detach("netns:one", ("10.44.0.5",))


async def test_what_allocate_gave_outlives_the_attachment(world: World) -> None:
    outcome = await world.mesh.ipam.allocate("netns:one")
    async with world.running() as workloads:
        shown = await workloads.attach("netns:one", (), name=None)
        assert shown["addresses"][0] == outcome.address  # type: ignore[union-attr]
        await workloads.detach("netns:one", ())
        assert world.held() == {"netns:one": (shown["addresses"][0],)}


async def test_two_workloads_share_a_name_and_part(world: World) -> None:
    async with world.running() as workloads:
        one = await workloads.attach("netns:one", ("10.44.0.5",), name="web")
        await workloads.attach("netns:two", ("10.44.0.6",), name="WEB.mesh.internal.")
        assert world.mesh.names.lookup("web") == ("10.44.0.5", "10.44.0.6")
        await workloads.detach("netns:two", ())
        assert world.mesh.names.lookup("web") == ("10.44.0.5",)
        assert world.held() == {"netns:one": tuple(one["addresses"])}


async def test_a_restart_finds_what_was_attached(world: World) -> None:
    async with world.running() as workloads:
        await workloads.attach("netns:one", (), name="one")
        await workloads.ensure_host()
        await workloads.expose(())
    before = world.held()
    world.kernel.log.clear()
    async with world.running() as workloads:
        assert world.kernel.log == [], "nothing that is right is touched"
        assert world.held() == before
        assert workloads.status()["exposed"] is True
        assert workloads.status()["workloads"] == 1
        await workloads.hide(())
        assert workloads.status()["exposed"] is False
        assert world.held() == before


async def test_an_attach_that_a_crash_cut_short_is_undone(world: World) -> None:
    async with world.running() as workloads:
        await workloads.attach("netns:one", (), name=None)
        entry = workloads.remembered.workloads[0]
        # As the file was before the addresses came: the crash hit between the two writes.
        workloads._remember(evolve(entry, addresses=(), mac=""))
    async with world.running() as workloads:
        assert workloads.remembered.workloads == ()
        assert world.held() == {}
        assert world.kernel.links == {}


async def test_a_workload_that_vanishes_is_released(world: World) -> None:
    async with world.running() as workloads:
        shown = await workloads.attach("netns:one", (), name="one")
        world.kernel.namespaces.discard("/ns/one")
        await world.dataplane.say.send(Report(paths={}, gone=("netns:one",)))
        await eventually(world, lambda: workloads.remembered.workloads == ())
        await eventually(world, lambda: world.held() == {})
        assert world.mesh.names.lookup("one") == ()
        assert shown["id"] == "netns:one"


async def test_a_report_that_comes_late_harms_nobody(world: World) -> None:
    async with world.running() as workloads:
        await workloads.attach("netns:one", (), name=None)
        await world.dataplane.say.send(Report(paths={}, gone=("netns:one", "netns:unknown")))
        await trio.testing.wait_all_tasks_blocked()
        assert len(workloads.remembered.workloads) == 1


async def test_the_host_gets_its_place_once(world: World) -> None:
    async with world.running() as workloads:
        await workloads.ensure_host()
        first = world.held()[HOST_ID]
        await workloads.ensure_host()
        assert world.held() == {HOST_ID: first}
        more = await workloads.expose(("10.44.0.77",))
        assert more["addresses"] == [*first, "10.44.0.77/24"]
        left = await workloads.hide(("10.44.0.77",))
        assert left["addresses"] == list(first)
        with pytest.raises(CommandError, match=r"10\.44\.0\.77"):
            await workloads.hide(("10.44.0.77",))


async def test_an_expose_that_is_refused_gives_back_what_it_took(world: World) -> None:
    await world.mesh.ipam.claim("other", "10.44.0.9")
    async with world.running() as workloads:
        await workloads.ensure_host()
        held = world.held()
        with pytest.raises(CommandError, match="other") as caught:
            await workloads.expose(("10.44.0.77", "net:default", "10.44.0.9"))
        assert caught.value.body is not None
        assert caught.value.body["holder"] == "other"
        assert world.held() == held
        assert workloads.status()["exposed"] is False
        assert load_records(world.state_dir).host.addresses == held[HOST_ID]


async def test_an_expose_whose_record_cannot_be_written_leaves_the_host_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as workloads:
        await workloads.ensure_host()
        held = world.held()
        refused = iter([CommandError("disk full")])
        real = save_records

        def save(state_dir: Path, remembered: Remembered) -> None:
            for error in refused:
                raise error
            real(state_dir, remembered)

        monkeypatch.setattr(attach_module, "save_records", save)
        with pytest.raises(CommandError, match="disk full"):
            await workloads.expose(("10.44.0.77",))
        assert world.held() == held
        assert workloads.remembered.host.addresses == held[HOST_ID]
        assert workloads.status()["exposed"] is False


async def test_expose_says_why_the_host_gets_no_address(world: World) -> None:
    async with world.running() as workloads:
        for number in range(256):
            if (await world.mesh.ipam.allocate(f"w{number}", subnet=UNIVERSES[0])).outcome != (
                "allocated"
            ):
                break
        with pytest.raises(CommandError, match="exhausted: ") as caught:
            await workloads.expose(())
        assert caught.value.body is not None
        assert caught.value.body["outcome"] == "exhausted"


async def test_the_log_gets_each_reason_why_the_host_has_no_address_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.abc.Clock
) -> None:
    reasons = iter(
        [Unsettled(Recovering("loading")), CommandError("disk full")] * 3 + [NotReady("it joins")]
    )

    async def ensure_host() -> None:
        for error in reasons:
            raise error

    with caplog.at_level(logging.DEBUG, logger="meshcrdt.dataplane"):
        await until_placed(ensure_host)
    assert [(r.levelname, r.getMessage().rpartition("yet: ")[2]) for r in caplog.records] == [
        ("INFO", "recovering: loading"),
        ("WARNING", "disk full"),
        ("INFO", "it joins"),
    ]


async def test_what_fails_elsewhere_on_the_host_refuses_no_workload(world: World) -> None:
    async with world.running() as workloads:
        await workloads.ensure_host()
        world.dataplane.errors = ("nft: no such module",)
        await workloads.hide(())
        shown = await workloads.attach("netns:one", (), name=None)
        assert world.held()["netns:one"] == tuple(shown["addresses"])
        world.dataplane.errors += ("CreatePort x: not permitted",)
        with pytest.raises(CommandError, match=r"netns:two.*CreatePort x: not permitted"):
            await workloads.attach("netns:two", (), name=None)
        assert "netns:two" not in world.held()


async def test_what_fails_for_the_workload_itself_refuses_it_each_time(world: World) -> None:
    async with world.running() as workloads:
        await workloads.attach("netns:one", (), name=None)
        device = world.dataplane.config.outside("netns:one")
        world.dataplane.errors = (f"SetMtu {device}: not permitted", "/ns/two: not permitted")
        await workloads.hide(())
        for target, part in (("netns:one", device), ("netns:two", "/ns/two")):
            with pytest.raises(CommandError, match=part):
                await workloads.attach(target, (), name=None)


async def test_a_kernel_that_takes_nothing_refuses_each_workload(world: World) -> None:
    async with world.running() as workloads:
        await workloads.ensure_host()
        world.dataplane.errors = ("cannot look at the kernel: EPERM",)
        world.dataplane.blocked = world.dataplane.errors[0]
        await workloads.hide(())
        for _ in range(2):
            with pytest.raises(CommandError, match="cannot look"):
                await workloads.attach("netns:one", (), name=None)
            assert "netns:one" not in world.held()


async def test_an_attach_that_fails_at_its_names_leaves_none_at_what_it_gives_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as workloads:
        await workloads.attach("netns:one", ("10.44.0.5",), name="one")
        real = world.mesh.names.add

        async def add(name: str, addresses: Sequence[str]) -> None:
            if name == "late":
                raise StoreError("disk full")
            await real(name, addresses)

        monkeypatch.setattr(world.mesh.names, "add", add)
        with pytest.raises(StoreError, match="disk full"):
            await workloads.attach("netns:one", ("10.44.0.6",), name="late")
        assert world.held() == {"netns:one": ("10.44.0.5/24",)}
        assert world.mesh.names.lookup("one") == ("10.44.0.5",)
        assert world.mesh.names.lookup("late") == ()
