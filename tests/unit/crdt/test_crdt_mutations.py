"""A broken type is caught: each class here breaks one rule of one type on purpose.

They drop what was written, bring back what was removed, or let the wrong one of two
concurrent changes win. The walk over all orders of a few operations finds each, by the
model; what keeps to the model and breaks a law is found by the laws.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import pytest
from crdt_models import CASES, Case
from crdt_walk import Differs, Walk
from hypothesis import Phase, settings

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.crdt import (
    BoundedCounter,
    CausalLengthSet,
    Context,
    DisableWinsFlag,
    DotStore,
    EnableWinsFlag,
    GCounter,
    GSet,
    LWWRegister,
    MVRegister,
    OriginMap,
    ORMap,
    ORSet,
    PNCounter,
    RemoveWinsSet,
)
from meshcrdt.crdt.canonical import TRUE
from meshcrdt.testing import LawBroken, check_laws, histories_of

WALK_MAX = 4


class Drops(DotStore):
    """Join loses a live dot of the other side, although it has seen it."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        joined = super().join(other)
        rows = {actor: dict(dots) for actor, dots in joined._rows.items()}
        for actor, dots in other._rows.items():
            for seq in dots:
                if actor in rows and actor not in self._rows and self._rows:
                    rows[actor].pop(seq, None)
        return self._make({a: dots for a, dots in rows.items() if dots}, joined._context)


class Resurrects(DotStore):
    """Join brings back whatever either side still holds."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        rows = {actor: dict(dots) for actor, dots in self._rows.items()}
        for actor, dots in other._rows.items():
            rows.setdefault(actor, {}).update(dots)
        return self._make(rows, self._context.join(other._context))


class Forgets(DotStore):
    """Join keeps no memory of what the other side has seen and removed."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        joined = super().join(other)
        live = Context.of(
            dot for dot in joined._context.dots() if dot[2] in joined._rows.get(dot[:2], {})
        )
        return self._make(
            {actor: dict(dots) for actor, dots in joined._rows.items()}, self._context.join(live)
        )


class Overlooks(DotStore):
    """A write does not replace what its writer saw."""

    __slots__ = ()

    def _write(self, path: Any, dot: Any, over: Any) -> Self:
        return super()._write(path, dot, ())


class AddWins(RemoveWinsSet):
    __slots__ = ()

    def _is_in(self, step: Any) -> bool:
        rows = self._rows
        spots = self._spots_at(step)
        found = zip(spots[::2], spots[1::2], strict=True)
        return any(rows[actor][seq][1] is TRUE for actor, seq in found)


class RemovesOnlyWhatIsIn(RemoveWinsSet):
    __slots__ = ()

    def remove(self, element: Tree, dot: Any) -> Self:
        return super().remove(element, dot) if element in self else self.bottom()


class EnableWins(DisableWinsFlag):
    __slots__ = ()

    @property
    def value(self) -> bool:
        return TRUE in self._index


class NothingWins(EnableWinsFlag):
    __slots__ = ()

    @property
    def value(self) -> bool:
        return not self._is_empty() and self._context.size == sum(map(len, self._rows.values()))


class FirstValue(MVRegister):
    __slots__ = ()

    @property
    def value(self) -> tuple[Tree, ...]:
        return super().value[:1]


class Sums(GCounter):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        totals = dict(self._totals)
        for origin, total in other._totals.items():
            totals[origin] = totals.get(origin, 0) + total
        return self._make(totals)


class Least(GCounter):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        totals = {**self._totals, **other._totals}
        for origin in self._totals.keys() & other._totals.keys():
            totals[origin] = min(self._totals[origin], other._totals[origin])
        return self._make(totals)


class NeverDown(PNCounter):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        return self._make(self._added.join(other._added), self._taken)


class Intersects(GSet):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        if self._elements and other._elements:
            return self._make(self._elements & other._elements)
        return super().join(other)


class OldestWins(LWWRegister):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        return other if self._written is None or (other._written and other.leq(self)) else self


