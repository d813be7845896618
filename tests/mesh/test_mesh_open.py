"""Whole nodes: found, join, restart, refuse, fail and leave, over memory and over TCP."""

import os
import sqlite3

import pytest
import trio
from virtual import until

import meshcrdt
from meshcrdt.crdt import GCounter
from meshcrdt.errors import (
    ClosedError,
    ListenError,
    NotReached,
    NotReady,
    PeerRefused,
    StoreError,
    StoreInUse,
    UsageError,
    WrongStore,
)
from meshcrdt.ipam.outcomes import Allocated, Claimed, Refused, Released
from meshcrdt.mesh import open as opening
from meshcrdt.mesh.birth import Security
from meshcrdt.mesh.driver import INBOX_EVENTS_MAX
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.watch import ABSENT, Change, Snapshot
from meshcrdt.storage.memory import MemoryStore
from meshcrdt.topology.report import ConnectionState
from meshcrdt.topology.topology import PeerState

PATIENCE_S = 30
SECRET = b"s" * 32


def established(mesh):
    return [each for each in mesh.status().connections if each.state is ConnectionState.ESTABLISHED]


def state_of(mesh, peer):
    return next(member.state for member in mesh.status().members if member.peer == peer)


async def know_each_other(*meshes):
    """A receipt asks the members that are known at the call: wait until all know all."""
    await until(lambda: all(len(mesh.status().members) == len(meshes) - 1 for mesh in meshes))


def founder(name="n1", **options):
    return open_mesh(name=name, listen=[f"mem://{name}"], secret=SECRET, **options)


def joiner(name="n2", peers=("mem://n1",), **options):
    return open_mesh(name=name, listen=[f"mem://{name}"], peers=peers, secret=SECRET, **options)


# --- who is there ------------------------------------------------------------------------


async def test_members_are_waited_for_and_counted(autojump_clock):
    async with founder() as a:
        assert await a.members(at_least=1, timeout=1) == (a.peer,)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two_join, a)
            found = await a.members(at_least=3, timeout=PATIENCE_S)
            assert found[0] == a.peer
            assert len(set(found)) == 3
            nursery.cancel_scope.cancel()
        await until(lambda: len(a._alive()) == 1)
        begun = trio.current_time()
        with pytest.raises(NotReady, match="1 members are alive"):
            await a.members(at_least=2, timeout=3)
        assert trio.current_time() - begun == pytest.approx(3)
        for wrong in (0, -1, True, "2", 1.5):
            with pytest.raises(UsageError, match="at_least"):
                await a.members(at_least=wrong, timeout=1)


async def two_join(a):
    async with joiner("n2", peers=a.listening), joiner("n3", peers=a.listening):
        await trio.sleep_forever()


# --- one node --------------------------------------------------------------------------


async def test_public_name_is_this_one():
    assert meshcrdt.open_mesh is open_mesh


async def test_lone_founder_is_ready_and_writes(autojump_clock):
    async with founder() as mesh:
        assert mesh.state == "ready"
        assert (mesh.name, mesh.listening) == ("n1", ("mem://n1",))
        assert len(mesh.cluster) == 32
        services = mesh.channel("acme/services")
        receipt = await services.put("web", {"port": 80})
        assert receipt.epoch == mesh.node.epoch
        assert services.get("web") == {"port": 80}
        assert services.entries() == {"web": {"port": 80}}
        await receipt.reached(timeout=1)
        await services.put("nothing", None)
        assert services.get("nothing", ABSENT) is None
        await services.delete("nothing")
        assert services.get("nothing", ABSENT) is ABSENT
        await services.delete("never was")
        mesh.node.check()


async def test_misuse_raises_and_changes_nothing(autojump_clock):
    async with founder() as mesh:
        services = mesh.channel("acme/services")
        await mesh.ipam.allocate("settled")
        before = mesh.status().digests
        for bad in (
            lambda: services.put("k", object()),
            lambda: services.put("k", float("nan")),
            lambda: services.put(b"bytes", 1),
            lambda: services.put("lone \ud800 surrogate", 1),
            lambda: mesh.channel("directory").put("k", 1),
            lambda: mesh.channel("c", GCounter).update(3),
            lambda: mesh.forget(["nobody"]),
            lambda: mesh.ipam.allocate("w", subnet="192.168.0.0/24"),
            lambda: mesh.names.set("bad name", ["10.32.0.1"]),
        ):
            with pytest.raises(UsageError):
                await bad()
        with pytest.raises(UsageError):
            mesh.channel("c", dict)
        with pytest.raises(UsageError):
            mesh.token(0)
        assert mesh.status().digests == before


