"""A lattice type that raises on what a peer sends spoils its own view, and nothing else."""

import pytest
import trio
from virtual import until

from meshcrdt.abc import Lattice
from meshcrdt.base.tree import take_int
from meshcrdt.errors import UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node import lattices
from meshcrdt.node.explain import Verdict

SECRET = b"s" * 32
CHANNEL = "acme/high"
POISON = 13


class Sound:
    """The highest number seen, as a careful program has it."""

    def __init__(self, number=0):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number

    def __hash__(self):
        return hash(self.number)

    @classmethod
    def bottom(cls):
        return cls()

    def join(self, other):
        return type(self)(max(self.number, other.number))

    def leq(self, other):
        return self.number <= other.number

    def decompose(self):
        yield self

    def to_tree(self):
        return self.number

    @classmethod
    def from_tree(cls, tree):
        return cls(take_int(tree, "number"))


def kind(**methods):
    """Return a type that peers take for the same, with other methods."""
    return type("Highest", (Sound,), methods)


Honest = kind()


def _raise_at_poison(self, other):
    if POISON in (self.number, other.number):
        raise ZeroDivisionError("the join met 13")
    return Sound.join(self, other)


@classmethod
def _parse_raises(cls, tree):
    if tree == POISON:
        raise KeyError(tree)
    return cls(take_int(tree, "number"))


class Vicious(Exception):
    """Even saying what it is raises."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def _join_raises_viciously(self, other):
    if POISON in (self.number, other.number):
        raise Vicious
    return Sound.join(self, other)


def _join_makes_nothing(self, other):
    return None if POISON in (self.number, other.number) else Sound.join(self, other)


BAD = {
    "join raises": {"join": _raise_at_poison},
    "join raises what cannot be told": {"join": _join_raises_viciously},
    "join makes no value": {"join": _join_makes_nothing},
    "parsing raises": {"from_tree": _parse_raises},
}


def add(by):
    return lambda value: type(value)(value.number + by)


@pytest.mark.parametrize("methods", BAD.values(), ids=BAD)
async def test_a_peers_value_that_makes_a_type_raise_is_left_out_and_named(methods, autojump_clock):
    mine = kind(**methods)
    assert issubclass(mine, Lattice)
    async with (
        open_mesh(name="n1", listen=["mem://n1"], secret=SECRET) as n1,
        open_mesh(name="n2", peers=["mem://n1"], secret=SECRET) as n2,
    ):
        await n1.members(at_least=2, timeout=30)
        channel = n1.channel(CHANNEL, mine)
        await channel.update(mine(5))
        await n2.channel(CHANNEL, Honest).update(Honest(POISON))
        await n2.channel("acme/other").put("k", "v")
        await until(lambda: n1.channel("acme/other").get("k") == "v")
        await until(lambda: len(n1.explain(CHANNEL, "\0").records) == 2)

        assert channel.value().number == 5
        # The turn that writes joins it too, and answers as if it were not there.
        await channel.update(add(2))
        assert channel.value().number == 7
        async with channel.watch() as watch:
            assert (await anext(watch)).number == 7

        assert [each for each in n1.status().unreadable if str(n2.peer) in each]
        (alarm,) = [each for each in n1.status().alarms if CHANNEL in each]
        assert str(n2.peer) in alarm
        verdicts = {each.origin: each.verdict for each in n1.explain(CHANNEL, "\0").records}
        assert verdicts == {n1.peer: Verdict.JOINED, n2.peer: Verdict.UNREADABLE}
        n1.check()

        # What replaces it is read again, and no longer counted.
        await n2.channel(CHANNEL, Honest).update(add(1))
        await until(lambda: channel.value().number == POISON + 1)
        assert n1.status().unreadable == ()


async def test_a_type_without_a_bottom_fails_its_caller_alone(autojump_clock):
    @classmethod
    def no_bottom(cls):
        raise LookupError("no bottom")

    hollow = kind(bottom=no_bottom)
    async with open_mesh(name="n1", secret=SECRET) as n1:
        await n1.ready(timeout=30)
        with pytest.raises(UsageError, match="LookupError"):
            await n1.channel(CHANNEL, hollow).update(hollow(1))
        with pytest.raises(UsageError, match="LookupError"):
            n1.channel(CHANNEL, hollow).value()
        await n1.channel("acme/other").put("k", "v")
        assert n1.channel("acme/other").get("k") == "v"


@pytest.mark.parametrize("method", ["to_tree", "join"])
async def test_a_write_that_a_type_cannot_make_changes_nothing(method, autojump_clock):
    def fails(*_):
        raise ArithmeticError("not now")

    broken = kind(**{method: fails})
    async with open_mesh(name="n1", secret=SECRET) as n1:
        await n1.ready(timeout=30)
        await n1.channel(CHANNEL, Honest).update(Honest(3))
        with pytest.raises(UsageError, match="ArithmeticError"):
            await n1.channel(CHANNEL, broken).update(broken(9))
        assert n1.channel(CHANNEL, Honest).value().number == 3
        await n1.channel(CHANNEL, Honest).update(Honest(4))


async def test_an_own_part_that_cannot_be_read_is_not_written_over(autojump_clock):
    blind = kind(from_tree=_parse_raises)
    async with open_mesh(name="n1", secret=SECRET) as n1:
        await n1.ready(timeout=30)
        await n1.channel(CHANNEL, Honest).update(Honest(POISON))
        with pytest.raises(UsageError, match="KeyError"):
            await n1.channel(CHANNEL, blind).update(blind(1))
        assert n1.channel(CHANNEL, Honest).value().number == POISON


async def test_values_that_cannot_be_compared_are_both_shown(autojump_clock):
    def no_equality(self, other):
        raise ValueError("not comparable")

    odd = kind(__eq__=no_equality, __hash__=None)
    async with open_mesh(name="n1", secret=SECRET) as n1:
        await n1.ready(timeout=30)
        channel = n1.channel(CHANNEL, odd)
        async with channel.watch() as watch:
            assert (await anext(watch)).number == 0
            await channel.update(odd(2))
            with trio.fail_after(5):
                assert (await anext(watch)).number == 2


async def test_a_broken_rule_of_reading_is_caught(monkeypatch, autojump_clock):
    """Without the guard the same peer ends the embedder's mesh, as the test above would see."""

    def trusting(step, call):
        return call()

    monkeypatch.setattr(lattices, "_guarded", trusting)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the mesh itself ends
        async with open_mesh(name="n1", secret=SECRET) as n1:
            await n1.ready(timeout=30)
            await n1.channel(CHANNEL, Honest).update(Honest(POISON))
            mine = kind(join=_raise_at_poison)
            await n1.channel(CHANNEL, mine).update(mine(1))
