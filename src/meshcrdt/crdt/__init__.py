"""Floor 1: conflict-free replicated values, one lattice per file.

Each is an immutable value with `bottom`, `join`, `leq`, `decompose`, `to_tree` and
`from_tree` (see `meshcrdt.abc.Lattice`), a `.value` for people, and mutators that return
deltas: join a delta into the state you hold, and send it to whom you like, in any order,
as often as you like. Elements, keys and values are trees. docs/types.md is the catalogue.
"""

from meshcrdt.crdt.bounded import BoundedCounter
from meshcrdt.crdt.clset import CausalLengthSet
from meshcrdt.crdt.context import Context
from meshcrdt.crdt.dots import DotStore
from meshcrdt.crdt.flags import DisableWinsFlag, EnableWinsFlag
from meshcrdt.crdt.fold import join_all, transaction
from meshcrdt.crdt.gcounter import GCounter
from meshcrdt.crdt.gset import GSet
from meshcrdt.crdt.lww import LWWRegister
from meshcrdt.crdt.mvreg import MVRegister
from meshcrdt.crdt.origin_map import OriginMap
from meshcrdt.crdt.ormap import ORMap
from meshcrdt.crdt.orset import ORSet
from meshcrdt.crdt.pncounter import PNCounter
from meshcrdt.crdt.registry import name_of, registered, types
from meshcrdt.crdt.removal import Removal
from meshcrdt.crdt.rwset import RemoveWinsSet

__all__ = [
    "BoundedCounter",
    "CausalLengthSet",
    "Context",
    "DisableWinsFlag",
    "DotStore",
    "EnableWinsFlag",
    "GCounter",
    "GSet",
    "LWWRegister",
    "MVRegister",
    "ORMap",
    "ORSet",
    "OriginMap",
    "PNCounter",
    "Removal",
    "RemoveWinsSet",
    "join_all",
    "name_of",
    "registered",
    "transaction",
    "types",
]