async def test_addresses_names_and_workloads(autojump_clock):
    async with founder() as mesh:
        given = await mesh.ipam.allocate("pod-7")
        assert isinstance(given, Allocated)
        assert await mesh.ipam.allocate("pod-7") == given
        assert mesh.ipam.lookup("pod-7") == (given.address,)
        assert mesh.ipam.entries() == {"pod-7": (given.address,)}
        assert isinstance(await mesh.ipam.claim("other", given.address.split("/")[0]), Refused)
        assert isinstance(await mesh.ipam.claim("third", "10.33.0.9"), Claimed)
        plain = given.address.split("/")[0]
        await mesh.workloads.set("pod-7", [plain], mac="02:00:00:00:00:01")
        assert [each.address for each in mesh.workloads.endpoints()] == [plain]
        await mesh.workloads.remove("pod-7")
        assert mesh.workloads.endpoints() == ()
        await mesh.names.set("Web", [plain, "10.32.0.9"])
        assert set(mesh.names.lookup("web.mesh.internal")) == {plain, "10.32.0.9"}
        assert mesh.names.reverse(plain) != ()
        await mesh.names.remove("WEB", ["10.32.0.9"])
        assert mesh.names.lookup("web") == (plain,)
        await mesh.names.remove("web")
        assert mesh.names.lookup("web") == ()
        assert isinstance(await mesh.ipam.release("pod-7"), Released)
        assert mesh.ipam.lookup("pod-7") == ()


async def test_lattice_channel_counts_every_update(autojump_clock):
    async with founder() as mesh:
        hits = mesh.channel("hits", GCounter)
        async with hits.watch() as values:
            assert await values.__anext__() == GCounter.bottom()

            async def count():
                await hits.update(lambda value: value.increment(mesh.peer, 1))

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(count)
            assert hits.value().value == 20
            assert (await values.__anext__()).value == 20


# --- several nodes ---------------------------------------------------------------------


async def test_three_nodes_share_writes_and_receipts_name_who_is_missing(autojump_clock):
    async with founder() as a, joiner() as b:
        assert b.state == "ready"
        assert a.cluster == b.cluster
        await know_each_other(a, b)
        receipt = await a.channel("c").put("k", "from a")
        await receipt.reached(timeout=10)
        assert b.channel("c").get("k") == "from a"
        async with joiner("n3", peers=["mem://n2"]) as c:
            await until(lambda: c.channel("c").get("k") == "from a")
            await until(lambda: len(a.status().members) == len(c.status().members) == 2)
            gone = c.peer
        await b.channel("c").put("k", "from b")
        await until(lambda: a.channel("c").get("k") == "from b")
        late = await a.channel("c").put("k2", 1)
        with pytest.raises(NotReached, match=str(gone)) as caught:
            await late.reached(everyone=True, timeout=3)
        assert caught.value.missing == (str(gone),)
        await late.reached(peers=[b.peer], timeout=3)
        await until(lambda: state_of(a, gone) is not PeerState.ALIVE)
        await late.reached(targets=meshcrdt.Targets.LIVE, timeout=3)
        await until(lambda: a.status().digests == b.status().digests)


async def test_watcher_on_another_node_sees_puts_and_deletes(autojump_clock):
    async with founder() as a, joiner() as b, b.channel("c").watch("web") as changes:
        with trio.fail_after(PATIENCE_S):
            assert await changes.__anext__() == Snapshot({})
            await a.channel("c").put("web/1", 1)
            assert await changes.__anext__() == Change("web/1", 1)
            await b.channel("c").put("web/1", 2)
            assert await changes.__anext__() == Change("web/1", 2)
            await a.channel("c").put("db", 1)
            await until(lambda: a.channel("c").get("web/1") == 2)
            await a.channel("c").delete("web/1")
            assert await changes.__anext__() == Change("web/1", ABSENT)


async def test_addresses_differ_between_nodes(autojump_clock):
    async with founder() as a, joiner() as b:
        outcomes = [await mesh.ipam.allocate(f"w{n}") for n in range(3) for mesh in (a, b)]
        assert all(isinstance(outcome, Allocated) for outcome in outcomes)
        assert len({outcome.address for outcome in outcomes}) == 6


