"""The law suite catches broken lattices: each class here breaks one law on purpose."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any, Self

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

import meshcrdt.testing
from meshcrdt.base.ids import Dot
from meshcrdt.base.tree import Tree
from meshcrdt.crdt import Context, GCounter, GSet, LWWRegister, MVRegister, OriginMap, ORMap, ORSet
from meshcrdt.errors import MissingExtra, UsageError
from meshcrdt.testing import LawBroken, check_laws, histories, histories_of, lattice_laws


class ForgetfulORSet(ORSet):
    """Join drops one element when there are many."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        joined = super().join(other)
        return joined.remove_first() if len(joined) > 2 else joined

    def remove_first(self) -> Self:
        first, dots = next(iter(self._rows.items()))
        seq = next(iter(dots))
        return self.join(self._make({}, Context.of([Dot(*first, seq)])))


class ResurrectingORSet(ORSet):
    """Join ignores the context: what was removed comes back."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        rows = {actor: dict(dots) for actor, dots in self._rows.items()}
        for actor, dots in other._rows.items():
            rows.setdefault(actor, {}).update(dots)
        return self._make(rows, self._context.join(other._context))


class RevivingLeqORSet(ORSet):
    """leq looks at what was seen and forgets what was removed."""

    __slots__ = ()

    def leq(self, other: Self) -> bool:
        return self._context.leq(other._context)


class AddingCounter(GCounter):
    """Join adds instead of taking the maximum."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        totals = dict(self._totals)
        for origin, total in other._totals.items():
            totals[origin] = totals.get(origin, 0) + total
        return self._make(totals)


class RedundantGSet(GSet):
    """Decomposition yields the first element twice."""

    __slots__ = ()

    def decompose(self) -> Iterator[Self]:
        parts = list(super().decompose())
        yield from parts[:1] + parts


class WholeGSet(GSet):
    """Decomposition yields the whole set as its only part."""

    __slots__ = ()

    def decompose(self) -> Iterator[Self]:
        if self:
            yield self


class UnorderedGSet(GSet):
    """Reading accepts elements in any order, and twice."""

    __slots__ = ()

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        assert isinstance(tree, tuple)
        return cls().add(*tree)


class FirstWriterLWW(LWWRegister):
    """Join keeps its left operand when times are equal."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        if self._written is None:
            return other
        if other._written is None or other._written[0] <= self._written[0]:
            return self
        return other


class LossyMVRegister(MVRegister):
    """Its tree leaves the context out."""

    __slots__ = ()

    def to_tree(self) -> Tree:
        tree = super().to_tree()
        assert isinstance(tree, tuple)
        return ((), tree[1])


class RaisingOriginMap(OriginMap):
    """Join refuses two values of one origin."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        for origin in self._entries.keys() & other._entries.keys():
            if self._entries[origin] != other._entries[origin]:
                raise ValueError("conflict")
        return super().join(other)


class MutatingContext(Context):
    """Join writes into its left operand."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        joined = super().join(other)
        self._runs = joined._runs
        return joined


class LooseEqualityGSet(GSet):
    """Equality goes through Python's sets, where 1 is True."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GSet) and set(self.value) == set(other.value)

    __hash__ = GSet.__hash__


class HastyORMap(ORMap):
    """Join takes the side with more keys, whole."""

    __slots__ = ()

    def join(self, other: Self) -> Self:
        return self if len(self) > len(other) else super().join(other)


@pytest.fixture
def first_failure() -> Iterator[None]:
    """Stop at the first broken law found: shrinking it is Hypothesis's affair, and slow."""
    before = settings.get_current_profile_name()
    settings.register_profile("first", phases=[Phase.generate], derandomize=True, database=None)
    settings.load_profile("first")
    yield
    settings.load_profile(before)


@pytest.mark.usefixtures("first_failure")
@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (ForgetfulORSet, ""),
        (ResurrectingORSet, ""),
        (RevivingLeqORSet, "leq agrees with join"),
        (AddingCounter, "join is idempotent"),
        (RedundantGSet, "parts are irredundant"),
        (WholeGSet, "parts are irreducible"),
        (UnorderedGSet, "reading "),
        (FirstWriterLWW, "join is commutative"),
        (LossyMVRegister, ""),
        (RaisingOriginMap, "join never raises"),
        (MutatingContext, ""),
        (LooseEqualityGSet, ""),
        (HastyORMap, ""),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_broken_type_is_caught(kind: type[Any], law: str) -> None:
    with pytest.raises(LawBroken) as caught:
        check_laws(histories_of(kind), examples_max=400)
    assert caught.value.law.startswith(law)


class MaxOf:
    """A user's lattice, structural: the greatest integer seen. It inherits nothing."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    @classmethod
    def bottom(cls) -> Self:
        return cls()

    def join(self, other: Self) -> Self:
        return self if self.number > other.number else other

    def leq(self, other: Self) -> bool:
        return self.number <= other.number

    def decompose(self) -> Iterator[Self]:
        if self.number:
            yield self

    def to_tree(self) -> Tree:
        return self.number

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        from meshcrdt.base.tree import take_int

        return cls(take_int(tree, "max"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaxOf) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


def test_user_lattice_proves_itself_from_an_operation() -> None:
    check_laws(histories(MaxOf, lambda draw, state, site: MaxOf(draw(st.integers(0, 99)))))


test_user_lattice_proves_itself_from_plain_values = lattice_laws(
    st.builds(MaxOf, st.integers(0, 99))
)


def test_histories_of_refuses_a_foreign_type() -> None:
    with pytest.raises(UsageError, match="MaxOf is not one of our types"):
        histories_of(MaxOf)


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.startswith("meshcrdt.testing.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    fresh = importlib.reload(meshcrdt.testing)
    for name in fresh.__all__:
        with pytest.raises(MissingExtra, match=r"meshcrdt\[testing\]"):
            getattr(fresh, name)


def test_public_names_load_and_unknown_ones_do_not() -> None:
    for name in meshcrdt.testing.__all__:
        assert getattr(meshcrdt.testing, name) is not None
    assert set(dir(meshcrdt.testing)) >= set(meshcrdt.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = meshcrdt.testing.nonsense
