"""What the types that keep removes, quotas and many keys promise beside the laws."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX
from meshcrdt.crdt import (
    BoundedCounter,
    CausalLengthSet,
    Context,
    DisableWinsFlag,
    MVRegister,
    ORMap,
    ORSet,
    Removal,
    RemoveWinsSet,
    transaction,
)
from meshcrdt.crdt.table import Table
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.testing import History, histories_of

ANNA, BERT, CARL = PeerId(b"a" * 16), PeerId(b"b" * 16), PeerId(b"c" * 16)
EPOCH = Epoch(1, b"\1" * 8)


def dot(seq: int, origin: PeerId = ANNA) -> Dot:
    return Dot(origin, EPOCH, seq)


# --- remove-wins set -------------------------------------------------------------------


def test_of_a_concurrent_add_and_remove_the_remove_wins() -> None:
    start = RemoveWinsSet().add("x", dot(1))
    added = start.join(start.add("x", dot(1, BERT)))
    removed = start.join(start.remove("x", dot(2)))
    both = added.join(removed)
    assert (both.value, both.removed) == ((), ("x",))
    again = both.join(both.add("x", dot(2, BERT)))
    assert again.value == ("x",)
    assert "x" in again
    assert len(again) == 1


def test_a_remove_of_what_was_never_seen_keeps_a_concurrent_add_out() -> None:
    blocked = RemoveWinsSet().remove("x", dot(1))
    assert blocked.join(RemoveWinsSet().add("x", dot(1, BERT))).value == ()


def test_remove_wins_costs_one_entry_an_element_until_it_is_stable() -> None:
    held = RemoveWinsSet()
    for seq in range(1, 101):
        held = held.join(held.add(seq % 10, dot(2 * seq - 1)))
        held = held.join(held.remove(seq % 10, dot(2 * seq)))
    assert len(held.removed) == 10
    assert sum(map(len, held._rows.values())) == 10
    assert held.compact(Context()) == RemoveWinsSet()
    empty = held.join(held.compact(held.context))
    assert (empty.removed, empty._rows) == ((), {})
    assert empty.context == held.context


def test_compacting_changes_nothing_that_is_seen() -> None:
    mine = RemoveWinsSet().remove("x", dot(1)).join(RemoveWinsSet().add("y", dot(2)))
    held = mine.join(RemoveWinsSet().add("x", dot(1, BERT)))
    assert held.value == ("y",)
    # The remove is stable, the add beside it is not: to forget one of them would show x.
    assert held.compact(mine.context) == RemoveWinsSet()
    compacted = held.join(held.compact(held.context))
    assert compacted.value == ("y",)
    # Replicas that did not compact, and changes made on top of what they saw, go on alike.
    later = held.join(held.add("x", dot(3)))
    assert later.join(compacted).value == compacted.join(later).value == ("x", "y")


# --- disable-wins flag -----------------------------------------------------------------


def test_disable_wins_flag_forgets_a_stable_disabling_and_stays_off() -> None:
    off = DisableWinsFlag().disable(dot(1))
    assert off.join(off.compact(off.context))._rows == {}
    both = off.join(DisableWinsFlag().enable(dot(1, BERT)))
    assert both.value is False
    assert both.compact(off.context) == DisableWinsFlag()
    gone = both.join(both.compact(both.context))
    assert (gone.value, gone._rows) == (False, {})
    on = DisableWinsFlag().enable(dot(1))
    assert on.join(on.compact(on.context)).value is True


# --- causal-length set -----------------------------------------------------------------


def test_causal_length_counts_turns_and_equal_changes_are_one() -> None:
    held = CausalLengthSet().add("x")
    assert held.add("x") == CausalLengthSet()
    one, two = held.remove("x"), held.remove("x")
    assert one == two
    gone = held.join(one).join(two)
    assert (gone.value, gone.length("x"), len(gone)) == ((), 2, 0)
    back = gone.join(gone.add("x"))
    assert (back.length("x"), "x" in back) == (3, True)
    assert gone.remove("x") == CausalLengthSet()
    assert CausalLengthSet().length("x") == 0


def test_a_longer_chain_wins_over_a_remove_that_did_not_see_it() -> None:
    held = CausalLengthSet().add("x")
    removed = held.join(held.remove("x"))
    readded = removed.join(removed.add("x"))
    assert readded.join(held.join(held.remove("x"))).value == ("x",)


def test_causal_length_ends_at_its_limit() -> None:
    last = CausalLengthSet.from_tree((("x", INT_MAX),))
    with pytest.raises(CapacityError, match="too often"):
        last.remove("x")


# --- bounded counter -------------------------------------------------------------------


def test_quota_is_spent_where_it_is_and_moved_by_transfer() -> None:
    held = BoundedCounter().increment(ANNA, 10)
    held = held.join(held.transfer(ANNA, BERT, 4))
    assert held.quotas == {ANNA: 6, BERT: 4}
    held = held.join(held.decrement(BERT, 3)).join(held.decrement(ANNA, 6))
    assert (held.value, held.available(ANNA), held.available(BERT)) == (1, 0, 1)
    assert held.available(CARL) == 0


def test_a_refusal_says_what_is_available_and_where() -> None:
    held = BoundedCounter().increment(ANNA, 2).join(BoundedCounter().increment(BERT, 5))
    before = held.to_tree()
    for refuse in (lambda: held.decrement(ANNA, 3), lambda: held.transfer(ANNA, CARL, 3)):
        with pytest.raises(CapacityError) as refused:
            refuse()
        text = str(refused.value)
        assert f"{ANNA} may spend 2, not 3" in text
        assert f"5 with {BERT}" in text
    assert held.to_tree() == before
    with pytest.raises(CapacityError, match="none elsewhere"):
        BoundedCounter().decrement(ANNA)


def test_a_refusal_names_only_the_richest() -> None:
    held = BoundedCounter()
    for number in range(20):
        held = held.join(held.increment(PeerId(bytes([number]) * 16), number + 1))
    with pytest.raises(CapacityError) as refused:
        held.decrement(ANNA)
    assert str(refused.value).count(" with ") == 8
    assert "available elsewhere: 210 (20 with 13131313" in str(refused.value)


def test_bounded_counter_refuses_what_is_no_step() -> None:
    held = BoundedCounter().increment(ANNA, INT_MAX)
    for wrong in (-1, 1.5, True):
        for change in (held.increment, held.decrement):
            with pytest.raises(UsageError, match="is not a step"):
                change(ANNA, wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="to itself"):
        held.transfer(ANNA, ANNA, 1)
    with pytest.raises(CapacityError, match="is full"):
        held.increment(ANNA)
    assert held.increment(ANNA, 0) == held.decrement(ANNA, 0) == BoundedCounter()
    assert held.transfer(ANNA, BERT, 0) == BoundedCounter()


def never_below(history: History[Any], kind: type[BoundedCounter]) -> bool:
    """Return True when no choice of deltas shows less than zero, whatever is missing."""
    for count in range(min(4, len(history.deltas)) + 1):
        for chosen in combinations(history.deltas, count):
            held = kind()
            for delta in chosen:
                held = held.join(kind.from_tree(delta.to_tree()))
            if held.value < 0:
                return False
    return True


@settings(max_examples=60)
@given(histories_of(BoundedCounter))
def test_no_reader_sees_less_than_zero_whatever_it_missed(history: History[Any]) -> None:
    assert never_below(history, BoundedCounter)


class Unbacked(BoundedCounter):
    """Deltas leave out the rights that they rest on."""

    __slots__ = ()

    def _backing(self, origin: PeerId) -> dict[Any, int]:
        return {}


def test_a_delta_without_its_backing_would_show_less_than_zero() -> None:
    held = Unbacked().increment(ANNA, 2)
    spent = held.decrement(ANNA, 1)
    assert not never_below(History((held,), (held, spent)), Unbacked)


# --- maps: many keys at once -----------------------------------------------------------


def test_write_many_is_what_writing_one_by_one_is() -> None:
    pairs = [("a", 1), ("b", 2), (True, 3), (1, 4), ("a", 5)]
    start = ORMap().write("b", 0, dot(1, BERT)).join(ORMap().write("a", 0, dot(1)))
    delta = start.write_many(pairs, ANNA, EPOCH)
    assert delta.context.size == 6
    one_by_one = start
    for key, value in (("a", 5), ("b", 2), (True, 3), (1, 4)):
        step = one_by_one.write(key, value, one_by_one.next_dot(ANNA, EPOCH))
        one_by_one = one_by_one.join(step)
    assert start.join(delta) == one_by_one
    assert start.join(delta).read("a") == (5,)
    assert start.write_many({}, ANNA, EPOCH) == ORMap()


def test_write_many_refuses_what_is_no_tree_and_stops_at_the_last_dot() -> None:
    with pytest.raises(UsageError, match="not a tree"):
        ORMap().write_many([("a", 1.5)], ANNA, EPOCH)  # type: ignore[list-item]
    full = ORMap.from_tree((((bytes(ANNA), (1, b"\1" * 8), (1, INT_MAX - 2)),), ()))
    assert full.write_many({"a": 1}, ANNA, EPOCH).context.size == 1
    with pytest.raises(CapacityError, match="2 dots left"):
        full.write_many({"a": 1, "b": 2}, ANNA, EPOCH)


def test_a_register_shows_concurrent_writes_and_leaves_other_types_alone() -> None:
    start = ORMap().update("k", ORSet, lambda s: s.add("x", dot(1)))
    one, two = start.write("k", "a", dot(2)), start.write("k", "b", dot(1, BERT))
    both = start.join(one).join(two)
    assert both.read("k") == both.get("k", MVRegister).value == ("a", "b")
    assert both.kinds("k") == (MVRegister, ORSet)
    assert both.write("k", "c", dot(3)) == both.update(
        "k", MVRegister, lambda r: r.write("c", dot(3))
    )


def test_remove_takes_many_keys() -> None:
    held = ORMap().write_many({"a": 1, "b": 2, "c": 3}, ANNA, EPOCH)
    assert list(held.join(held.remove("a", "c", "absent"))) == ["b"]


# --- maps: removal of a subtree (finding F32) ------------------------------------------


def write_deep(held: ORMap, key: str, name: str, at: Dot) -> ORMap:
    """Return the delta that writes a register three maps deep."""

    def below(inner: ORMap) -> ORMap:
        return inner.write(name, "v", at)

    return held.update("top", ORMap, lambda top: top.update(key, ORMap, below))


def deep_map() -> ORMap:
    """A map in which two writers took turns, so that a subtree's dots have gaps."""
    held = ORMap()
    for number in range(1, 41):
        for origin in (ANNA, BERT):
            key = "keep" if number % 2 else "drop"
            name = f"{number} of {origin.short}"
            held = held.join(write_deep(held, key, name, dot(number, origin)))
    return held


