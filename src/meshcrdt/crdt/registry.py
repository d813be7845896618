"""The names of lattice types, for channels and nested maps.

A nested map writes the name of each value's type into its tree, and a channel declares
the name of its lattice; this table turns names into classes. User lattices join it with
the same decorator as ours, so nothing in the package is special.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from meshcrdt.abc import Lattice
from meshcrdt.errors import UsageError

T = TypeVar("T", bound=Lattice)

NAME_CHARACTERS_MAX = 64

types: dict[str, type[Lattice]] = {}
"""Type by name; filled by `registered`, read by anyone."""

_names: dict[type[Lattice], str] = {}


def registered(name: str) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that enters a lattice type under `name`.

    Raises UsageError when the name is empty, longer than 64 characters, not printable
    ASCII, or already stands for another class.
    """
    if not name or len(name) > NAME_CHARACTERS_MAX or not (name.isascii() and name.isprintable()):
        raise UsageError(f"{name!r} is not a type name: 1 to 64 printable ASCII characters")

    def enter(kind: type[T]) -> type[T]:
        if name in types and types[name] is not kind:
            raise UsageError(f"type name {name!r} already stands for {types[name].__qualname__}")
        types[name] = kind
        _names[kind] = name
        return kind

    return enter


def name_of(kind: type[Lattice]) -> str:
    """Return the name of a registered type; raises UsageError for any other."""
    name = _names.get(kind)
    if name is None:
        raise UsageError(f"{kind.__qualname__} has no name: use meshcrdt.crdt.registered first")
    return name
