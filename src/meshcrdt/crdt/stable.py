"""Causal stability: when what a type remembers about the past may be forgotten.

A dot is causally stable when every replica has seen it and all that was written without
seeing it has arrived. Who knows that (a coordinator, receipts of all members) hands the
types that keep removes a context of such dots (finding F21; Baquero, Almeida, Shoker,
"Making operation-based CRDTs operation-based", 2014, section 5).
"""

from __future__ import annotations

from meshcrdt.base.ids import Dot
from meshcrdt.crdt.context import Context
from meshcrdt.crdt.table import Spots, spots_of


def are_stable(spots: Spots, stable: Context) -> bool:
    """Return True when all of these dots are stable.

    What belongs together is forgotten together or not at all: to forget a remove beside an
    add that is not stable would bring the element back.
    """
    return all(Dot(actor[0], actor[1], seq) in stable for actor, seq in spots_of(spots))