def test_removal_is_a_prefix_and_a_vector_and_does_what_remove_does() -> None:
    held = deep_map()
    removal = Removal.from_tree(held.removal("top", "drop").to_tree())
    assert removal == held.removal("top", "drop")
    assert len(removal.vector) == 2
    plain = held.update("top", ORMap, lambda m: m.remove("drop"))
    assert held.removed(removal) == plain
    assert sum(map(len, plain.context.runs.values())) == 80
    left = held.join(plain).get("top", ORMap)
    assert list(left) == ["keep"]


def test_removal_removes_what_was_seen_and_nothing_else() -> None:
    held = deep_map()
    removal = held.removal("top", "drop")
    later = held.join(write_deep(held, "drop", "new", dot(1, CARL)))
    delta = later.removed(removal)
    assert delta is not None
    assert list(later.join(delta).get("top", ORMap).get("drop", ORMap)) == ["new"]


def test_a_removal_that_comes_too_early_waits() -> None:
    held = deep_map()
    removal = held.removal("top")
    parts = list(held.decompose())
    behind = ORMap()
    for part in parts[:-1]:
        assert behind.removed(removal) is None
        behind = behind.join(part)
    whole = behind.join(parts[-1])
    delta = whole.removed(removal)
    assert delta is not None
    assert list(whole.join(delta)) == []