async def test_lost_peer_is_seen_dead_and_comes_back(autojump_clock):
    async with founder() as a:
        async with joiner(store="mem://kept") as b:
            peer = b.peer
            await until(lambda: a.node.topology.state(peer) is PeerState.ALIVE)
        await until(lambda: a.node.topology.state(peer) is PeerState.DEAD)
        await a.channel("c").put("while", "away")
        async with joiner(store="mem://kept", peers=()) as b:
            assert b.peer == peer
            await until(lambda: b.channel("c").get("while") == "away")
            await until(lambda: a.node.topology.state(peer) is PeerState.ALIVE)


async def test_leaving_is_seen_by_others(autojump_clock):
    async with founder() as a, joiner() as b:
        await b.names.set("web", ["10.32.0.1"])
        await until(lambda: a.names.lookup("web") == ("10.32.0.1",))
        await b.leave()
        assert b.state == "draining"
        await until(lambda: a.names.lookup("web") == ())
        await until(lambda: a.node.topology.state(b.peer) is PeerState.LEFT)
        with pytest.raises(NotReady):
            await b.channel("c").put("k", 1)


async def test_token_adds_a_host_and_only_as_many_as_it_says(autojump_clock):
    async with founder() as a:
        token = a.token(uses=1)
        async with open_mesh(name="n2", token=token, store="mem://n2") as b:
            assert b.state == "ready"
            assert b.cluster == a.cluster
            await until(lambda: established(a))
            assert all(each.encrypted for each in established(a))
            assert a.token() != token
        with pytest.raises(PeerRefused, match="was used 1 times"):
            async with open_mesh(name="n3", token=token):
                pytest.fail("a used token was accepted")
        # What it was given is kept: it needs no token again, and an old one does no harm.
        async with open_mesh(name="n2", token=token, store="mem://n2") as b:
            await until(lambda: len(b.status().members) == 1)


async def test_joiner_without_contact_is_starting_and_keeps_trying(autojump_clock):
    async with joiner(join_wait_s=1) as b:
        assert (b.state, b.cluster) == ("starting", None)
        with pytest.raises(NotReady):
            await b.channel("c").put("k", 1)
        with pytest.raises(NotReady):
            b.token()
        with pytest.raises(NotReady):
            await b.ready(timeout=1)
        assert b.channel("c").entries() == {}
        async with founder():
            await b.ready(timeout=PATIENCE_S)
            await b.channel("c").put("k", 1)


async def test_token_joiner_waits_for_its_first_member(autojump_clock):
    async with founder(store="mem://a") as a:
        token = a.token(ttl_s=10_000)
    async with open_mesh(name="n2", token=token, join_wait_s=1) as b:
        assert b.state == "starting"
        async with founder(store="mem://a"):
            await b.ready(timeout=PATIENCE_S)


async def test_insecure_mesh_works_and_says_so(autojump_clock):
    options = {"security": Security.INSECURE}
    async with (
        open_mesh(name="a", listen=["mem://a"], **options) as a,
        open_mesh(name="b", peers=["mem://a"], **options) as b,
    ):
        assert b.cluster == a.cluster
        await until(lambda: established(b))
        assert not any(each.encrypted for each in established(b))
        with pytest.raises(UsageError, match="insecure"):
            a.token()


async def test_two_clusters_do_not_mix(autojump_clock):
    async with founder("a") as a, founder("b") as b:
        await a.connect(["mem://b"])
        async with a.notices():
            await until(lambda: any(each.reason for each in a.status().connections))
        (tried,) = a.status().connections
        assert a.cluster in tried.reason
        assert b.cluster in tried.reason
        assert a.status().members == b.status().members == ()
        await a.forget(["mem://b"])
        await until(lambda: a.status().connections == ())


# --- TCP and disks ---------------------------------------------------------------------


async def test_restart_on_disk_over_tcp_keeps_everything(tmp_path):
    def first(**options):
        return open_mesh(
            name="n1", listen=["tcp://127.0.0.1:0"], store=f"sqlite://{tmp_path}/1.db", **options
        )

    async with first() as a:
        epoch, peer, cluster = a.node.epoch, a.peer, a.cluster
        second = {"name": "n2", "store": f"sqlite://{tmp_path}/2.db"}
        async with open_mesh(token=a.token(), **second) as b:
            await know_each_other(a, b)
            await (await b.channel("c").put("k", [1, 2])).reached(timeout=PATIENCE_S)
            address = await a.ipam.allocate("w")
    async with first() as a:
        assert (a.peer, a.cluster) == (peer, cluster)
        assert a.node.epoch > epoch
        assert a.channel("c").get("k") == [1, 2]
        assert await a.ipam.allocate("w") == address
        async with open_mesh(peers=a.listening, **second) as b:
            await until(lambda: established(b))
            await (await a.channel("c").put("k", 3)).reached(timeout=PATIENCE_S)
            assert b.channel("c").get("k") == 3


