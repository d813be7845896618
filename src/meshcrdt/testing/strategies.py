"""Hypothesis strategies for our own lattices: reachable histories of every type.

Users reuse them to test code that holds our types; our own tests run the laws on them.
The element alphabet is small, so that replicas collide, and nasty: `1` beside `True`,
text beside the same bytes, lists beside their items.
"""

from __future__ import annotations

from typing import Any

from meshcrdt.base.tree import Tree
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
    RemoveWinsSet,
)
from meshcrdt.errors import MissingExtra, UsageError
from meshcrdt.testing.history import REPLICAS, STEPS_MAX, History, Operation, Site, histories

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingExtra("testing", "hypothesis") from error

ALPHABET: tuple[Tree, ...] = ("a", b"a", 1, True, 0, False, None, "", ("a",), ((), 1), "é")

MAP_KEYS: tuple[Tree, ...] = ("k", 1, True)
MAP_STEPS = ("set", "register", "map", "counter", "write", "many", "remove", "clear")

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def elements() -> st.SearchStrategy[Tree]:
    """Draw an element from the small alphabet."""
    return st.sampled_from(ALPHABET)


def trees() -> st.SearchStrategy[Tree]:
    """Draw any small tree."""
    leaves: st.SearchStrategy[Tree] = st.one_of(
        st.none(), st.booleans(), _INT64, st.binary(max_size=8), st.text(max_size=8)
    )
    return st.recursive(leaves, lambda items: st.lists(items, max_size=3).map(tuple), max_leaves=6)


def change_gcounter(draw: st.DrawFn, state: GCounter, site: Site) -> GCounter:
    """Draw an increment."""
    return state.increment(site.origin, draw(st.integers(0, 5)))


def change_pncounter(draw: st.DrawFn, state: PNCounter, site: Site) -> PNCounter:
    """Draw an increment or decrement."""
    by = draw(st.integers(-5, 5))
    if by < 0:
        return state.decrement(site.origin, -by)
    return state.increment(site.origin, by)


def change_lww(draw: st.DrawFn, state: LWWRegister, site: Site) -> LWWRegister:
    """Draw a write; times collide on purpose."""
    return state.write(draw(elements()), time=draw(st.integers(0, 3)), origin=site.origin)


def change_gset(draw: st.DrawFn, state: GSet, site: Site) -> GSet:
    """Draw an addition of up to two elements."""
    return state.add(*draw(st.lists(elements(), max_size=2)))


def change_context(draw: st.DrawFn, state: Context, site: Site) -> Context:
    """Take one or two of the site's dots, so that gaps appear."""
    return Context.of(site.dot() for _ in range(draw(st.integers(1, 2))))


def change_origin_map(draw: st.DrawFn, state: OriginMap, site: Site) -> OriginMap:
    """Draw the site's next value."""
    return state.put(draw(elements()), site.dot())


def change_orset(draw: st.DrawFn, state: ORSet, site: Site) -> ORSet:
    """Draw an add, a remove or a clear."""
    match draw(st.sampled_from(("add", "add", "remove", "clear"))):
        case "add":
            return state.add(draw(elements()), site.dot())
        case "remove":
            held = state.value
            return state.remove(draw(st.sampled_from(held) if held else elements()))
        case _:
            return state.clear()


def change_rwset(draw: st.DrawFn, state: RemoveWinsSet, site: Site) -> RemoveWinsSet:
    """Draw an add or a remove, also of what is not in."""
    if draw(st.booleans()):
        return state.add(draw(elements()), site.dot())
    held = state.value
    return state.remove(draw(st.sampled_from(held) if held else elements()), site.dot())


def change_clset(draw: st.DrawFn, state: CausalLengthSet, site: Site) -> CausalLengthSet:
    """Draw an add or a remove."""
    held = state.value
    if draw(st.booleans()):
        return state.add(draw(elements()))
    return state.remove(draw(st.sampled_from(held) if held else elements()))


def change_bounded(draw: st.DrawFn, state: BoundedCounter, site: Site) -> BoundedCounter:
    """Draw an increment, or a decrement or transfer of what the site may spend."""
    room = state.available(site.origin)
    step = draw(st.sampled_from(("increment", "decrement", "transfer")))
    if step == "increment" or not room:
        return state.increment(site.origin, draw(st.integers(0, 5)))
    by = draw(st.integers(1, room))
    peers = [Site.number(place).origin for place in range(REPLICAS)]
    to = draw(st.sampled_from([peer for peer in peers if peer != site.origin]))
    if step == "decrement":
        return state.decrement(site.origin, by)
    return state.transfer(site.origin, to, by)


def change_mvreg(draw: st.DrawFn, state: MVRegister, site: Site) -> MVRegister:
    """Draw a write or, seldom, a clear."""
    if draw(st.integers(0, 4)) == 0:
        return state.clear()
    return state.write(draw(elements()), site.dot())


def change_enable_wins(draw: st.DrawFn, state: EnableWinsFlag, site: Site) -> EnableWinsFlag:
    """Draw a switch."""
    return state.enable(site.dot()) if draw(st.booleans()) else state.disable()


def change_disable_wins(draw: st.DrawFn, state: DisableWinsFlag, site: Site) -> DisableWinsFlag:
    """Draw a switch."""
    return state.enable(site.dot()) if draw(st.booleans()) else state.disable(site.dot())


def change_ormap(draw: st.DrawFn, state: ORMap, site: Site) -> ORMap:
    """Draw a change at a key: nested set, register, map or counter, or a removal."""
    key = draw(st.sampled_from(MAP_KEYS))
    match draw(st.sampled_from(MAP_STEPS)):
        case "many":
            keys = draw(st.lists(st.sampled_from(MAP_KEYS), max_size=4))
            pairs = [(each, draw(elements())) for each in keys]
            delta = state.write_many(pairs, site.origin, site.epoch)
            site.seq = max(site.seq, delta.next_dot(site.origin, site.epoch).seq - 1)
            return delta
        case "write":
            return state.write(key, draw(elements()), site.dot())
        case "set":
            return state.update(key, ORSet, lambda inner: change_orset(draw, inner, site))
        case "register":
            return state.update(key, MVRegister, lambda inner: change_mvreg(draw, inner, site))
        case "map":
            return state.update(key, ORMap, lambda inner: change_ormap(draw, inner, site))
        case "counter":
            counted = state.get(key, GCounter).increment(site.origin, draw(st.integers(1, 3)))
            return state.put(key, counted, site.dot())
        case "remove":
            return state.remove(key)
        case _:
            return state.clear()


OPERATIONS: dict[type[Any], Operation[Any]] = {
    BoundedCounter: change_bounded,
    CausalLengthSet: change_clset,
    Context: change_context,
    DisableWinsFlag: change_disable_wins,
    EnableWinsFlag: change_enable_wins,
    GCounter: change_gcounter,
    GSet: change_gset,
    LWWRegister: change_lww,
    MVRegister: change_mvreg,
    ORMap: change_ormap,
    ORSet: change_orset,
    OriginMap: change_origin_map,
    PNCounter: change_pncounter,
    RemoveWinsSet: change_rwset,
}
"""How each of our types is changed."""


def histories_of(kind: type[Any], *, steps_max: int = STEPS_MAX) -> st.SearchStrategy[History[Any]]:
    """Draw histories of one of our types, or of a subclass; raises UsageError for others."""
    for base in kind.__mro__:
        if base in OPERATIONS:
            return histories(kind, OPERATIONS[base], steps_max=steps_max)
    raise UsageError(f"{kind.__qualname__} is not one of our types: use histories")
