"""Every type against its definition: a model that remembers all operations and who saw them.

A model knows nothing of dots, contexts or joins. It has the operations, each with the
operations that its replica had seen, and says from those alone what a reader sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from meshcrdt.base.ids import PeerId
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
from meshcrdt.testing import Site

REPLICAS = 3
ORIGINS: tuple[PeerId, ...] = tuple(Site.number(place).origin for place in range(REPLICAS))

Mutator = Callable[[Any, Site], Any]


@frozen
class Op:
    """One operation in the log: what, where, and what was seen there (a set of numbers)."""

    name: str
    place: int
    seen: int
    note: Any = None


Log = list[Op]


@frozen
class Case:
    """A type, its operations by name, and what a reader sees of a set of operations."""

    kind: type[Any]
    mutators: dict[str, Mutator]
    expected: Callable[[Log, int], Any]
    shown: Callable[[Any], Any] = lambda state: state.value
    note: Callable[[Log, str, int, int], Any] = lambda log, name, place, seen: None
    """What the model remembers of an operation beside what was seen; None most of the time."""
    allowed: Callable[[Log, str, int, int], bool] = lambda log, name, place, seen: True
    """Whether an operation may be done with what is seen; if not the type has to refuse it."""
    core: tuple[str, ...] = ()
    """The operations that the longest walks of a usual run are made of; none: all of them."""
    is_symmetric: bool = True
    """False where the places themselves decide something, as when origins break ties."""


def numbers(mask: int) -> Iterator[int]:
    """Yield the members of a set of numbers."""
    number = 0
    while mask:
        if mask & 1:
            yield number
        mask >>= 1
        number += 1


def unseen(log: Log, mask: int, by: Callable[[Op], bool], of: Callable[[Op], bool]) -> list[Op]:
    """Return the operations `of` that no operation `by` in the set has seen."""
    covered = 0
    for number in numbers(mask):
        if by(log[number]):
            covered |= log[number].seen
    return [log[n] for n in numbers(mask & ~covered) if of(log[n])]


def count(steps: dict[str, int]) -> Callable[[Log, int], int]:
    """Return a model that adds up what each operation counts."""
    return lambda log, mask: sum(steps.get(log[n].name, 0) for n in numbers(mask))


def observed_remove(log: Log, mask: int) -> tuple[str, ...]:
    """Return the elements of which an add is there that no remove of it saw."""

    def live(element: str) -> bool:
        removes = (f"remove {element}", "clear")
        adds = unseen(
            log, mask, lambda op: op.name in removes, lambda op: op.name == f"add {element}"
        )
        return bool(adds)

    return tuple(element for element in ("x", "y") if live(element))


def remove_wins(log: Log, mask: int) -> tuple[str, ...]:
    """Return the elements whose latest operations, of which no other saw one, are all adds."""

    def live(element: str) -> bool:
        mine = (f"add {element}", f"remove {element}")
        last = unseen(log, mask, lambda op: op.name in mine, lambda op: op.name in mine)
        return bool(last) and all(op.name == mine[0] for op in last)

    return tuple(element for element in ("x", "y") if live(element))


def chain_length(log: Log, name: str, place: int, seen: int) -> int:
    """Return the causal length that an operation makes: one more, if it changes anything."""
    length = max((log[n].note for n in numbers(seen)), default=0)
    return length + (length % 2 == (name == "remove x"))


def longest_is_odd(log: Log, mask: int) -> tuple[str, ...]:
    """Return x when the longest chain of changes ends with an add."""
    return ("x",) if max((log[n].note for n in numbers(mask)), default=0) % 2 else ()


def switches(winner: str) -> Callable[[Log, int], bool]:
    """Return the model of a flag: the switches that nobody saw, and which of them wins."""

    def model(log: Log, mask: int) -> bool:
        last = {op.name for op in unseen(log, mask, lambda op: True, lambda op: True)}
        return "enable" in last if winner == "enable" else last == {"enable"}

    return model


def unreplaced(log: Log, mask: int) -> tuple[str, ...]:
    """Return the values of the writes that no later write or clear saw."""
    writes = unseen(log, mask, lambda op: True, lambda op: op.name.startswith("write"))
    return tuple(sorted({op.name.removeprefix("write ") for op in writes}))


def stamp(log: Log, name: str, place: int, seen: int) -> tuple[int, int, str]:
    """Return (time, origin, value) of a write: its own time, or just after what it saw."""
    value, time = name.removeprefix("write ").split("@")
    after = max((log[n].note[0] + 1 for n in numbers(seen)), default=0)
    return (max(int(time), after), place, value)


def latest(log: Log, mask: int) -> str | None:
    """Return the value with the greatest stamp."""
    return max(((*log[n].note[:2], log[n].note[2]) for n in numbers(mask)), default=(0, 0, None))[2]


def own_latest(log: Log, mask: int) -> dict[PeerId, str]:
    """Return the last value that each origin wrote."""
    return {ORIGINS[log[n].place]: log[n].name.removeprefix("put ") for n in numbers(mask)}


def rights(log: Log, mask: int) -> tuple[int, dict[PeerId, int]]:
    """Return the count, and what each peer may spend: all that it gained less what it gave."""
    left = dict.fromkeys(ORIGINS, 0)
    total = 0
    for n in numbers(mask):
        op = log[n]
        me = ORIGINS[op.place]
        match op.name.split():
            case ["add"]:
                left[me] += 2
                total += 2
            case ["spend"]:
                left[me] -= 1
                total -= 1
            case ["give", to]:
                left[me] -= 1
                left[ORIGINS[(op.place + int(to)) % REPLICAS]] += 1
    return total, {peer: room for peer, room in left.items() if room > 0}


def can_afford(log: Log, name: str, place: int, seen: int) -> bool:
    """Return True unless an operation takes what its replica may not spend."""
    return name == "add" or ORIGINS[place] in rights(log, seen)[1]


def nested(log: Log, mask: int) -> dict[str, Any]:
    """Return the map: what was added below a key and not removed with what was seen there."""

    def below(name: str, removers: tuple[str, ...]) -> list[Op]:
        return unseen(log, mask, lambda op: op.name in removers, lambda op: op.name == name)

    shown: dict[str, Any] = {}
    if below("add deep", ("remove deep", "remove")):
        shown["ormap"] = {"b": {"orset": ("x",)}}
    if below("write", ("write", "remove")):
        shown["mvreg"] = ("v",)
    return {"a": shown} if shown else {}


def _give(distance: int) -> Mutator:
    def give(state: BoundedCounter, site: Site) -> BoundedCounter:
        place = ORIGINS.index(site.origin)
        return state.transfer(site.origin, ORIGINS[(place + distance) % REPLICAS], 1)

    return give


def _deep(change: Callable[[ORMap], ORMap]) -> Callable[[ORMap], ORMap]:
    return lambda state: state.update("a", ORMap, change)


ADD_REMOVE: dict[str, Mutator] = {
    "add x": lambda s, site: s.add("x", site.dot()),
    "add y": lambda s, site: s.add("y", site.dot()),
    "remove x": lambda s, site: s.remove("x"),
    "clear": lambda s, site: s.clear(),
}

CASES: dict[str, Case] = {
    "bounded_counter": Case(
        BoundedCounter,
        {
            "add": lambda s, site: s.increment(site.origin, 2),
            "spend": lambda s, site: s.decrement(site.origin),
            "give 1": _give(1),
            "give 2": _give(2),
        },
        rights,
        shown=lambda s: (s.value, dict(s.quotas)),
        allowed=can_afford,
    ),
    "clset": Case(
        CausalLengthSet,
        {"add x": lambda s, site: s.add("x"), "remove x": lambda s, site: s.remove("x")},
        longest_is_odd,
        note=chain_length,
    ),
    "context": Case(
        Context,
        {"see": lambda s, site: Context.of([site.dot()])},
        lambda log, mask: mask.bit_count(),
        shown=lambda s: s.size,
    ),
    "disable_wins_flag": Case(
        DisableWinsFlag,
        {
            "enable": lambda s, site: s.enable(site.dot()),
            "disable": lambda s, site: s.disable(site.dot()),
        },
        switches("disable"),
    ),
    "enable_wins_flag": Case(
        EnableWinsFlag,
        {"enable": lambda s, site: s.enable(site.dot()), "disable": lambda s, site: s.disable()},
        switches("enable"),
    ),
    "gcounter": Case(
        GCounter,
        {
            "1": lambda s, site: s.increment(site.origin),
            "2": lambda s, site: s.increment(site.origin, 2),
        },
        count({"1": 1, "2": 2}),
    ),
    "gset": Case(
        GSet,
        {"add x": lambda s, site: s.add("x"), "add y": lambda s, site: s.add("y")},
        observed_remove,
    ),
    "lww": Case(
        LWWRegister,
        {
            "write a@1": lambda s, site: s.write("a", time=1, origin=site.origin),
            "write b@2": lambda s, site: s.write("b", time=2, origin=site.origin),
        },
        latest,
        note=stamp,
        is_symmetric=False,
    ),
    "mvreg": Case(
        MVRegister,
        {
            "write a": lambda s, site: s.write("a", site.dot()),
            "write b": lambda s, site: s.write("b", site.dot()),
            "clear": lambda s, site: s.clear(),
        },
        unreplaced,
        core=("write a", "clear"),
    ),
    "origin_map": Case(
        OriginMap,
        {
            "put a": lambda s, site: s.put("a", site.dot()),
            "put b": lambda s, site: s.put("b", site.dot()),
        },
        own_latest,
    ),
    "ormap": Case(
        ORMap,
        {
            "add deep": lambda s, site: _deep(
                lambda m: m.update("b", ORSet, lambda e: e.add("x", site.dot()))
            )(s),
            "remove deep": lambda s, site: _deep(lambda m: m.remove("b"))(s),
            "write": lambda s, site: s.write("a", "v", site.dot()),
            "remove": lambda s, site: s.remove("a"),
        },
        nested,
        core=("add deep", "remove"),
    ),
    "orset": Case(ORSet, ADD_REMOVE, observed_remove, core=("add x", "remove x")),
    "pncounter": Case(
        PNCounter,
        {
            "up": lambda s, site: s.increment(site.origin, 3),
            "down": lambda s, site: s.decrement(site.origin, 2),
        },
        count({"up": 3, "down": -2}),
    ),
    "rwset": Case(
        RemoveWinsSet,
        {
            "add x": lambda s, site: s.add("x", site.dot()),
            "add y": lambda s, site: s.add("y", site.dot()),
            "remove x": lambda s, site: s.remove("x", site.dot()),
        },
        remove_wins,
        core=("add x", "remove x"),
    ),
}