async def test_second_opening_of_a_store_is_refused(tmp_path):
    store = f"sqlite://{tmp_path}/mesh.db"
    async with open_mesh(store=store):
        with pytest.raises(StoreInUse, match=str(os.getpid())):
            async with open_mesh(store=store):
                pytest.fail("one store was opened twice")


async def test_store_of_another_identity_is_refused(tmp_path):
    for name in ("a", "b"):
        async with open_mesh(store=f"sqlite://{tmp_path}/{name}.db"):
            pass
    (tmp_path / "a.db.key").replace(tmp_path / "b.db.key")
    with pytest.raises(WrongStore, match=r"b\.db belongs to node"):
        async with open_mesh(store=f"sqlite://{tmp_path}/b.db"):
            pytest.fail("a store was opened by another identity")
    with pytest.raises(WrongStore, match="missing"):
        async with open_mesh(store=f"sqlite://{tmp_path}/a.db"):
            pytest.fail("a store was opened without its key")


async def test_keys_and_secret_are_not_in_the_store(tmp_path):
    async with open_mesh(store=f"sqlite://{tmp_path}/mesh.db", secret=SECRET) as mesh:
        await mesh.channel("c").put("k", 1)
        seed = mesh.node.config.identity.seed
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        if path.suffix != ".key":
            assert SECRET not in content
            assert seed not in content
    assert sqlite3.connect(tmp_path / "mesh.db").execute("SELECT count(*) FROM rows").fetchone()[0]


async def test_taken_port_is_a_listen_error_and_leaves_nothing(tmp_path):
    store = f"sqlite://{tmp_path}/mesh.db"
    async with open_mesh(listen=["tcp://127.0.0.1:0"]) as mesh:
        with pytest.raises(ListenError, match="in use"):
            async with open_mesh(listen=mesh.listening, store=store):
                pytest.fail("two nodes listen on one port")
    async with open_mesh(store=store):
        pass


# --- failure and the end ---------------------------------------------------------------


async def test_failed_disk_fails_writers_and_flips_the_state(autojump_clock, monkeypatch):
    stores = []

    async def open_store(url):
        stores.append(await real_open_store(url))
        return stores[-1]

    real_open_store = opening.open_store
    monkeypatch.setattr(opening, "open_store", open_store)
    async with founder() as mesh:
        await mesh.channel("c").put("before", 1)
        assert isinstance(stores[0], MemoryStore)
        stores[0].fail("EIO")
        with pytest.raises(StoreError, match="EIO"):
            await mesh.channel("c").put("k", 1)
        with pytest.raises(StoreError, match="EIO"):
            await mesh.ipam.allocate("w")
        assert mesh.state == "draining"
        assert "EIO" in mesh.store_failure
        assert mesh.channel("c").get("before") == 1
        assert mesh.channel("c").get("k") is None


async def test_joiner_that_asks_for_other_ranges_is_told_both(autojump_clock):
    async with founder():
        with pytest.raises(UsageError, match=r"10\.9\.0\.0/16 are asked for.* has 10\.32\.0\.0/12"):
            async with joiner(universes=["10.9.0.0/16"]):
                await trio.sleep_forever()


async def test_one_text_is_not_a_list_of_addresses():
    with pytest.raises(UsageError, match="one text"):
        async with open_mesh(peers="tcp://10.0.0.1:1"):
            pytest.fail("a text was taken for a list")


async def test_activity_shows_links_watchers_and_group_commits(autojump_clock):
    async with founder() as a, joiner() as b, a.channel("c").watch(), b.notices():
        await until(lambda: established(a))
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(a.channel("c").put, f"k{number}", number)
        activity = a.activity()
        assert (activity.links, activity.watchers, activity.half_open) == (1, 1, 0)
        assert activity.store_batches >= activity.store_transactions > 0
        assert activity.requests_waiting == activity.turns_waiting == 0
        a.check()
        b.check()


