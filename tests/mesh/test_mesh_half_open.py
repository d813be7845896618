"""Connections that proved nothing are bounded, and a flood evicts itself."""

import pytest
import trio

from meshcrdt.base.limits import Limits
from meshcrdt.mesh.half_open import HalfOpen, source_of

LIMITS = Limits(half_open_max=6, half_open_per_source_max=3)


class Callers:
    def __init__(self, nursery):
        self.table = HalfOpen(LIMITS)
        self.ended = []
        self.nursery = nursery

    async def call(self, remote, label):
        async def hold(task_status):
            with self.table.slot(remote):
                task_status.started()
                await trio.sleep_forever()
            self.ended.append(label)

        await self.nursery.start(lambda task_status=trio.TASK_STATUS_IGNORED: hold(task_status))
        await trio.testing.wait_all_tasks_blocked()


async def test_oldest_of_a_source_gives_way_to_its_own():
    async with trio.open_nursery() as nursery:
        callers = Callers(nursery)
        for number in range(5):
            await callers.call(f"tcp://10.0.0.1:{number}", number)
        assert callers.ended == [0, 1]
        assert len(callers.table) == 3
        nursery.cancel_scope.cancel()


async def test_newcomer_is_never_refused_and_the_crowd_pays():
    async with trio.open_nursery() as nursery:
        callers = Callers(nursery)
        await callers.call("tcp://10.0.0.9:1", "genuine")
        for host in (1, 2):
            for number in range(3):
                await callers.call(f"tcp://10.0.0.{host}:{number}", (host, number))
        # The table was full at the last call: someone of a crowd of three gave way.
        callers.table.check()
        assert len(callers.table) == LIMITS.half_open_max
        await callers.call("tcp://10.0.0.8:1", "newcomer")
        assert "genuine" not in callers.ended
        assert "newcomer" not in callers.ended
        assert len(callers.ended) == 2
        nursery.cancel_scope.cancel()


async def test_slots_are_given_back():
    table = HalfOpen(LIMITS)
    with table.slot("tcp://10.0.0.1:1"):
        assert len(table) == 1
    with pytest.raises(ValueError), table.slot("tcp://10.0.0.1:1"):
        raise ValueError
    assert len(table) == 0
    assert len(table) == 0


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("tcp://10.1.2.3:4567", "10.1.2.3"),
        ("tcp://[2001:db8:1:2:aaaa::1]:99", "2001:db8:1:2::"),
        ("tcp://[2001:db8:1:2:bbbb::2]:77", "2001:db8:1:2::"),
        ("tcp://[::ffff:10.1.2.3]:4567", "10.1.2.3"),
        ("tcp://[fe80::1%eth0]:1", "fe80::"),
        ("mem://dialler-7", "mem"),
        ("unix:///run/x.sock", "unix"),
    ],
)
def test_source(remote, source):
    assert source_of(remote) == source


async def test_who_proved_to_hold_a_key_is_out_of_the_strangers_reach():
    ended = []

    async def hold(remote, *, proves, task_status):
        with table.slot(remote) as slot:
            if proves:
                slot.proved()
            task_status.started()
            await trio.sleep_forever()
        ended.append(remote)

    table = HalfOpen(LIMITS)
    async with trio.open_nursery() as nursery:

        async def call(remote, *, proves=False):
            await nursery.start(
                lambda task_status: hold(remote, proves=proves, task_status=task_status)
            )
            await trio.testing.wait_all_tasks_blocked()
            table.check()

        await call("tcp://10.0.0.1:1", proves=True)
        for number in range(20):
            await call(f"tcp://10.0.0.{number}:2")
            await call("tcp://10.0.0.1:3")
        assert "tcp://10.0.0.1:1" not in ended
        assert len(table) == LIMITS.half_open_max + 1  # the one that proved a key takes no place
        # A recorded first message proves nothing new: this table is bounded in the same way.
        for number in range(4, 7):
            await call(f"tcp://10.0.0.1:{number}", proves=True)
        assert "tcp://10.0.0.1:1" in ended
        assert table.evicted == len(ended)
        nursery.cancel_scope.cancel()
    assert len(table) == 0
    table.check()
