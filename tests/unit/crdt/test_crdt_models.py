"""Sets, registers, flags and maps against models that remember every operation.

The model of an observed-remove type is its definition: each operation knows the
operations that its replica had seen; an add counts unless a remove saw it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.base.tree import Tree
from meshcrdt.crdt import (
    DisableWinsFlag,
    EnableWinsFlag,
    GCounter,
    GSet,
    MVRegister,
    ORMap,
    ORSet,
    PNCounter,
)
from meshcrdt.testing import Site

REPLICAS = 3
_PLACES = st.integers(0, REPLICAS - 1)
_STEPS = st.lists(
    st.tuples(st.sampled_from(("add", "add", "remove", "merge")), _PLACES, _PLACES, _PLACES),
    max_size=25,
)
_ELEMENTS: tuple[Tree, ...] = (1, True, "x")

Operation = tuple[int, str, Tree, frozenset[int]]
"""(number, "add" or "remove", element, numbers of the operations seen)."""


class Model:
    """Replicas as sets of operation numbers, over one shared log."""

    def __init__(self) -> None:
        self.log: list[Operation] = []
        self.seen: list[set[int]] = [set() for _ in range(REPLICAS)]

    def note(self, place: int, name: str, element: Tree) -> None:
        number = len(self.log)
        self.log.append((number, name, element, frozenset(self.seen[place])))
        self.seen[place].add(number)

    def merge(self, into: int, source: int) -> None:
        self.seen[into] |= self.seen[source]

    def visible(self, place: int) -> list[Operation]:
        return [self.log[number] for number in sorted(self.seen[place])]

    def live(self, place: int, removes: Any) -> list[Operation]:
        """Return the adds that no later visible operation, for which `removes` holds, saw."""
        operations = self.visible(place)
        return [
            add
            for add in operations
            if add[1] == "add"
            and not any(add[0] in other[3] and removes(add, other) for other in operations)
        ]


def tagged(elements: Any) -> set[tuple[str, Tree]]:
    return {(type(element).__name__, element) for element in elements}


@settings(max_examples=200)
@given(steps=_STEPS)
def test_orset_is_adds_that_no_remove_saw(steps: list[tuple[str, int, int, int]]) -> None:
    model = Model()
    sites = [Site.number(place) for place in range(REPLICAS)]
    sets = [ORSet() for _ in sites]
    for name, place, other, which in steps:
        element = _ELEMENTS[which]
        if name == "merge":
            sets[place] = sets[place].join(sets[other])
            model.merge(place, other)
        else:
            changed = sets[place]
            delta = (
                changed.add(element, sites[place].dot())
                if name == "add"
                else changed.remove(element)
            )
            sets[place] = changed.join(delta)
            model.note(place, name, element)

        def removes(add: Operation, later: Operation) -> bool:
            return later[1] == "remove" and tagged([later[2]]) == tagged([add[2]])

        expected = tagged(add[2] for add in model.live(place, removes))
        assert tagged(sets[place].value) == expected
        assert len(sets[place]) == len(expected)
        for probe in _ELEMENTS:
            assert (probe in sets[place]) == (tagged([probe]) <= expected)


@settings(max_examples=200)
@given(steps=_STEPS)
def test_register_shows_writes_that_nothing_overwrote(
    steps: list[tuple[str, int, int, int]],
) -> None:
    model = Model()
    sites = [Site.number(place) for place in range(REPLICAS)]
    registers = [MVRegister() for _ in sites]
    for name, place, other, which in steps:
        if name == "merge":
            registers[place] = registers[place].join(registers[other])
            model.merge(place, other)
        else:
            register = registers[place]
            delta = (
                register.write(_ELEMENTS[which], sites[place].dot())
                if name == "add"
                else register.clear()
            )
            registers[place] = register.join(delta)
            model.note(place, name, _ELEMENTS[which])
        expected = tagged(add[2] for add in model.live(place, lambda add, later: True))
        assert tagged(registers[place].value) == expected


@settings(max_examples=200)
@given(steps=_STEPS)
def test_flags_follow_their_winner(steps: list[tuple[str, int, int, int]]) -> None:
    """The model: a switch counts until another one saw it; then enable or disable wins."""
    model = Model()
    sites = [Site.number(place) for place in range(REPLICAS)]
    enable_wins = [EnableWinsFlag() for _ in sites]
    disable_wins = [DisableWinsFlag() for _ in sites]
    for name, place, other, _which in steps:
        if name == "merge":
            enable_wins[place] = enable_wins[place].join(enable_wins[other])
            disable_wins[place] = disable_wins[place].join(disable_wins[other])
            model.merge(place, other)
        else:
            dot = sites[place].dot()
            one, two = enable_wins[place], disable_wins[place]
            on = name == "add"
            enable_wins[place] = one.join(one.enable(dot) if on else one.disable())
            disable_wins[place] = two.join(two.enable(dot) if on else two.disable(dot))
            model.note(place, name, None)
        operations = model.visible(place)
        last = {
            later[1]
            for later in operations
            if not any(later[0] in newer[3] for newer in operations)
        }
        assert enable_wins[place].value == ("add" in last)
        assert disable_wins[place].value == (last == {"add"})


@settings(max_examples=200)
@given(steps=_STEPS)
def test_map_of_sets_is_a_set_of_pairs(steps: list[tuple[str, int, int, int]]) -> None:
    """Removing a key removes the pairs seen below it, so a set of pairs is the model."""
    sites = [Site.number(place) for place in range(REPLICAS)]
    maps = [ORMap() for _ in sites]
    pairs = [ORSet() for _ in sites]
    for name, place, other, which in steps:
        key, element = _ELEMENTS[which], _ELEMENTS[other]
        present, flat = maps[place], pairs[place]
        if name == "merge":
            maps[place] = present.join(maps[other])
            pairs[place] = flat.join(pairs[other])
        elif name == "add":
            dot = sites[place].dot()
            change = present.update(key, ORSet, lambda s, e=element, d=dot: s.add(e, d))
            maps[place] = present.join(change)
            pairs[place] = flat.join(flat.add((key, element), dot))
        else:
            maps[place] = present.join(present.remove(key))
            for pair in flat.value:
                if tagged(pair[:1]) == tagged([key]):  # type: ignore[index]
                    pairs[place] = pairs[place].join(flat.remove(pair))
        shown = [(k, e) for k in maps[place] for e in maps[place].get(k, ORSet)]
        assert len(shown) == len(pairs[place])
        assert GSet().add(*shown) == GSet().add(*pairs[place])
        assert maps[place].context == pairs[place].context


@given(
    steps=st.lists(st.tuples(_PLACES, _PLACES, st.integers(-9, 9)), max_size=20),
)
def test_counters_count_every_visible_step_once(steps: list[tuple[int, int, int]]) -> None:
    sites = [Site.number(place) for place in range(REPLICAS)]
    up = [GCounter() for _ in sites]
    both = [PNCounter() for _ in sites]
    seen: list[set[tuple[int, int]]] = [set() for _ in sites]
    for number, (place, other, by) in enumerate(steps):
        origin = sites[place].origin
        up[place] = up[place].join(up[place].increment(origin, abs(by))).join(up[other])
        count = both[place].increment if by >= 0 else both[place].decrement
        both[place] = both[place].join(count(origin, abs(by))).join(both[other])
        seen[place] |= {(number, by)} | seen[other]
        assert up[place].value == sum(abs(step) for _, step in seen[place])
        assert both[place].value == sum(step for _, step in seen[place])
