"""Canonical trees: what every record and lattice gives and takes.

A tree is None, bool, int, bytes, str or a tuple of trees. There are no maps and no
floats, so there is exactly one encoding of a value; `wire` turns trees into bytes. The
helpers below read a tree that came from outside: each raises MalformedTree naming the
field, what it was and what is accepted.
"""

from __future__ import annotations

from typing import TypeAlias

from meshcrdt.base.ids import INSTANCE_BYTES, PEER_ID_BYTES, Epoch, PeerId
from meshcrdt.errors import MalformedTree

Tree: TypeAlias = bool | int | bytes | str | tuple["Tree", ...] | None

INT_MAX = (1 << 63) - 1


def take_tuple(tree: Tree, field: str, *, size: int | None = None) -> tuple[Tree, ...]:
    """Return `tree` as a tuple, of exactly `size` items where given."""
    if type(tree) is not tuple:
        raise MalformedTree(f"{field} is {type(tree).__name__}: a list is expected")
    if size is not None and len(tree) != size:
        raise MalformedTree(f"{field} has {len(tree)} items: {size} are expected")
    return tree


def take_int(tree: Tree, field: str, *, low: int = 0, high: int = INT_MAX) -> int:
    """Return `tree` as an int within [low, high]; a bool is not an int."""
    if type(tree) is not int:
        raise MalformedTree(f"{field} is {type(tree).__name__}: an integer is expected")
    if not low <= tree <= high:
        raise MalformedTree(f"{field} is {tree}: {low} to {high} is accepted")
    return tree


def take_bytes(
    tree: Tree, field: str, *, size: int | None = None, size_max: int | None = None
) -> bytes:
    """Return `tree` as bytes, of exactly `size` or at most `size_max` bytes where given."""
    if not isinstance(tree, bytes):
        raise MalformedTree(f"{field} is {type(tree).__name__}: bytes are expected")
    if size is not None and len(tree) != size:
        raise MalformedTree(f"{field} has {len(tree)} bytes: {size} are expected")
    if size_max is not None and len(tree) > size_max:
        raise MalformedTree(f"{field} has {len(tree)} bytes: at most {size_max} are accepted")
    return tree


def take_str(tree: Tree, field: str, *, size_max: int = 4096) -> str:
    """Return `tree` as text of at most `size_max` characters."""
    if type(tree) is not str:
        raise MalformedTree(f"{field} is {type(tree).__name__}: text is expected")
    if len(tree) > size_max:
        raise MalformedTree(f"{field} has {len(tree)} characters: at most {size_max} are accepted")
    return tree


def take_line(tree: Tree, field: str, *, size_max: int = 4096) -> str:
    """Return `tree` as text without control characters: it reaches terminals and logs."""
    text = take_str(tree, field, size_max=size_max)
    if not text.isprintable():
        raise MalformedTree(f"{field} is {text!r}: printable characters are accepted")
    return text


def take_lines(tree: Tree, field: str, *, count_max: int, size_max: int) -> tuple[str, ...]:
    """Return `tree` as at most `count_max` such texts of at most `size_max` characters."""
    items = take_tuple(tree, field)
    if len(items) > count_max:
        raise MalformedTree(f"{field} has {len(items)} items: at most {count_max} are accepted")
    return tuple(take_line(item, field, size_max=size_max) for item in items)


def take_peer(tree: Tree, field: str) -> PeerId:
    """Return `tree` as a peer id."""
    return PeerId(take_bytes(tree, field, size=PEER_ID_BYTES))


def take_epoch(tree: Tree, field: str) -> Epoch:
    """Return `tree`, (counter, instance), as an epoch."""
    counter, instance = take_tuple(tree, field, size=2)
    return Epoch(
        take_int(counter, f"{field}.counter"),
        take_bytes(instance, f"{field}.instance", size=INSTANCE_BYTES),
    )


def epoch_tree(epoch: Epoch) -> Tree:
    """Return the tree of an epoch."""
    return (epoch.counter, epoch.instance)
