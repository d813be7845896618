"""Every interleaving of three concurrent changes converges: exhaustive, not sampled.

Three replicas start from one state; each makes one change and sends its delta to both
others. All 13 440 orders of the three changes and six deliveries are walked, once with
deltas and once with whole states; in each, the three replicas must end byte-equal, and
receiving everything again must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshcrdt.crdt import (
    BoundedCounter,
    CausalLengthSet,
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
    RemoveWinsSet,
)
from meshcrdt.testing import Site

Change = Callable[[Any, Site], Any]
Event = tuple[int, int]
"""(i, i): replica i changes; (i, j): what i made reaches j."""

EVENTS: tuple[Event, ...] = tuple((i, j) for i in range(3) for j in range(3))
ORDERS = 13_440


def start_set(site: Site) -> ORSet:
    return ORSet().add("x", site.dot())


def start_map(site: Site) -> ORMap:
    return ORMap().update("k", ORSet, lambda s: s.add("x", site.dot()))


CASES: dict[str, tuple[Callable[[Site], Any], tuple[Change, Change, Change]]] = {
    "gcounter": (
        lambda site: GCounter().increment(site.origin),
        tuple([lambda state, site: state.increment(site.origin, 2)] * 3),
    ),
    "pncounter": (
        lambda site: PNCounter(),
        (
            lambda state, site: state.increment(site.origin, 2),
            lambda state, site: state.decrement(site.origin, 3),
            lambda state, site: state.increment(site.origin, 5),
        ),
    ),
    "lww": (
        lambda site: LWWRegister(),
        (
            lambda state, site: state.write("a", time=1, origin=site.origin),
            lambda state, site: state.write("b", time=1, origin=site.origin),
            lambda state, site: state.write("c", time=2, origin=site.origin),
        ),
    ),
    "mvreg": (
        lambda site: MVRegister().write("old", site.dot()),
        (
            lambda state, site: state.write("a", site.dot()),
            lambda state, site: state.write("b", site.dot()),
            lambda state, site: state.clear(),
        ),
    ),
    "gset": (
        lambda site: GSet(),
        (
            lambda state, site: state.add(1),
            lambda state, site: state.add(True),
            lambda state, site: state.add("x", 1),
        ),
    ),
    "orset add, remove, clear": (
        start_set,
        (
            lambda state, site: state.add("x", site.dot()),
            lambda state, site: state.remove("x"),
            lambda state, site: state.clear(),
        ),
    ),
    "orset add, add, remove": (
        start_set,
        (
            lambda state, site: state.add("x", site.dot()),
            lambda state, site: state.add("y", site.dot()),
            lambda state, site: state.remove("x"),
        ),
    ),
    "enable wins": (
        lambda site: EnableWinsFlag().enable(site.dot()),
        (
            lambda state, site: state.enable(site.dot()),
            lambda state, site: state.disable(),
            lambda state, site: state.disable(),
        ),
    ),
    "disable wins": (
        lambda site: DisableWinsFlag().enable(site.dot()),
        (
            lambda state, site: state.enable(site.dot()),
            lambda state, site: state.disable(site.dot()),
            lambda state, site: state.enable(site.dot()),
        ),
    ),
    "ormap": (
        start_map,
        (
            lambda state, site: state.update("k", ORSet, lambda s: s.add("y", site.dot())),
            lambda state, site: state.remove("k"),
            lambda state, site: state.put(
                "k", state.get("k", GCounter).increment(site.origin), site.dot()
            ),
        ),
    ),
    "remove wins": (
        lambda site: RemoveWinsSet().add("x", site.dot()),
        (
            lambda state, site: state.add("x", site.dot()),
            lambda state, site: state.remove("x", site.dot()),
            lambda state, site: state.add("y", site.dot()),
        ),
    ),
    "causal length": (
        lambda site: CausalLengthSet().add("x"),
        (
            lambda state, site: state.remove("x"),
            lambda state, site: state.remove("x").join(state.add("y")),
            lambda state, site: state.add("x"),
        ),
    ),
    "bounded counter": (
        lambda site: BoundedCounter().increment(site.origin, 5),
        (
            lambda state, site: state.transfer(site.origin, Site.number(1).origin, 2),
            lambda state, site: state.increment(site.origin, 3),
            lambda state, site: state.increment(site.origin).join(
                state.join(state.increment(site.origin)).decrement(site.origin)
            ),
        ),
    ),
    "ormap of registers": (
        lambda site: ORMap().write_many([("a", 1), ("b", 1)], site.origin, site.epoch),
        (
            lambda state, site: state.write("a", 2, state.next_dot(site.origin, site.epoch)),
            lambda state, site: state.write_many({"a": 3, "c": 3}, site.origin, site.epoch),
            lambda state, site: state.remove("a", "b"),
        ),
    ),
    "origin map": (
        lambda site: OriginMap().put("old", site.dot()),
        tuple([lambda state, site: state.put("new", site.dot())] * 3),
    ),
}


class Walk:
    """A depth-first walk over all orders; prefixes are shared, since states are immutable."""

    def __init__(self, changes: tuple[Change, ...], *, whole_states: bool) -> None:
        self.changes = changes
        self.whole_states = whole_states
        self.orders = 0
        self.sites = [Site.number(place) for place in range(3)]
        for site in self.sites:
            site.restart()  # dots below are given per order: the walk rewinds them

    def run(self, states: tuple[Any, ...], made: tuple[Any, ...], left: tuple[Event, ...]) -> None:
        if not left:
            self.judge(states, made)
            return
        for place, (source, target) in enumerate(left):
            rest = left[:place] + left[place + 1 :]
            if source == target:
                site = self.sites[source]
                site.seq = 0
                delta = self.changes[source](states[source], site)
                changed = states[source].join(delta)
                sent = changed if self.whole_states else delta
                self.run(_with(states, source, changed), _with(made, source, sent), rest)
            elif made[source] is not None:
                received = states[target].join(made[source])
                self.run(_with(states, target, received), made, rest)

    def judge(self, states: tuple[Any, ...], made: tuple[Any, ...]) -> None:
        self.orders += 1
        first = states[0]
        assert first == states[1] == states[2]
        assert all(first.join(again) == first for again in made)


def _with(items: tuple[Any, ...], place: int, item: Any) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])


@pytest.mark.parametrize("whole_states", [False, True], ids=["deltas", "states"])
@pytest.mark.parametrize("name", CASES)
def test_every_interleaving_converges(name: str, whole_states: bool) -> None:
    start, changes = CASES[name]
    common = start(Site.number(0))
    walk = Walk(changes, whole_states=whole_states)
    walk.run((common,) * 3, (None,) * 3, EVENTS)
    assert walk.orders == ORDERS
