"""What each type promises its caller: reads, misuse, limits and strict reading."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.crdt import (
    BoundedCounter,
    CausalLengthSet,
    Context,
    DisableWinsFlag,
    EnableWinsFlag,
    GCounter,
    GSet,
    LWWRegister,
    MVRegister,
    OriginMap,
    ORMap,
    ORSet,
    PNCounter,
    Removal,
    RemoveWinsSet,
    name_of,
    registered,
    types,
)
from meshcrdt.crdt.canonical import BYTES_MAX, ELEMENT_DEPTH_MAX, ENTRIES_MAX, TEXT_BYTES_MAX
from meshcrdt.crdt.dots import DotStore
from meshcrdt.errors import CapacityError, MalformedTree, UsageError

ANNA, BERT = PeerId(b"a" * 16), PeerId(b"b" * 16)
EPOCH, LATER = Epoch(1, b"\1" * 8), Epoch(2, b"\1" * 8)
A = (bytes(ANNA), (1, b"\1" * 8))
B = (bytes(BERT), (1, b"\1" * 8))


def dot(seq: int, origin: PeerId = ANNA, epoch: Epoch = EPOCH) -> Dot:
    return Dot(origin, epoch, seq)


def nested(depth: int) -> Tree:
    tree: Tree = ()
    for _ in range(depth - 1):
        tree = (tree,)
    return tree


def test_bool_and_int_are_different_elements() -> None:
    both = GSet().add(1, True, (1,), (True,))
    assert len(both) == 4
    assert [type(element) for element in both.value[:2]] == [bool, int]
    assert GSet().add(1) != GSet().add(True)


def test_elements_are_reduced_to_what_the_wire_brings_back() -> None:
    class Code(IntEnum):
        TEN = 10

    held = GSet().add(ANNA, Code.TEN, dot(3))
    assert [type(element) for element in held.value] == [int, bytes, tuple]
    assert held == GSet.from_tree(held.to_tree())


@pytest.mark.parametrize(
    "element",
    [
        1.5,
        [1],
        {"a": 1},
        b"x" * (BYTES_MAX + 1),
        "é" * (TEXT_BYTES_MAX // 2 + 1),
        "\ud800",
        INT_MAX + 1,
        -INT_MAX - 2,
        nested(ELEMENT_DEPTH_MAX + 1),
        ((), 1.5),
    ],
    ids=repr,
)
def test_what_is_no_element_is_refused_before_anything_changes(element: Any) -> None:
    for refuse in (
        lambda: GSet().add(element),
        lambda: ORSet().add(element, dot(1)),
        lambda: MVRegister().write(element, dot(1)),
        lambda: LWWRegister().write(element, time=1, origin=ANNA),
        lambda: OriginMap().put(element, dot(1)),
        lambda: ORMap().remove(element),
    ):
        with pytest.raises(UsageError):
            refuse()


def test_the_deepest_element_is_accepted_everywhere() -> None:
    deep = nested(ELEMENT_DEPTH_MAX)
    entry = OriginMap().put(deep, dot(1))
    held = ORMap().put("k", entry, dot(1))
    assert ORMap.from_tree(held.to_tree()).get("k", OriginMap) == entry


def test_values_do_not_mix_with_other_types() -> None:
    assert GSet() != ORSet()
    assert EnableWinsFlag() != DisableWinsFlag()
    assert GSet().add("a") != ("a",)
    assert repr(GSet().add("a")) == "GSet(('a',))"


def test_gcounter_refuses_what_is_no_step_and_stops_at_its_limit() -> None:
    full = GCounter().increment(ANNA, INT_MAX)
    assert full.value == INT_MAX
    with pytest.raises(CapacityError, match=str(INT_MAX)):
        full.increment(ANNA)
    for wrong in (-1, 1.5, True):
        with pytest.raises(UsageError, match="is not a step"):
            GCounter().increment(ANNA, wrong)  # type: ignore[arg-type]
    assert GCounter().increment(ANNA, 0) == GCounter.bottom()
    assert full.join(GCounter().increment(BERT, 2)).totals == {ANNA: INT_MAX, BERT: 2}


def test_pncounter_goes_below_zero() -> None:
    assert PNCounter().decrement(ANNA, 3).join(PNCounter().increment(BERT)).value == -2


def test_lww_write_wins_over_what_its_writer_saw_whatever_the_clock() -> None:
    seen = LWWRegister().write("future", time=1000, origin=BERT)
    after = seen.join(seen.write("now", time=5, origin=ANNA))
    assert (after.value, after.stamp) == ("now", (1001, ANNA))
    assert LWWRegister().stamp is None
    assert LWWRegister().value is None
    last = LWWRegister().write("end", time=INT_MAX, origin=ANNA)
    with pytest.raises(CapacityError):
        last.write("more", time=0, origin=ANNA)
    with pytest.raises(UsageError, match="is not a time"):
        LWWRegister().write("x", time=-1, origin=ANNA)


def test_lww_equal_stamps_settle_the_same_way_on_both_sides() -> None:
    one = LWWRegister().write("a", time=1, origin=ANNA)
    two = LWWRegister().write("b", time=1, origin=ANNA)
    assert one.join(two) == two.join(one) == two


def test_origin_map_takes_only_later_dots_and_epochs_outrank() -> None:
    first = OriginMap().put("old", dot(9))
    with pytest.raises(UsageError, match="is not later"):
        first.put("again", dot(9))
    with pytest.raises(UsageError, match="is not later"):
        OriginMap().put("zero", dot(0))
    restarted = first.put("new", first.next_dot(ANNA, LATER))
    assert first.join(restarted).get(ANNA) == "new"
    assert first.join(restarted).dot(ANNA) == dot(1, epoch=LATER)
    assert first.next_dot(ANNA, EPOCH) == dot(10)
    assert BERT not in first
    assert (first.get(BERT), first.dot(BERT)) == (None, None)
    with pytest.raises(UsageError, match="is older"):
        restarted.next_dot(ANNA, EPOCH)
    assert first.value == {ANNA: "old"}


def test_context_compacts_as_gaps_close_and_never_covers_more() -> None:
    gap = Context.of([dot(1), dot(3), dot(5)])
    assert gap.value == {f"{ANNA.short}@{EPOCH}": ((1, 1), (3, 3), (5, 5))}
    assert dot(2) not in gap
    assert dot(0) not in gap
    assert gap.next_dot(ANNA, EPOCH) == dot(6)
    whole = gap.join(Context.of([dot(2), dot(4)]))
    assert whole.value == {f"{ANNA.short}@{EPOCH}": ((1, 5),)}
    assert whole.size == 5
    assert sorted(whole.dots()) == [dot(seq) for seq in range(1, 6)]
    full = Context.from_tree(((*A, (1, INT_MAX - 1)),))
    assert full.size == INT_MAX
    assert full.among((ANNA, EPOCH), {7: "x"}) == {7: "x"}
    assert full.among((BERT, EPOCH), {7: "x"}) == {}
    with pytest.raises(CapacityError):
        full.next_dot(ANNA, EPOCH)


def test_a_state_that_claims_every_dot_costs_nothing_to_join() -> None:
    """A hostile context must not be walked dot by dot."""
    claim = ORSet.from_tree((((*A, (1, INT_MAX - 1)),), ()))
    mine = ORSet().add("x", dot(1)).join(ORSet().add("y", dot(1, BERT)))
    assert mine.join(claim).value == ("y",)
    assert mine.leq(mine.join(claim))
    assert not claim.leq(mine)
    assert next(claim.decompose()).context.size == 1


def test_used_dots_are_refused() -> None:
    held = ORSet().add("x", dot(1))
    with pytest.raises(UsageError, match="was used before"):
        held.add("y", dot(1))
    with pytest.raises(UsageError, match="starts at 1"):
        held.add("y", dot(0))
    assert held.next_dot(ANNA, EPOCH) == dot(2)


def test_orset_keeps_one_dot_an_element_and_no_tombstone() -> None:
    held = ORSet()
    for seq in range(1, 101):
        held = held.join(held.add("x", dot(seq)))
    tree = held.to_tree()
    assert tree == (((*A, (1, 99)),), ((0, "", (100,), ("x",)),))
    emptied = held.join(held.clear())
    assert emptied.value == ()
    assert emptied.to_tree() == (((*A, (1, 99)),), ())
    assert held.remove("absent") == ORSet.bottom()


def test_orset_index_stays_right_through_joins() -> None:
    """Lookups use an index that joins carry along; a state read from its tree has none."""
    held = ORSet()
    for seq, element in enumerate(("a", "b", "a", "c"), start=1):
        assert element not in held or element == "a"
        held = held.join(held.add(element, dot(seq)))
    held = held.join(held.remove("b")).join(ORSet().add("a", dot(1, BERT)))
    fresh = ORSet.from_tree(held.to_tree())
    for element in ("a", "b", "c"):
        assert held.remove(element) == fresh.remove(element)
    assert held.value == fresh.value == ("a", "c")


def test_register_shows_concurrent_writes_until_one_saw_both() -> None:
    one = MVRegister().write("a", dot(1))
    two = MVRegister().write("b", dot(1, BERT))
    both = one.join(two)
    assert both.value == ("a", "b")
    assert both.join(both.write("c", dot(2))).value == ("c",)
    assert both.join(both.clear()).value == ()


def test_map_nests_and_its_deltas_stay_small() -> None:
    held = ORMap()
    for seq in range(1, 51):
        held = held.join(held.update(f"k{seq}", ORSet, lambda s, n=seq: s.add(n, dot(n))))
    inner = held.update(
        "deep", ORMap, lambda m: m.update("er", MVRegister, lambda r: r.write("v", dot(51)))
    )
    assert inner.context.size == 1
    held = held.join(inner)
    assert held.value["deep"] == {"ormap": {"er": {"mvreg": ("v",)}}}
    assert held.get("deep", ORMap).get("er", MVRegister).value == ("v",)
    assert len(held) == 51
    assert "deep" in held
    removed = held.join(held.remove("deep"))
    assert "deep" not in removed
    assert removed.kinds("deep") == ()
    assert removed.context.value == {f"{ANNA.short}@{EPOCH}": ((1, 51),)}


def test_map_keeps_types_of_one_key_apart() -> None:
    held = ORMap().update("k", ORSet, lambda s: s.add("x", dot(1)))
    held = held.join(held.put("k", GCounter().increment(ANNA, 2), dot(2)))
    assert held.kinds("k") == (GCounter, ORSet)
    assert held.value == {"k": {"gcounter": 2, "orset": ("x",)}}
    assert held.get("k", GSet) == GSet.bottom()
    assert held.join(held.clear()).value == {}


def test_map_joins_concurrent_counters() -> None:
    one = ORMap().put("hits", GCounter().increment(ANNA, 2), dot(1))
    two = ORMap().put("hits", GCounter().increment(BERT, 3), dot(1, BERT))
    both = one.join(two)
    assert both.get("hits", GCounter).value == 5
    more = both.put("hits", both.get("hits", GCounter).increment(ANNA), dot(2))
    assert both.join(more).value == {"hits": {"gcounter": 6}}
    assert more.context.size == 3


def test_map_concurrent_change_below_a_removed_key_survives() -> None:
    base = ORMap().update("k", ORSet, lambda s: s.add("old", dot(1)))
    removed = base.join(base.remove("k"))
    changed = base.join(base.update("k", ORSet, lambda s: s.add("new", dot(1, BERT))))
    assert removed.join(changed).get("k", ORSet).value == ("new",)


def test_map_refuses_misuse_and_stays_untouched() -> None:
    held = ORMap().update("a", ORSet, lambda s: s.add("x", dot(1)))
    held = held.join(held.update("b", ORSet, lambda s: s.add("y", dot(2))))
    before = held.to_tree()
    with pytest.raises(UsageError, match="whole state"):
        held.update("a", ORSet, lambda s: s.join(s.add("z", dot(3))))
    with pytest.raises(UsageError, match="not ORSet"):
        held.update("a", ORSet, lambda s: MVRegister())  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match="use put"):
        held.update("a", GSet, lambda s: s.add("z"))  # type: ignore[type-var]
    with pytest.raises(UsageError, match="use update"):
        held.put("a", ORSet(), dot(3))
    with pytest.raises(UsageError, match="says nothing"):
        held.put("a", GCounter(), dot(3))
    with pytest.raises(UsageError, match="has no name"):
        held.get("a", type("Unknown", (GSet,), {}))
    assert held.to_tree() == before


def test_map_depth_is_bounded() -> None:
    def deepen(levels: int) -> Any:
        if levels == 0:
            return lambda m: m.update("leaf", ORSet, lambda s: s.add("x", dot(1)))
        return lambda m: m.update("k", ORMap, deepen(levels - 1))

    deep = ORMap().update("k", ORMap, deepen(13))
    assert ORMap.from_tree(deep.to_tree()) == deep
    with pytest.raises(CapacityError, match="nested deeper"):
        ORMap().update("k", ORMap, deepen(14))


def test_registry_names_types_and_refuses_doubles() -> None:
    assert types["orset"] is ORSet
    assert name_of(GCounter) == "gcounter"
    with pytest.raises(UsageError, match="already stands for ORSet"):
        registered("orset")(GSet)
    for wrong in ("", "x" * 65, "é", "a\nb"):
        with pytest.raises(UsageError, match="not a type name"):
            registered(wrong)
    assert types["orset"] is ORSet
    assert name_of(GSet) == "gset"


@pytest.mark.parametrize(
    ("kind", "tree", "reason"),
    [
        (GCounter, ((bytes(ANNA), 0),), "total"),
        (GCounter, ((bytes(BERT), 1), (bytes(ANNA), 1)), "order"),
        (GCounter, ((bytes(ANNA), 1), (bytes(ANNA), 2)), "order"),
        (GCounter, ((bytes(ANNA), True),), "integer"),
        (GCounter, ((b"short", 1),), "16 are expected"),
        (GCounter, ((bytes(ANNA), 1),) * (ENTRIES_MAX + 1), "at most"),
        (PNCounter, ((),), "2 are expected"),
        (LWWRegister, (1, bytes(ANNA)), "3 are expected"),
        (LWWRegister, (-1, bytes(ANNA), None), "accepted"),
        (LWWRegister, (1, bytes(ANNA), nested(ELEMENT_DEPTH_MAX + 1)), "deeper"),
        (GSet, ("b", "a"), "order"),
        (GSet, ("a", "a"), "order"),
        (GSet, (1, True), "order"),
        (GSet, (b"x" * (BYTES_MAX + 1),), "at most"),
        (GSet, "a", "list"),
        (GSet, (1,) * (ENTRIES_MAX + 1), "at most"),
        (OriginMap, ((*A, 0, None),), "accepted"),
        (OriginMap, ((*A, 1, None), (*A, 2, None)), "order"),
        (OriginMap, ((*A, 1, None),) * (ENTRIES_MAX + 1), "at most"),
        (Context, ((*A, ()),), "without dots"),
        (Context, ((*A, (1,)),), "without its end"),
        (Context, ((*A, (0, 1)),), "accepted"),
        (Context, ((*A, (1, 0, 1, 0)),), "gap"),
        (Context, ((*A, (1, -1)),), "gap"),
        (Context, ((*A, (2, INT_MAX - 1)),), "accepted"),
        (Context, ((*B, (1, 0)), (*A, (1, 0))), "order"),
        (Context, ((*A, (1, 1)), (*A, (1, 1))), "order"),
        (Context, ((*A, (2,) * (ENTRIES_MAX + 2)),), "more than"),
        (ORSet, (((*A, (1, 0)),), ((0, "", (), ()),)), "no dots"),
        (ORSet, (((*A, (1, 0)),), ((0, "", (2,), ("x",)),)), "not in the context"),
        (ORSet, (((*A, (1, 0, 2, 0)),), ((0, "", (1, 1), ("x", "y")),)), "not in the context"),
        (ORSet, (((*A, (1, 0)),), ((1, "", (1,), ("x",)),)), "accepted"),
        (ORSet, ((), ((0, "", (1,), ("x",)),)), "accepted"),
        (ORSet, (((*A, (1, 1)),), ((0, "", (2, -1), ("x", "x")),)), "order"),
        (ORSet, (((*A, (1, 1)),), ((0, "", (1, 0), ("x", "x")),)), "order"),
        (ORSet, (((*A, (1, 1)),), ((0, "", (1, True), ("x", "x")),)), "whole numbers"),
        (ORSet, (((*A, (1, 1)),), ((0, "", (1,), ("x",)), (0, "", (2,), ("y",)))), "order"),
        (
            ORSet,
            (((*A, (1, 0)), (*B, (1, 0))), ((1, "", (1,), ("x",)), (0, "", (1,), ("x",)))),
            "order",
        ),
        (ORSet, (((*A, (1, 0)),), ((0, "", (1,), ("x",), ("y",)),)), "one element"),
        (ORSet, (((*A, (1, 0)),), ((0, "", (1,)),)), "at least 4"),
        (ORSet, (((*A, (1, 1)),), ((0, "", (1, 1), ("x",)),)), "2 are expected"),
        (ORSet, (((*A, (1, 0)),), ((0, "orset", (1,), ("x",)),)), "only maps"),
        (ORSet, (((*A, (1, 0)),), ((0, "", (1,), *((("x",),) * 33)),)), "at most 32"),
        (RemoveWinsSet, (((*A, (1, 0)),), ((0, "", (1,), ("x",)),)), "element, boolean"),
        (RemoveWinsSet, (((*A, (1, 0)),), ((0, "", (1,), ("x",), (1,)),)), "element, boolean"),
        (CausalLengthSet, (("x", 0),), "accepted"),
        (CausalLengthSet, (("x", 1), ("x", 2)), "order"),
        (CausalLengthSet, (("y", 1), ("x", 1)), "order"),
        (CausalLengthSet, (("x", 1),) * (ENTRIES_MAX + 1), "at most"),
        (BoundedCounter, ((), (), ()), "2 are expected"),
        (BoundedCounter, (((bytes(ANNA), bytes(ANNA), 0),), ()), "accepted"),
        (BoundedCounter, (((bytes(ANNA), 1),), ()), "3 are expected"),
        (BoundedCounter, ((), ((bytes(BERT), 1), (bytes(ANNA), 1))), "order"),
        (BoundedCounter, (((bytes(ANNA), bytes(ANNA), 1),) * 2, ()), "order"),
        (BoundedCounter, ((), ((bytes(ANNA), 1),) * (ENTRIES_MAX + 1)), "at most"),
        (MVRegister, (((*A, (1, 0)),), ((0, "", (1,), ("x",), ("y",)),)), "one value"),
        (EnableWinsFlag, (((*A, (1, 0)),), ((0, "", (1,), (1,)),)), "not true"),
        (DisableWinsFlag, (((*A, (1, 0)),), ((0, "", (1,), (1,)),)), "not a boolean"),
        (ORMap, (((*A, (1, 0)),), ((0, "", (1,), ("k",)),)), "type name"),
        (ORMap, (((*A, (1, 0)),), ((0, "", (1,), ("k",), ("x",)),)), "type name"),
        (ORMap, (((*A, (1, 0)),), ((0, "nope", (1,), ("k",), (1,)),)), "not registered"),
        (ORMap, (((*A, (1, 0)),), ((0, "orset", (1,), ("k",)),)), "type name"),
        (ORMap, (((*A, (1, 0)),), ((0, "orset", (1,), ("k",), ("x",), ("y",)),)), "one element"),
        (ORMap, (((*A, (1, 0)),), ((0, "mvreg", (1,), ("k",), ("x",), ("y",)),)), "one value"),
        (ORMap, (((*A, (1, 0)),), ((0, "gset", (1,), ("k",), ((),)),)), "empty"),
        (ORMap, (((*A, (1, 0)),), ((0, "gset", (1,), ("k",), (("b", "a"),)),)), "order"),
        (ORMap, (((*A, (1, 0)),), ((0, "gset", (1,), ("k",), ("a",), ("b",)),)), "3 are expected"),
        (
            ORMap,
            (
                ((*A, (1, 1)),),
                ((0, "mvreg", (1,), ("k",), ("v",)), (0, "orset", (1,), ("k",), ("v",))),
            ),
            "two places",
        ),
        (Removal, ((), ()), "0 steps"),
        (Removal, (("k", "ormap"), ()), "2 steps"),
        (Removal, (("k",), ((*B, 1), (*A, 1))), "order"),
        (Removal, (("k",), ((*A, 0),)), "accepted"),
        (Removal, (("k",), ((*A, 1),) * (ENTRIES_MAX + 1)), "at most"),
    ],
)
def test_malformed_trees_are_refused(kind: Any, tree: Tree, reason: str) -> None:
    with pytest.raises(MalformedTree, match=reason):
        kind.from_tree(tree)


def test_too_many_live_dots_are_refused() -> None:
    many = ENTRIES_MAX + 1
    with pytest.raises(MalformedTree, match="are live"):
        ORSet.from_tree((((*A, (1, many)),), ((0, "", (1,) * many, ("x",) * many),)))


def test_hostile_states_that_disagree_about_a_dot_still_join_alike() -> None:
    """One dot at two elements: nobody honest makes it; the laws hold, and both are dead."""
    one = ORSet.from_tree((((*A, (1, 0)),), ((0, "", (1,), ("x",)),)))
    two = ORSet.from_tree((((*A, (1, 0)),), ((0, "", (1,), ("y",)),)))
    assert one.join(two) == two.join(one)
    assert one.join(two).value == ()
    assert not one.leq(two)
    assert one.leq(one.join(two))


def test_origin_map_equivocation_settles_the_same_way_on_both_sides() -> None:
    one, two = OriginMap().put("a", dot(1)), OriginMap().put("b", dot(1))
    assert one.join(two) == two.join(one) == two
    assert not two.leq(one)


def test_a_dot_store_that_does_not_say_what_its_paths_mean_cannot_be_made() -> None:
    class Vague(DotStore):
        @property
        def value(self) -> object:
            return None

    with pytest.raises(TypeError, match="_check_path"):
        Vague.bottom()
