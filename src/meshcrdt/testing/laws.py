"""The laws of a lattice, as a suite that anyone can run against their own type.

Three lines, with pytest, prove a type whose changes are made by `operation`::

    from meshcrdt.testing import check_laws, histories
    def test_laws():
        check_laws(histories(MyLattice, operation))

`operation(draw, state, site)` draws a change with Hypothesis and returns its delta. A
plain strategy of values does as well, but then the laws of deltas are not checked. Laws
after Almeida et al. (2018) and Enes et al. (2019); numbered in docs/guarantees.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import islice, permutations, product
from typing import Any, TypeAlias

from meshcrdt.abc import Lattice
from meshcrdt.base.tree import Tree
from meshcrdt.errors import MalformedTree, MissingExtra
from meshcrdt.testing.history import History, LawBroken, joined
from meshcrdt.wire import decode, encode

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingExtra("testing", "hypothesis") from error

PARTS_MAX = 10_000
"""Parts of one small state beyond which its decomposition counts as endless."""
DELTAS_USED = 2
WRONG_TREES_MAX = 300

Value: TypeAlias = Any
"""A Lattice; its methods take its own type, which no annotation here can name."""


def join_is_commutative(history: History[Value]) -> None:
    """Check that a with b is b with a."""
    for a, b in product(_values(history), repeat=2):
        if not _same(joined(a, b), joined(b, a)):
            raise LawBroken("join is commutative", a, b)


def join_is_associative(history: History[Value]) -> None:
    """Check that the order of merges does not matter."""
    for a, b, c in product(_values(history), repeat=3):
        if not _same(joined(joined(a, b), c), joined(a, joined(b, c))):
            raise LawBroken("join is associative", a, b, c)


def join_is_idempotent(history: History[Value]) -> None:
    """Check that what arrives twice counts once, also when older."""
    for a, b in product(_values(history), repeat=2):
        if not _same(joined(a, a), a):
            raise LawBroken("join is idempotent", a)
        if not _same(joined(joined(a, b), b), joined(a, b)):
            raise LawBroken("join is idempotent", a, b)


def bottom_is_neutral(history: History[Value]) -> None:
    """Check that bottom adds nothing, lies below everything and has no parts."""
    for a in _values(history):
        bottom = type(a).bottom()
        neutral = _same(joined(a, bottom), a) and _same(joined(bottom, a), a)
        if not neutral or not bottom.leq(a) or list(bottom.decompose()):
            raise LawBroken("bottom is neutral", a)


def leq_agrees_with_join(history: History[Value]) -> None:
    """Check that a <= b exactly when a with b is b, and that a join lies above both."""
    for a, b in product(_values(history), repeat=2):
        both = joined(a, b)
        if a.leq(b) != _same(both, b) or not a.leq(both) or not b.leq(both):
            raise LawBroken("leq agrees with join", a, b)


def join_changes_no_operand(history: History[Value]) -> None:
    """Check that values are immutable under join, leq and decompose."""
    for a, b in permutations(history.states, 2):
        before = encode(a.to_tree()), encode(b.to_tree())
        joined(a, b)
        a.leq(b)
        _parts(a)
        if (encode(a.to_tree()), encode(b.to_tree())) != before:
            raise LawBroken("join changes no operand", a, b)


def deltas_equal_states(history: History[Value]) -> None:
    """Check that joining deltas, in any order, twice too, is joining whole states."""
    if not history.deltas:
        return
    whole = reduce(joined, history.states)
    bottom = type(whole).bottom()
    for order in (history.deltas, history.deltas[::-1], history.deltas * 2):
        if not _same(reduce(joined, order, bottom), whole):
            raise LawBroken("deltas equal states", whole, history.deltas)


def parts_join_to_the_value(history: History[Value]) -> None:
    """Check that a decomposition loses and adds nothing."""
    for a in history.states:
        if not _same(reduce(joined, _parts(a), type(a).bottom()), a):
            raise LawBroken("parts join to the value", a)


def parts_are_irredundant(history: History[Value]) -> None:
    """Check that no part can be left out."""
    for a in history.states:
        parts = _parts(a)
        after = [type(a).bottom()]
        for part in reversed(parts):
            after.append(joined(part, after[-1]))
        before = type(a).bottom()
        for place, part in enumerate(parts):
            if part.leq(joined(before, after[len(parts) - place - 1])):
                raise LawBroken("parts are irredundant", a, part)
            before = joined(before, part)


def parts_are_irreducible(history: History[Value]) -> None:
    """Check that a part is its own only part, and no join of known values below it."""
    known = [*history.states, *history.deltas]
    known += [part for a in history.states for part in _parts(a)]
    for a in history.states:
        for part in _parts(a):
            again = _parts(part)
            if len(again) != 1 or not _same(again[0], part):
                raise LawBroken("parts are irreducible", a, part)
            below = [value for value in known if value != part and value.leq(part)]
            if _same(reduce(joined, below, type(a).bottom()), part):
                raise LawBroken("parts are irreducible", a, part, below)


def trees_round_trip(history: History[Value]) -> None:
    """Check that a value survives its tree, and its tree survives the wire, type for type."""
    for a in _values(history):
        tree = a.to_tree()
        data = encode(tree)
        arrived = decode(data)
        if arrived != tree or encode(arrived) != data:
            raise LawBroken("trees survive the wire", a)
        if not _same(_read(type(a), arrived), a):
            raise LawBroken("trees round trip", a)


def equal_values_have_equal_trees(history: History[Value]) -> None:
    """Check that ==, hash and bytes agree, also for equal values made in other ways."""
    values = [*_values(history)]
    values += [joined(a, b) for a, b in permutations(history.states, 2)]
    for a, b in product(values, repeat=2):
        equal = bool(a == b)
        if equal != (encode(a.to_tree()) == encode(b.to_tree())):
            raise LawBroken("equal values have equal trees", a, b)
        if equal and hash(a) != hash(b):
            raise LawBroken("equal values have equal hashes", a, b)


def reading_is_strict(history: History[Value]) -> None:
    """Check that a damaged tree is refused with MalformedTree, or is canonical for a value."""
    for a in history.states[:1]:
        for wrong in islice(_damaged(a.to_tree()), WRONG_TREES_MAX):
            try:
                value = type(a).from_tree(wrong)
            except MalformedTree:
                continue
            except Exception as error:
                raise LawBroken("reading raises MalformedTree only", wrong) from error
            if encode(value.to_tree()) != encode(wrong):
                raise LawBroken("reading is strict", wrong, value)


Law: TypeAlias = Callable[[History[Value]], None]

LAWS: tuple[Law, ...] = (
    join_is_commutative,
    join_is_associative,
    join_is_idempotent,
    bottom_is_neutral,
    leq_agrees_with_join,
    join_changes_no_operand,
    deltas_equal_states,
    parts_join_to_the_value,
    parts_are_irredundant,
    parts_are_irreducible,
    trees_round_trip,
    equal_values_have_equal_trees,
    reading_is_strict,
)


def lattice_laws(
    strategy: st.SearchStrategy[Any], *, examples_max: int = 100
) -> Callable[[], None]:
    """Return a test function, without arguments, that checks every law.

    Args:
        strategy: draws a History (see `histories`) or values of one lattice type.
        examples_max: how many histories to draw.
    """

    @settings(max_examples=examples_max, deadline=None)
    @given(history=_as_histories(strategy))
    def laws(history: History[Value]) -> None:
        for law in LAWS:
            law(history)

    return laws


def check_laws(strategy: st.SearchStrategy[Any], *, examples_max: int = 100) -> None:
    """Check every law now; raises LawBroken for the smallest history found to break one."""
    lattice_laws(strategy, examples_max=examples_max)()


@st.composite
def _as_histories(draw: st.DrawFn, strategy: st.SearchStrategy[Any]) -> History[Value]:
    first = draw(strategy)
    return first if isinstance(first, History) else History((first, draw(strategy), draw(strategy)))


def _values(history: History[Value]) -> tuple[Value, ...]:
    return history.states + history.deltas[-DELTAS_USED:]


def _same(a: Lattice, b: Lattice) -> bool:
    return a == b and encode(a.to_tree()) == encode(b.to_tree())


def _parts(a: Value) -> list[Value]:
    parts = list(islice(a.decompose(), PARTS_MAX + 1))
    if len(parts) > PARTS_MAX:
        raise LawBroken(f"a small value has at most {PARTS_MAX} parts", a)
    return parts


def _read(kind: type[Value], tree: Tree) -> Value:
    try:
        return kind.from_tree(tree)
    except Exception as error:
        raise LawBroken("a value's own tree can be read", tree) from error


def _damaged(tree: Tree) -> Iterator[Tree]:
    """Yield trees that differ from `tree` in one place: shape, order, repeats or leaf."""
    yield from (wrong for wrong in (None, -1, "", b"", (), True) if not _alike(wrong, tree))
    if isinstance(tree, tuple):
        yield (*tree, None)
        if tree:
            yield tree[:-1]
            yield tree[:1] + tree
            yield tree + tree[-1:]
        if len(tree) > 1:
            yield tree[::-1]
        for place, item in enumerate(tree):
            for wrong in _damaged(item):
                yield (*tree[:place], wrong, *tree[place + 1 :])


def _alike(a: Tree, b: Tree) -> bool:
    return type(a) is type(b) and a == b
