"""All interleavings of a few operations on three replicas, each compared with a model.

An operation changes one replica or merges one replica into another. Orders that cannot
differ are walked once: names of replicas are taken in the order of their first use where
a type treats them alike, of two neighbouring operations that touch nothing in common the
lower goes first (each such class of orders has a least member, and only that is left), and
merging what is known already is no operation. Prefixes are shared, since states are values.
"""

from __future__ import annotations

from typing import Any

from crdt_models import REPLICAS, Case, Log, Op

from meshcrdt.errors import CapacityError
from meshcrdt.testing import Site

Letter = tuple[int, str, int]
"""(replica that changes, operation or "" for a merge, replica that is merged into it)."""


class Differs(AssertionError):
    """The type shows something else than the model, after the operations of the message."""


class Walk:
    """A depth-first walk; `orders` counts the interleavings that were judged."""

    def __init__(
        self, case: Case, *, kind: type[Any] | None = None, names: tuple[str, ...] = ()
    ) -> None:
        self.case = case
        self.kind = kind or case.kind
        self.orders = 0
        self.refused = 0
        self.letters: list[Letter] = sorted(
            [(place, name, place) for place in range(REPLICAS) for name in names or case.mutators]
            + [(i, "", j) for i in range(REPLICAS) for j in range(REPLICAS) if i != j]
        )

    def run(self, length: int) -> None:
        """Walk all interleavings of `length` operations, and so all shorter ones."""
        bottom = self.kind.bottom()
        self._go([], (bottom,) * REPLICAS, (0,) * REPLICAS, bottom, (), length)

    def _go(
        self,
        log: Log,
        states: tuple[Any, ...],
        seen: tuple[int, ...],
        deltas: Any,
        trail: tuple[Letter, ...],
        left: int,
    ) -> None:
        if not left:
            self.orders += 1
            self._judge_end(log, states, deltas, trail)
            return
        used = max((max(letter[0], letter[2]) for letter in trail), default=-1)
        for letter in self.letters:
            place, name, source = letter
            if self.case.is_symmetric and max(place, source) > used + 1:
                continue
            if trail and letter < trail[-1] and _are_apart(letter, trail[-1]):
                continue
            if name:
                self._change(log, states, seen, deltas, (*trail, letter), left)
            elif seen[source] & ~seen[place]:
                state = states[place].join(states[source])
                mask = seen[place] | seen[source]
                self._judge(log, state, mask, (*trail, letter))
                after = _with(states, place, state), _with(seen, place, mask)
                self._go(log, *after, deltas, (*trail, letter), left - 1)

    def _change(
        self,
        log: Log,
        states: tuple[Any, ...],
        seen: tuple[int, ...],
        deltas: Any,
        trail: tuple[Letter, ...],
        left: int,
    ) -> None:
        place, name, _ = trail[-1]
        site = Site.number(place)
        site.seq = sum(op.place == place for op in log)
        may = self.case.allowed(log, name, place, seen[place])
        try:
            delta = self.case.mutators[name](states[place], site)
        except CapacityError:
            self.refused += 1
            self._judge(log, states[place], seen[place], trail)
            if may:
                raise Differs(f"{_told(trail)}: refused, the model allows it") from None
            return
        if not may:
            raise Differs(f"{_told(trail)}: done, the model refuses it")
        note = self.case.note(log, name, place, seen[place])
        longer = [*log, Op(name, place, seen[place], note)]
        mask = seen[place] | 1 << len(log)
        state = states[place].join(delta)
        self._judge(longer, state, mask, trail)
        after = _with(states, place, state), _with(seen, place, mask)
        self._go(longer, *after, deltas.join(delta), trail, left - 1)

    def _judge(self, log: Log, state: Any, mask: int, trail: tuple[Letter, ...]) -> None:
        shown, expected = self.case.shown(state), self.case.expected(log, mask)
        if shown != expected:
            raise Differs(f"{_told(trail)}: shows {shown!r}, the model {expected!r}")

    def _judge_end(
        self, log: Log, states: tuple[Any, ...], deltas: Any, trail: tuple[Letter, ...]
    ) -> None:
        """All deltas together, all states together, and the model: one value."""
        one, two, three = states
        whole = three.join(one).join(two)
        self._judge(log, whole, (1 << len(log)) - 1, trail)
        if whole != deltas or whole != two.join(three.join(one)):
            raise Differs(f"{_told(trail)}: joined states differ from joined deltas")


def _are_apart(one: Letter, two: Letter) -> bool:
    """Return True when neither operation changes what the other reads or changes."""
    return one[0] not in (two[0], two[2]) and two[0] != one[2]


def _with(items: tuple[Any, ...], place: int, item: Any) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])


def _told(trail: tuple[Letter, ...]) -> str:
    return "; ".join(f"{place}: {name or f'merge {source}'}" for place, name, source in trail)