class LeastOriginWins(LWWRegister):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        mine, theirs = self.stamp, other.stamp
        if mine and theirs and mine[0] == theirs[0]:
            return self if mine[1] <= theirs[1] else other
        return super().join(other)


class OldestOwn(OriginMap):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        return self._make({**super().join(other)._entries, **self._entries})


class LosesOrigins(OriginMap):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        return super().join(other) if len(self) < 2 else self


class ShortestChain(CausalLengthSet):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        both = {**self._lengths, **other._lengths}
        for step in self._lengths.keys() & other._lengths.keys():
            both[step] = min(self._lengths[step], other._lengths[step])
        return self._make(both)


class RemovesTheAbsent(CausalLengthSet):
    __slots__ = ()

    def remove(self, element: Tree) -> Self:
        return self._make({element: self.length(element) + 1})


class Overspends(BoundedCounter):
    __slots__ = ()

    def _check_room(self, origin: PeerId, by: int) -> None:
        """Let everything pass."""


class GivesAndKeeps(BoundedCounter):
    __slots__ = ()

    def available(self, origin: PeerId) -> int:
        gained = sum(total for (_, to), total in self._granted.items() if to == origin)
        return gained - self._spent.get(origin, 0)


class ForgetsSpending(BoundedCounter):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        joined = super().join(other)
        return self._make(joined._granted, self._spent or other._spent)


class FillsGaps(Context):
    """Join covers what lies between: dots that nobody received (invariant L5)."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        runs = super().join(other)._runs
        return self._make({actor: (1, bounds[-1]) for actor, bounds in runs.items()})


class LosesAnActor(Context):
    __slots__ = ()

    def join(self, other: Self) -> Self:
        return super().join(other) if len(self._runs) < 2 else self


def of(base: type[DotStore], *faults: type[DotStore]) -> list[Any]:
    """Return the base type with each fault in front of it."""
    return [
        pytest.param(type(f"{fault.__name__}{base.__name__}", (fault, base), {"__slots__": ()}))
        for fault in faults
    ]


MUTANTS = [
    *of(ORSet, Drops, Resurrects, Forgets),
    *of(RemoveWinsSet, Drops, Resurrects, Overlooks),
    *of(EnableWinsFlag, Drops, Resurrects, Forgets),
    *of(DisableWinsFlag, Drops, Resurrects, Overlooks),
    *of(MVRegister, Drops, Resurrects, Overlooks),
    *of(ORMap, Drops, Resurrects, Forgets),
    AddWins,
    RemovesOnlyWhatIsIn,
    EnableWins,
    NothingWins,
    FirstValue,
    Sums,
    Least,
    NeverDown,
    Intersects,
    OldestWins,
    LeastOriginWins,
    OldestOwn,
    LosesOrigins,
    ShortestChain,
    RemovesTheAbsent,
    Overspends,
    GivesAndKeeps,
    ForgetsSpending,
    FillsGaps,
    LosesAnActor,
]


@pytest.fixture
def first_failure() -> Iterator[None]:
    """Stop at the first broken law found: shrinking it is Hypothesis's affair, and slow."""
    before = settings.get_current_profile_name()
    settings.register_profile("first", phases=[Phase.generate], derandomize=True, database=None)
    settings.load_profile("first")
    yield
    settings.load_profile(before)


def examine(case: Case, kind: type[Any]) -> None:
    """Walk ever longer orders, then try the laws; raises at the first difference."""
    for length in range(1, WALK_MAX + 1):
        Walk(case, kind=kind).run(length)
    check_laws(histories_of(kind), examples_max=300)


@pytest.mark.usefixtures("first_failure")
@pytest.mark.parametrize("kind", MUTANTS)
def test_a_broken_type_is_caught(kind: type[Any]) -> None:
    (case,) = (case for case in CASES.values() if issubclass(kind, case.kind))
    with pytest.raises((Differs, LawBroken)):
        examine(case, kind)


def test_every_type_has_mutants() -> None:
    kinds = [getattr(mutant, "values", (mutant,))[0] for mutant in MUTANTS]
    for name, case in CASES.items():
        assert any(issubclass(kind, case.kind) for kind in kinds), name
