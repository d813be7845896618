"""What a register decides: entries, each built on the one before."""

from __future__ import annotations

import hashlib
from functools import cached_property

from attrs import frozen

from meshcrdt.base.tree import Tree, take_bytes, take_int, take_str, take_tuple
from meshcrdt.consensus.guardians import GuardianSet
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import HASH_BYTES, encode

REGISTER_CHARACTERS_MAX = 32
BODY_BYTES_MAX = 48 * 1024


@frozen
class Entry:
    """One decision: the whole value of the register from this stamp on.

    `stamp` counts decisions from 1. `previous` is the hash of the decision before, for the
    first that of the register's beginning. `guardians` is the set in force from here on:
    of the version before when it did not change, else of the next one.
    """

    register: str
    stamp: int
    previous: bytes
    guardians: GuardianSet
    body: bytes

    @cached_property
    def hash(self) -> bytes:
        """32 bytes over everything: what guardians vote for."""
        return hashlib.blake2b(encode(self.to_tree()), digest_size=HASH_BYTES).digest()

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (self.register, self.stamp, self.previous, self.guardians.to_tree(), self.body)

    @classmethod
    def from_tree(cls, tree: Tree) -> Entry:
        """Read a tree from outside; raises MalformedTree."""
        register, stamp, previous, guardians, body = take_tuple(tree, "entry", size=5)
        return cls(
            take_register(register),
            take_int(stamp, "entry.stamp", low=1),
            take_bytes(previous, "entry.previous", size=HASH_BYTES),
            GuardianSet.from_tree(guardians),
            take_bytes(body, "entry.body", size_max=BODY_BYTES_MAX),
        )


def take_register(tree: Tree) -> str:
    """Read the name of a register; raises MalformedTree."""
    name = take_str(tree, "register", size_max=REGISTER_CHARACTERS_MAX)
    if not (name and name.isascii() and name.isprintable()):
        raise MalformedTree(f"register {name!r} is not a name: printable ASCII is accepted")
    return name


def beginning(register: str, genesis: bytes, guardians: GuardianSet) -> bytes:
    """Return what the first entry of a register names as the one before it."""
    root = encode(("meshcrdt register", register, genesis, guardians.to_tree()))
    return hashlib.blake2b(root, digest_size=HASH_BYTES).digest()