async def test_exception_of_the_block_comes_out_bare(autojump_clock):
    with pytest.raises(ZeroDivisionError):
        async with founder():
            raise ZeroDivisionError
    with trio.move_on_after(1) as scope:
        async with founder():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_bug_in_the_node_ends_the_block_and_comes_out_bare(autojump_clock):
    def broken(event, now):
        raise RuntimeError("a bug")

    async def work():
        async with founder() as mesh:
            mesh.node.handle = broken
            await mesh.channel("c").put("k", 1)
            await trio.sleep_forever()

    with pytest.raises(RuntimeError, match="a bug"):
        await work()


async def test_cancelled_block_still_says_farewell(autojump_clock):
    async with joiner(store="mem://kept", join_wait_s=0) as b:
        with trio.CancelScope() as scope:
            async with founder() as a:
                await b.ready(timeout=PATIENCE_S)
                await until(lambda: len(a.status().members) == 1)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        # In order means at once: nobody has to wait for silence to be noticed.
        with trio.fail_after(0.1):
            await until(lambda: not established(b))


async def test_closed_mesh_says_so(autojump_clock):
    async with founder() as mesh:
        services = mesh.channel("c")
        await services.put("k", 1)
    with pytest.raises(ClosedError):
        await services.put("k", 2)
    with pytest.raises(ClosedError):
        async with services.watch():
            pytest.fail("a closed mesh was watched")
    assert services.get("k") == 1


async def test_cancelling_any_call_harms_nothing(autojump_clock):
    async with founder() as a, joiner() as b:
        for steps in range(6):
            for mesh in (a, b):
                with trio.CancelScope() as scope:

                    async def cancel_soon(scope=scope, steps=steps):
                        for _ in range(steps):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(cancel_soon)
                        await mesh.channel("c").put("k", steps)
                        await mesh.ipam.allocate(f"w{steps}")
        await a.channel("c").put("k", "last")
        await until(lambda: b.channel("c").get("k") == "last")
        a.node.check()
        b.node.check()


async def test_closing_is_bounded_when_the_disk_hangs(autojump_clock, monkeypatch):
    async with founder() as mesh:
        hung = trio.Event()

        async def hang(self, rows):
            await hung.wait()

        monkeypatch.setattr(MemoryStore, "write", hang)
        with trio.move_on_after(1):
            await mesh.channel("c").put("k", 1)
        start = trio.current_time()
    assert trio.current_time() - start <= 2.1


@pytest.mark.parametrize(("scheme", "times"), [("mem", 200), ("sqlite", 20)])
async def test_opening_and_closing_leaks_no_descriptor_and_no_task(scheme, times, tmp_path):
    def count():
        return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living

    async def once():
        async with open_mesh(
            listen=["tcp://127.0.0.1:0", f"unix://{tmp_path}/m.sock"],
            store=f"sqlite://{tmp_path}/mesh.db" if scheme == "sqlite" else "mem://",
            secret=SECRET,
        ) as mesh:
            assert mesh.state == "ready"

    await once()
    before = count()
    for _ in range(times):
        await once()
    assert count() == before


async def test_a_group_that_the_block_raises_stays_whole():
    with pytest.raises(ExceptionGroup) as caught:
        async with founder():
            raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])
    assert [type(each) for each in caught.value.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("who", ["founder", "joiner"])
async def test_a_host_of_very_many_addresses_takes_part(who, autojump_clock):
    many = [f"tcp://host-{n}.of-a-rather-long-domain.example.org:6783" for n in range(60)]
    first, second = (many, []) if who == "founder" else ([], many)
    async with founder(advertise=first) as n1, joiner(advertise=second) as n2:
        await know_each_other(n1, n2)
        (member,) = (n2 if who == "founder" else n1).status().members
        assert len(member.addresses) == len(many)
        n1.token()


async def test_a_call_that_waits_for_a_full_inbox_hears_that_the_mesh_closed(autojump_clock):
    ends = []

    def broken(event, now):
        raise RuntimeError("a bug")

    async def write(mesh, number):
        with pytest.raises(ClosedError) as end:
            await mesh.channel("c").put(str(number), number)
        ends.append(end)

    async def work(nursery):
        async with founder() as mesh:
            mesh.node.handle = broken
            for number in range(2 * INBOX_EVENTS_MAX):
                nursery.start_soon(write, mesh, number)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with pytest.raises(RuntimeError, match="a bug"):
            await work(nursery)
    assert len(ends) == 2 * INBOX_EVENTS_MAX