def test_removal_needs_a_remover_without_gaps() -> None:
    gap = ORMap().write("k", 1, dot(2))
    with pytest.raises(UsageError, match="has gaps"):
        gap.removal("k")
    assert ORMap().removal("k").vector == ()


# --- transactions ----------------------------------------------------------------------


def test_a_transaction_is_one_delta_whose_changes_see_each_other() -> None:
    start = ORMap().write_many({"from": 5, "to": 0}, ANNA, EPOCH)

    def take(state: ORMap) -> ORMap:
        (left,) = state.read("from")
        assert isinstance(left, int)
        return state.write("from", left - 1, state.next_dot(BERT, EPOCH))

    def give(state: ORMap) -> ORMap:
        assert state.read("from") == (4,)
        return state.write("to", 1, state.next_dot(BERT, EPOCH))

    delta = transaction(start, take, give)
    after = start.join(delta)
    assert (after.read("from"), after.read("to")) == ((4,), (1,))
    assert delta.context.size == 4
    assert start.read("from") == (5,)


def test_a_transaction_that_fails_changes_nothing() -> None:
    start = BoundedCounter().increment(ANNA, 3)
    with pytest.raises(CapacityError, match="may spend 1, not 2"):
        transaction(start, lambda c: c.decrement(ANNA, 2), lambda c: c.decrement(ANNA, 2))
    assert start.value == 3


