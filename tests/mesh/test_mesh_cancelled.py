"""Cancelled at any checkpoint at all: nothing leaks, and what was acknowledged is there."""

import os

import pytest
import trio

from meshcrdt.mesh.open import open_mesh
from meshcrdt.storage.memory import MemoryStore
from meshcrdt.transports.mem import MemTransport

SECRET = b"s" * 32
PATIENCE_S = 30.0
"""Real time, so that a hang ends the test; the bounds themselves are shown in virtual time."""
FAREWELL_S = 2.0
NEVER = -1


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when one task is about to take its n-th step; counts steps."""

    def __init__(self, task, step, scope):
        self._task = task
        self._step = step
        self._scope = scope
        self.steps = 0
        self.cancelled_at = None

    def before_task_step(self, task):
        if task is self._task:
            self.steps += 1
            if self.steps == self._step:
                self.cancelled_at = trio.current_time()
                self._scope.cancel()


def held():
    """Return what may not grow: descriptors and tasks."""
    return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living


async def live(options, number, acknowledged):
    """Use a node from opening to closing, noting what it acknowledged."""
    async with open_mesh(**options) as mesh:
        channel = mesh.channel("c")
        async with channel.watch() as changes:
            await channel.put(f"k{number}", number)
            acknowledged[f"k{number}"] = number
            await anext(changes)
        outcome = await mesh.ipam.allocate(f"w{number}")
        acknowledged[f"w{number}"] = outcome.address
        await mesh.names.set("web", ["10.32.0.1"])
        await mesh.connect(["tcp://127.0.0.1:1"])
        await mesh.forget(["tcp://127.0.0.1:1"])
        if number % 2:
            del acknowledged[f"w{number}"]  # from here on it may be released or not
            await mesh.ipam.release(f"w{number}")


async def cancelled_at(step, work):
    """Do some work, cancelled at a step of it; returns the steps taken in all."""
    before = held()
    with trio.CancelScope() as scope:
        at_step = CancelAtStep(trio.lowlevel.current_task(), step, scope)
        trio.lowlevel.add_instrument(at_step)
        try:
            await work()
        finally:
            trio.lowlevel.remove_instrument(at_step)
    if at_step.cancelled_at is not None:
        assert trio.current_time() - at_step.cancelled_at < PATIENCE_S
    with trio.fail_after(PATIENCE_S):
        while held() != before:  # noqa: ASYNC110 - another node sees the end of links by itself
            await trio.sleep(0.005)
    return at_step.steps


async def check(options, acknowledged):
    async with open_mesh(**options) as mesh:
        assert mesh.state == "ready"
        mesh.check()
        for key, value in acknowledged.items():
            if key.startswith("k"):
                assert mesh.channel("c").get(key) == value
            else:
                assert mesh.ipam.lookup(key) == (value,)


async def test_cancelling_at_every_checkpoint_of_a_life_on_disk(tmp_path):
    options = {
        "name": "n1",
        "listen": ["tcp://127.0.0.1:0", f"unix://{tmp_path}/n1.sock"],
        "secret": SECRET,
        "store": f"sqlite://{tmp_path}/mesh.db",
    }
    acknowledged = {}
    steps = await cancelled_at(NEVER, lambda: live(options, 0, acknowledged))
    assert steps > 20
    for step in range(1, steps + 1):
        await cancelled_at(step, lambda step=step: live(options, step, acknowledged))
    assert not (tmp_path / "n1.sock").exists()
    await check(options, acknowledged)


@pytest.mark.parametrize("credential", ["secret", "token"])
async def test_cancelling_at_many_checkpoints_of_a_joining(credential, tmp_path):
    async with open_mesh(name="n1", listen=["tcp://127.0.0.1:0"], secret=SECRET) as n1:

        async def join(step):
            shared = {"secret": SECRET} if credential == "secret" else {"token": n1.token()}
            async with open_mesh(
                name="n2",
                listen=["tcp://127.0.0.1:0"],
                peers=n1.listening,
                store=f"sqlite://{tmp_path}/{step}/mesh.db",
                **shared,
            ) as n2:
                await n2.ready(timeout=PATIENCE_S)
                await n2.channel("c").put("k", step)

        steps = await cancelled_at(NEVER, lambda: join(0))
        for step in range(1, steps + 1, 2):
            await cancelled_at(step, lambda step=step: join(step))
            if step % 5 == 0:  # with what the cancelled joining left on disk
                await cancelled_at(NEVER, lambda step=step: join(step))
        n1.check()
        await n1.channel("c").put("alive", 1)


async def test_a_cancelled_block_closes_within_its_farewell_though_the_disk_hangs(
    autojump_clock, monkeypatch
):
    async def hang(self, rows):
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with open_mesh(name="n1", listen=["mem://n1"], secret=SECRET) as mesh:
            monkeypatch.setattr(MemoryStore, "write", hang)
            with trio.move_on_after(1):
                await mesh.channel("c").put("k", 1)
            scope.cancel()
            cancelled_at = trio.current_time()
            await trio.sleep_forever()
    assert trio.current_time() - cancelled_at <= FAREWELL_S + 0.1


@pytest.mark.parametrize("peer", ["mem://nobody", "mem://mute"])
async def test_a_cancelled_joining_ends_within_the_farewell(peer, autojump_clock):
    listener = await MemTransport().listen("mem://mute", frame_bytes_max=2**20)
    try:
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + 1
            async with open_mesh(name="n2", peers=[peer], secret=SECRET, join_wait_s=60):
                pytest.fail("there is nobody to join")
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline <= FAREWELL_S + 0.1
    finally:
        await listener.aclose()
