"""A suspend of the host as the shell notices it: two clocks that go apart."""

import pytest
import trio

from meshcrdt.mesh import standstill
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.standstill import GAP_MIN_S, Standstill

SECRET = b"s" * 32


class Asleep:
    """A clock of suspends that a test sets."""

    def __init__(self):
        self.seconds = 7_000.0

    def __call__(self):
        return self.seconds


def test_a_gap_is_told_once_and_small_ones_add_up():
    clock = Asleep()
    watch = Standstill(clock)
    assert watch.gap_s() == 0.0
    clock.seconds += 60
    assert watch.gap_s() == 60
    assert watch.gap_s() == 0.0
    for _ in range(3):
        clock.seconds += GAP_MIN_S / 2
        told = watch.gap_s()
        if told:
            break
    assert told == GAP_MIN_S


def test_the_clock_of_this_host_goes_on():
    first = standstill.suspended_s()
    assert 0 <= standstill.suspended_s() - first < GAP_MIN_S


def test_a_host_without_such_a_clock_was_never_suspended(monkeypatch):
    monkeypatch.setattr(standstill, "_BOOTTIME", None)
    assert standstill.suspended_s() == 0.0


async def test_a_mesh_whose_host_was_suspended_goes_on_under_another_epoch(
    monkeypatch, autojump_clock
):
    clock = Asleep()
    async with open_mesh(name="n1", listen=["mem://n1"], secret=SECRET) as n1:
        monkeypatch.setattr(standstill, "suspended_s", clock)
        async with open_mesh(name="n2", peers=["mem://n1"], secret=SECRET) as n2:
            await n2.members(at_least=2, timeout=30)
            before, links = n2.epoch, {each.address for each in n2.status().connections}
            assert links
            clock.seconds += 3_600
            await n2.channel("c").put("k", "v")
            receipt = await n2.channel("c").put("k", "later")
            assert n2.epoch.counter == before.counter + 1 == receipt.epoch.counter
            assert n2.epoch.instance != before.instance
            with trio.fail_after(30):
                while n1.channel("c").get("k") != "later":  # noqa: ASYNC110 - of another node
                    await trio.sleep(0.05)
            n2.check()
        assert n1.epoch.counter == 1


@pytest.mark.parametrize("gap", [0.0, GAP_MIN_S / 2, -5.0])
async def test_what_is_no_gap_changes_nothing(gap, monkeypatch, autojump_clock):
    clock = Asleep()
    monkeypatch.setattr(standstill, "suspended_s", clock)
    async with open_mesh(name="n1", secret=SECRET) as n1:
        await n1.ready(timeout=30)
        clock.seconds += gap
        await n1.channel("c").put("k", "v")
        assert n1.epoch.counter == 1