# --- memory of values ------------------------------------------------------------------


def test_older_values_stay_what_they_were_while_newer_ones_are_made() -> None:
    made = [ORMap()]
    for seq in range(1, 200):
        held = made[-1]
        step = held.write(f"k{seq % 7}", seq, dot(seq)) if seq % 5 else held.remove(f"k{seq % 3}")
        made.append(held.join(step))
    trees = [state.to_tree() for state in reversed(made)][::-1]
    for place in (0, 199, 50, 51, 150, 3, 198):
        fresh = ORMap.from_tree(trees[place])
        assert made[place] == fresh
        assert made[place].value == fresh.value
        assert made[place].join(made[-1]) == fresh.join(ORMap.from_tree(trees[-1]))
        assert made[place].leq(made[-1])
        assert made[-1].leq(made[place]) == (place == 199)


def test_a_branch_from_an_older_value_is_its_own() -> None:
    base = ORSet().add("x", dot(1))
    one = base.join(base.add("y", dot(2)))
    two = base.join(base.remove("x"))
    assert (base.value, one.value, two.value) == (("x",), ("x", "y"), ())
    assert one.join(two).value == ("y",)
    assert base.join(one) == one
    assert one.join(base) is one


def test_a_small_change_of_a_large_value_copies_it_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each join costs its delta: 1,000 writes into 1,000 entries copy the table once or twice."""
    copies = []
    honest = Table.copy

    def counted(table: Table) -> Table:
        copies.append(table.size)
        return honest(table)

    monkeypatch.setattr(Table, "copy", counted)
    held = ORMap().write_many({f"k{number}": 0 for number in range(1_000)}, ANNA, EPOCH)
    for seq in range(1, 1_001):
        held = held.join(held.write(f"k{seq % 1_000}", seq, dot(seq, BERT)))
    assert held.read("k7") == (7,)
    assert 1 <= len(copies) <= 3


def test_who_keeps_an_old_value_keeps_no_more_than_its_size() -> None:
    """A chain of values is cut when its table has changed as much as it held."""
    old = ORMap().write_many({f"k{number}": 0 for number in range(100)}, ANNA, EPOCH)
    held = old
    for seq in range(1, 1_001):
        held = held.join(held.write("k1", seq, dot(seq, BERT)))
    steps, link = 0, old
    while link._later is not None:
        steps, link = steps + 1, link._later
    assert steps <= 100
    assert old.read("k1") == (0,)
    assert held.read("k1") == (1_000,)
