"""How old what is read may be: the estimate, the bound that is asked for, and the policy."""

import pytest
from virtual import until

import meshcrdt
from meshcrdt import Freshness, InMinority, Minority, NotFresh, NotReached, Targets
from meshcrdt.crdt import GCounter
from meshcrdt.errors import UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.topology.topology import PeerState

PATIENCE_S = 60
SECRET = b"s" * 32


def node(name, *peers):
    return open_mesh(name=name, listen=[f"mem://{name}"], peers=peers, secret=SECRET)


def alive(mesh):
    return {m.peer for m in mesh.status().members if m.state is PeerState.ALIVE}


async def test_alone_everything_is_fresh(autojump_clock):
    async with node("n1") as a:
        services = a.channel("acme/services")
        await services.put("web", 1)
        assert services.freshness() == Freshness(0.0, {a.peer: PeerState.ALIVE})
        assert services.freshness().is_estimate
        assert services.freshness().silent == ()
        assert await services.read("web") == 1
        assert await services.read("none", default=7) == 7


async def test_a_read_sees_what_another_was_told_is_written(autojump_clock):
    """Each put is acknowledged before the read begins: the bound is no estimate."""
    async with node("n1") as a, node("n2", "mem://n1") as b:
        await a.members(at_least=2, timeout=PATIENCE_S)
        await b.members(at_least=2, timeout=PATIENCE_S)
        mine, theirs = a.channel("c"), b.channel("c")
        for number in range(10):
            await mine.put("k", number)
            assert await theirs.read("k", timeout=PATIENCE_S) == number
        hits = a.channel("hits", GCounter)
        await hits.update(lambda value: value.increment(a.peer, 3))
        seen = await b.channel("hits", GCounter).read(peers=[a.peer], timeout=PATIENCE_S)
        assert seen.value == 3
        await until(lambda: theirs.freshness().in_sync_s is not None)
        assert theirs.freshness().origins == {a.peer: PeerState.ALIVE}


async def test_who_does_not_answer_is_named_and_old_answers_serve(autojump_clock):
    async with node("n1") as a:
        async with node("n2", "mem://n1") as b:
            await a.members(at_least=2, timeout=PATIENCE_S)
            await b.channel("c").put("k", 1)
            services = a.channel("c")
            assert await services.read("k", timeout=PATIENCE_S) == 1
            gone = b.peer
        with pytest.raises(NotFresh, match=str(gone)) as caught:
            await services.read("k", timeout=1)
        assert caught.value.missing == (str(gone),)
        assert await services.read("k", max_age=PATIENCE_S) == 1
        await until(lambda: gone not in alive(a))
        assert await services.read("k", targets=Targets.LIVE) == 1
        assert services.freshness().silent == (gone,)


async def test_a_receipt_may_be_content_with_a_share(autojump_clock):
    async with node("n1") as a, node("n2", "mem://n1") as b:
        async with node("n3", "mem://n1") as c:
            for mesh in (a, b, c):
                await mesh.members(at_least=3, timeout=PATIENCE_S)
        receipt = await a.channel("c").put("k", 1)
        await receipt.reached(fraction=2 / 3, timeout=PATIENCE_S)
        with pytest.raises(NotReached, match=str(c.peer)):
            await receipt.reached(fraction=0.7, timeout=1)
        for wrong in (0, 1.5, True, "all"):
            with pytest.raises(UsageError, match="fraction"):
                await receipt.reached(fraction=wrong)
        with pytest.raises(UsageError, match="everyone"):
            await receipt.reached(everyone=True, fraction=0.5)


async def test_a_minority_refuses_where_it_is_told_to(autojump_clock):
    async with node("n1") as a:
        async with node("n2", "mem://n1") as b, node("n3", "mem://n1") as c:
            for mesh in (a, b, c):
                await mesh.members(at_least=3, timeout=PATIENCE_S)
            careful = a.channel("c", minority=Minority.REFUSE)
            await careful.put("k", 1)
            total = a.channel("n", GCounter, minority=Minority.REFUSE)
            await total.update(lambda value: value.increment(a.peer, 1))
            assert careful.get("k") == 1
        # Both said goodbye: who left counts for no majority, so this node goes on.
        assert careful.get("k") == 1
        a.node.topology.minority = lambda: True
        refused = (
            lambda: careful.put("k", 2),
            lambda: careful.delete("k"),
            lambda: careful.update_many({"k": 2}),
            lambda: careful.read("k"),
            lambda: total.update(lambda value: value.increment(a.peer, 1)),
            total.read,
        )
        for call in refused:
            with pytest.raises(InMinority, match=r"Minority\.ALLOW"):
                await call()
        for read in (lambda: careful.get("k"), careful.entries, total.value):
            with pytest.raises(InMinority):
                read()
        assert a.channel("c").get("k") == 1
        await a.channel("c").put("k", 3)
        assert a.channel("c").get("k") == 3


@pytest.mark.parametrize("wrong", ["refuse", None, True])
async def test_a_policy_that_is_none_is_refused(wrong, autojump_clock):
    async with node("n1") as a:
        with pytest.raises(UsageError, match="minority"):
            a.channel("c", minority=wrong)


async def test_what_is_asked_of_a_read_is_checked(autojump_clock):
    async with node("n1") as a:
        services = a.channel("c")
        with pytest.raises(UsageError, match="max_age"):
            await services.read("k", max_age=-1)
        with pytest.raises(UsageError, match="empty"):
            await services.read("k", peers=[])
        with pytest.raises(UsageError, match="key"):
            await services.read(7)
        assert meshcrdt.NotFresh is NotFresh
