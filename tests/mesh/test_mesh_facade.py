"""The handles of a mesh: what they add to the commands of the node, and what check() covers."""

import math

import pytest
import trio
import trio.testing

from meshcrdt.errors import ClosedError, InternalError, NotReady
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.refusals import SOURCES_MAX
from meshcrdt.mesh.shell import FAREWELL_S, Shell

SECRET = b"s" * 32


async def test_an_address_is_added_to_a_name_beside_those_it_has(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        await mesh.names.add("web", ["10.32.0.1"])
        await mesh.names.add("WEB.mesh.internal", ["10.32.0.2", "10.32.0.1"])
        assert set(mesh.names.lookup("web")) == {"10.32.0.1", "10.32.0.2"}


async def test_concurrent_additions_and_removals_of_a_name_lose_nothing(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        await mesh.names.set("web", ["10.32.0.1"])
        async with trio.open_nursery() as nursery:
            for number in range(2, 10):
                nursery.start_soon(mesh.names.add, "web", [f"10.32.0.{number}"])
            nursery.start_soon(mesh.names.remove, "web", ["10.32.0.1"])
        assert set(mesh.names.lookup("web")) == {f"10.32.0.{number}" for number in range(2, 10)}


async def test_the_ranges_of_the_cluster_are_known_once_it_is(autojump_clock):
    ranges = ("10.40.0.0/16", "fd00:40::/48")
    async with open_mesh(name="n1", secret=SECRET, universes=ranges) as mesh:
        assert mesh.universes == ranges == mesh.node.core.genesis.universes
    async with open_mesh(name="n2", secret=SECRET, peers=["mem://nobody"]) as joiner:
        assert joiner.state == "starting"
        assert joiner.universes == ()


@pytest.fixture
def shells(monkeypatch):
    """Every shell that the test opens."""
    made = []

    def noting(self, *args, _init=Shell.__init__, **options):
        _init(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Shell, "__init__", noting)
    return made


def _endless_refusals(gatekeeper):
    for number in range(SOURCES_MAX + 1):
        gatekeeper.refusals._by_source[str(number)] = None


def _empty_source(gatekeeper):
    gatekeeper.half_open._strangers.by_source["192.0.2.1"] = {}


@pytest.mark.parametrize("damage", [_endless_refusals, _empty_source])
async def test_check_of_the_mesh_reaches_the_shell(damage, shells, autojump_clock):
    async with (
        open_mesh(name="n1", secret=SECRET, listen=["mem://n1"]) as n1,
        open_mesh(name="n2", secret=SECRET, peers=["mem://n1"]) as n2,
    ):
        await n2.ready()
        n1.check()
        gatekeeper = shells[0]._gatekeeper
        damage(gatekeeper)
        with pytest.raises(InternalError):
            n1.check()


async def test_a_closed_mesh_keeps_nobody_waiting(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        pass
    with trio.fail_after(60):
        with pytest.raises(ClosedError):
            async with mesh.notices():
                raise AssertionError("opened")
        with pytest.raises(NotReady, match="closed"):
            await mesh.members(at_least=2, timeout=math.inf)
        with pytest.raises(NotReady, match="draining"):
            await mesh.ready()


async def test_closing_wakes_who_waits_for_members_or_a_state(autojump_clock):
    woken = []

    async def wait_for(call):
        with pytest.raises(NotReady):
            await call
        woken.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with (
            open_mesh(name="n1", secret=SECRET) as lone,
            open_mesh(name="n2", secret=SECRET, peers=["mem://nobody"]) as starting,
        ):
            nursery.start_soon(wait_for, lone.members(at_least=2, timeout=math.inf))
            nursery.start_soon(wait_for, starting.ready())
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
        with trio.fail_after(60):
            await trio.testing.wait_all_tasks_blocked()
        assert len(woken) == 2
        assert max(woken) - began <= FAREWELL_S
        nursery.cancel_scope.cancel()
