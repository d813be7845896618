"""Many values or changes as one: joining by halves, and changes that apply whole.

A join costs the smaller side and now and then a copy of the larger, so folding n deltas
by halves costs n * log n at most. Views over streams are built this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from meshcrdt.abc import Lattice

L = TypeVar("L", bound=Lattice)


def join_all(kind: type[L], values: Iterable[L]) -> L:
    """Return the join of all values of `kind`; bottom when there are none."""
    row = list(values)
    while len(row) > 1:
        paired = [low.join(high) for low, high in zip(row[::2], row[1::2], strict=False)]
        row = paired + row[len(paired) * 2 :]
    return row[0] if row else kind.bottom()


def transaction(state: L, *changes: Callable[[L], L]) -> L:
    """Return one delta for several changes, each of which sees those before it.

    Each change gets the state and returns a mutator's delta. A delta joins whole or not at
    all, so whoever joins it never shows a part of it: several keys of a map change at once,
    and whatever was seen before the transaction is in its causal past. Raises what a change
    raises, with nothing changed.
    """
    whole = type(state).bottom()
    for change in changes:
        delta = change(state)
        state = state.join(delta)
        whole = whole.join(delta)
    return whole
