"""Joining many values at once, by halves.

A join copies the larger side, so folding n deltas one by one into a growing state costs
n * n; by halves it costs n * log n. Views over streams are built this way.
"""

from __future__ import annotations

from collections.abc import Iterable
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
