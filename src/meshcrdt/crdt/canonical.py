"""Tagged elements: trees made hashable, sortable and exact.

Python holds that `True == 1`, and cannot order text against bytes, so a plain dict or
sort would mix up elements that differ on the wire. Every lattice here therefore keeps
its elements as tagged tuples, whose order is the canonical order of its tree. Bounds are
checked at the tag, once, for local callers (UsageError) and peers (MalformedTree) alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias, cast

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.errors import MalformedTree, UsageError

Tagged: TypeAlias = tuple[Any, ...]
"""(rank, payload) of a scalar, (5, tagged, ...) of a list; compares and hashes exactly."""

ELEMENT_DEPTH_MAX = 8
"""Lists within lists in one element; lattices add up to six levels of their own."""
ENTRIES_MAX = DEFAULT_LIMITS.list_items_max
"""Entries that any one list of a tree from outside may hold."""
TEXT_BYTES_MAX = DEFAULT_LIMITS.text_bytes_max
BYTES_MAX = DEFAULT_LIMITS.value_bytes_max

_NONE, _BOOL, _INT, _BYTES, _TEXT, _LIST = range(6)

Fault: TypeAlias = type[UsageError] | type[MalformedTree]


def tag(tree: object, *, fault: Fault = UsageError, depth_max: int = ELEMENT_DEPTH_MAX) -> Tagged:
    """Return the tagged form of an element; raises `fault` when it is no tree or too large.

    Subclasses (a PeerId, a named tuple, an IntEnum) are reduced to the plain type, since
    that is what comes back from the wire.
    """
    match tree:
        case str():
            return (_TEXT, _checked_text(tree, fault))
        case bytes():
            if len(tree) > BYTES_MAX:
                raise fault(f"an element has {len(tree)} bytes: at most {BYTES_MAX} are accepted")
            return (_BYTES, bytes(tree))
        case None:
            return (_NONE,)
        case bool():
            return (_BOOL, tree)
        case int():
            if not -INT_MAX - 1 <= tree <= INT_MAX:
                raise fault(f"{int(tree)} is outside the 64-bit integers that are accepted")
            return (_INT, int(tree))
        case tuple():
            if depth_max <= 0:
                raise fault("an element is nested deeper than is accepted")
            if len(tree) > ENTRIES_MAX:
                raise fault(f"an element has {len(tree)} items: at most {ENTRIES_MAX} are accepted")
            items = (tag(item, fault=fault, depth_max=depth_max - 1) for item in tree)
            return (_LIST, *items)
        case _:
            raise fault(
                f"{type(tree).__name__} is not a tree: "
                "None, bool, int, bytes, str and tuples of them are accepted"
            )


def untag(tagged: Tagged) -> Tree:
    """Return the tree of a tagged element."""
    if tagged[0] == _LIST:
        return tuple([untag(item) for item in tagged[1:]])
    return None if tagged[0] == _NONE else cast("Tree", tagged[1])


def tag_text(text: str) -> Tagged:
    """Return the tagged form of a text that is known to be short and valid."""
    return (_TEXT, text)


def is_text(tagged: Tagged) -> bool:
    """Return True when the tagged element is text."""
    return bool(tagged[0] == _TEXT)


def increasing(previous: Any, current: Any, field: str) -> None:
    """Raise MalformedTree unless `current` comes strictly after `previous` (None: the first)."""
    if previous is not None and not previous < current:
        raise MalformedTree(f"{field} are not in strictly increasing order")


def _checked_text(text: str, fault: Fault) -> str:
    plain = str(text)
    if plain.isascii():
        size_bytes = len(plain)
    else:
        try:
            size_bytes = len(plain.encode())
        except UnicodeEncodeError as error:
            raise fault(f"{plain!r} is not text that UTF-8 can carry") from error
    if size_bytes > TEXT_BYTES_MAX:
        raise fault(f"a text has {size_bytes} bytes: at most {TEXT_BYTES_MAX} are accepted")
    return plain


class CanonicalValue(ABC):
    """Equality, hash and repr of a lattice value: two values are equal iff their trees are."""

    __slots__ = ()

    @abstractmethod
    def to_tree(self) -> Tree:
        """Return the canonical tree."""

    @abstractmethod
    def _state(self) -> object:
        """Return what equality compares: exact, and the same for equal trees."""

    @property
    @abstractmethod
    def value(self) -> object:
        """The value for people."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._state() == other._state())

    def __hash__(self) -> int:
        return hash((type(self).__qualname__, self.to_tree()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"
