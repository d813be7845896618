"""Transactions: several keys in one write, which no watcher and no node ever sees half of."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio

from meshcrdt.crdt import BoundedCounter, ORMap, transaction
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.watch import ABSENT, Change, Lost, Snapshot, Watch

PATIENCE_S = 30
SECRET = b"s" * 32
TOTAL = 100
ACCOUNTS = ("a", "b", "c")


def found(name="n1", **options):
    return open_mesh(name=name, listen=[f"mem://{name}"], secret=SECRET, **options)


def join(name="n2"):
    return found(name, peers=["mem://n1"])


async def test_update_many_is_one_write(autojump_clock):
    async with found() as mesh:
        channel = mesh.channel("acme/config")
        await channel.put("old", 1)
        receipt = await channel.update_many({"a": 1, "b": None, "old": ABSENT})
        assert channel.entries() == {"a": 1, "b": None}
        assert (await channel.put("c", 1)).seq == receipt.seq + 1
        with pytest.raises(UsageError):
            await channel.update_many({"d": 1, "e": object()})
        with pytest.raises(UsageError):
            await channel.update_many({})
        assert "d" not in channel.entries()


async def put_and_fail(channel):
    async with channel.transaction() as staged:
        staged.put("a", 2)
        raise ValueError("stop")


async def test_a_transaction_writes_at_its_end_or_not_at_all(autojump_clock):
    async with found() as mesh:
        channel = mesh.channel("acme/config")
        await channel.put("gone", 1)
        async with channel.transaction() as staged:
            staged.put("a", 1)
            staged.put("b", 2)
            staged.delete("gone")
            staged.delete("b")
            assert (staged.get("a"), staged.get("b"), staged.get("gone", "no")) == (1, None, "no")
            assert channel.entries() == {"gone": 1}
        assert channel.entries() == {"a": 1}
        assert staged.receipt is not None
        with pytest.raises(ValueError, match="stop"):
            await put_and_fail(channel)
        assert channel.get("a") == 1
        async with channel.transaction() as empty:
            assert empty.get("a") == 1
        assert empty.receipt is None


async def test_a_transaction_refuses_what_is_no_value_at_once(autojump_clock):
    async with found() as mesh:
        async with mesh.channel("acme/config").transaction() as staged:
            with pytest.raises(UsageError):
                staged.put("a", object())
            with pytest.raises(UsageError):
                staged.put(7, 1)
        assert staged.changes == {}


async def move_money(channel, dice, times):
    """Move random amounts between accounts; the sum never changes."""
    for _ in range(times):
        giver, taker = dice.sample(ACCOUNTS, 2)
        by = dice.randint(1, 5)
        async with channel.transaction() as staged:
            staged.put(giver, staged.get(giver) - by)
            staged.put(taker, staged.get(taker) + by)


async def look(mesh, sums, *, task_status):
    """Add up what is seen whenever changes of one moment are through, until the end is told."""
    held = {}
    async with mesh.channel("acme/bank").watch() as watch:
        task_status.started()
        while "end" not in held:
            match await watch.whole():
                case Snapshot(entries=entries):
                    held = dict(entries)
                case Lost():
                    held = {}
                case changes:
                    held.update((each.key, each.value) for each in changes)
            if held:
                sums.add(sum(held.values()))


async def sums_seen():
    """Return the sums that watchers of two nodes saw while money went from account to account."""
    here, there = set(), set()
    async with found() as one, join() as two:
        await one.members(at_least=2, timeout=PATIENCE_S)
        channel = one.channel("acme/bank")
        await channel.update_many({"a": TOTAL, "b": 0, "c": 0})
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(look, one, here))
            await nursery.start(partial(look, two, there))
            await move_money(channel, random.Random(1), 60)
            with trio.fail_after(PATIENCE_S):
                await channel.put("end", 0)
    return here, there


async def test_no_watcher_ever_sees_half_of_a_transaction(autojump_clock):
    """Whoever looks at whole changes sees the same sum all the time."""
    assert await sums_seen() == ({TOTAL}, {TOTAL})


async def test_a_hub_that_tells_changes_one_by_one_is_caught(autojump_clock, monkeypatch):
    honest = Watch.push

    def one_by_one(watch, changes):
        for change in changes:
            honest(watch, (change,))

    monkeypatch.setattr(Watch, "push", one_by_one)
    here, there = await sums_seen()
    assert len(here) > 1
    assert len(there) > 1


async def test_one_by_one_a_watcher_knows_where_a_transaction_ends(autojump_clock):
    async with found() as mesh:
        channel = mesh.channel("acme/bank")
        async with channel.watch() as watch:
            assert await anext(watch) == Snapshot({})
            await channel.update_many({"a": 1, "b": 2})
            first, last = await anext(watch), await anext(watch)
            assert (first, first.more) == (Change("a", 1), 1)
            assert (last, last.more) == (Change("b", 2), 0)


# --- shared values -----------------------------------------------------------------------


async def test_a_quota_in_a_channel_says_what_is_available_and_where(autojump_clock):
    async with found() as one, join() as two:
        await one.members(at_least=2, timeout=PATIENCE_S)
        here = one.channel("acme/seats", BoundedCounter)
        there = two.channel("acme/seats", BoundedCounter)
        await here.update(lambda quota: quota.increment(one.peer, 10))
        receipt = await here.update(lambda quota: quota.transfer(one.peer, two.peer, 4))
        await receipt.reached(timeout=PATIENCE_S)
        await there.update(lambda quota: quota.decrement(two.peer, 3))
        with pytest.raises(CapacityError, match=f"may spend 1, not 2.*6 with {one.peer}"):
            await there.update(lambda quota: quota.decrement(two.peer, 2))
        assert there.value().quotas == {one.peer: 6, two.peer: 1}


async def test_a_nested_map_is_one_shared_value(autojump_clock):
    async with found() as one, join() as two:
        await one.members(at_least=2, timeout=PATIENCE_S)
        shared = one.lattice("acme/tree", ORMap)

        def write(key):
            return lambda held: held.write(key, key.upper(), held.next_dot(one.peer, one.epoch))

        receipt = await shared.update(lambda held: transaction(held, write("a"), write("b")))
        await receipt.reached(timeout=PATIENCE_S)
        seen = two.lattice("acme/tree", ORMap).value()
        assert (seen.read("a"), seen.read("b")) == (("A",), ("B",))
