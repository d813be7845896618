"""Tagged elements: trees made hashable, sortable and exact.

Python holds that `True == 1`, and cannot order text against bytes, so a plain dict or
sort would mix up elements that differ on the wire. Every lattice here therefore keeps
its elements tagged: booleans are replaced by two marks of their own, and all else stays
what it is, so that an element costs no memory beside itself and compares at full speed;
`order` gives the canonical order. Bounds are checked at the tag, once, for local callers
(UsageError) and peers (MalformedTree) alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.errors import MalformedTree, UsageError

Tagged: TypeAlias = Any
"""None, int, bytes, str, a mark for a boolean, or a tuple of these; hashes exactly."""

ELEMENT_DEPTH_MAX = 8
"""Lists within lists in one element; lattices add up to six levels of their own."""
ENTRIES_MAX = DEFAULT_LIMITS.list_items_max
"""Entries that any one list of a tree from outside may hold."""
TEXT_BYTES_MAX = DEFAULT_LIMITS.text_bytes_max
BYTES_MAX = DEFAULT_LIMITS.value_bytes_max

_RANKS: dict[type, int] = {type(None): 0, int: 2, bytes: 3, str: 4, tuple: 5}
_BOOL_RANK = 1


class _Mark:
    """What stands for a boolean: equal to itself alone, also after a copy or a pickle."""

    __slots__ = ("_name", "value")

    def __init__(self, name: str, value: bool) -> None:
        self._name = name
        self.value = value

    def __reduce__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name


TRUE = _Mark("TRUE", True)
FALSE = _Mark("FALSE", False)

Fault: TypeAlias = type[UsageError] | type[MalformedTree]


def tag(tree: object, *, fault: Fault = UsageError, depth_max: int = ELEMENT_DEPTH_MAX) -> Tagged:
    """Return the tagged form of an element; raises `fault` when it is no tree or too large.

    Subclasses (a PeerId, a named tuple, an IntEnum) are reduced to the plain type, since
    that is what comes back from the wire.
    """
    if type(tree) is str and tree.isascii() and len(tree) <= TEXT_BYTES_MAX:
        return tree  # the usual case, at a third of the time
    match tree:
        case str():
            return _checked_text(tree, fault)
        case bytes():
            if len(tree) > BYTES_MAX:
                raise fault(f"an element has {len(tree)} bytes: at most {BYTES_MAX} are accepted")
            return bytes(tree)
        case None:
            return None
        case bool():
            return TRUE if tree else FALSE
        case int():
            if not -INT_MAX - 1 <= tree <= INT_MAX:
                raise fault(f"{int(tree)} is outside the 64-bit integers that are accepted")
            return int(tree)
        case tuple():
            if depth_max <= 0:
                raise fault("an element is nested deeper than is accepted")
            if len(tree) > ENTRIES_MAX:
                raise fault(f"an element has {len(tree)} items: at most {ENTRIES_MAX} are accepted")
            return tuple([tag(item, fault=fault, depth_max=depth_max - 1) for item in tree])
        case _:
            raise fault(
                f"{type(tree).__name__} is not a tree: "
                "None, bool, int, bytes, str and tuples of them are accepted"
            )


def tag_all(
    trees: Sequence[Any], *, fault: Fault = UsageError, depth_max: int = ELEMENT_DEPTH_MAX
) -> Sequence[Tagged]:
    """Return the tagged forms of many elements; `trees` itself where nothing has to change.

    Columns of one plain kind, the usual case, are checked without a step of Python each.
    """
    kinds = set(map(type, trees))
    if kinds == {str}:
        is_plain = all(map(str.isascii, trees)) and max(map(len, trees)) <= TEXT_BYTES_MAX
    else:
        is_plain = kinds == {bytes} and max(map(len, trees)) <= BYTES_MAX
    if is_plain:
        return trees
    return [tag(tree, fault=fault, depth_max=depth_max) for tree in trees]


def untag_all(column: tuple[Tagged, ...]) -> tuple[Tree, ...]:
    """Return the trees of many tagged elements; `column` itself where nothing has to change."""
    if set(map(type, column)) <= {str, bytes, int, type(None)}:
        return column
    return tuple([untag(tagged) for tagged in column])


def untag(tagged: Tagged) -> Tree:
    """Return the tree of a tagged element."""
    kind = type(tagged)
    if kind is tuple:
        return tuple([untag(item) for item in tagged])
    return tagged.value if kind is _Mark else cast("Tree", tagged)


def order(tagged: Tagged) -> tuple[Any, ...]:
    """Return what tagged elements are sorted by: none, booleans, numbers, bytes, text, lists."""
    if tagged is None:
        return (0,)
    kind = type(tagged)
    if kind is tuple:
        return (5, *[order(item) for item in tagged])
    if kind is _Mark:
        return (_BOOL_RANK, tagged.value)
    return (_RANKS[kind], tagged)


def in_order(tagged: Iterable[Tagged]) -> list[Tagged]:
    """Return tagged elements in canonical order."""
    listed = list(tagged)
    if set(map(type, listed)) in ({str}, {bytes}, {int}):
        listed.sort()
    else:
        listed.sort(key=order)
    return listed


def increasing(previous: Any, current: Any, field: str) -> None:
    """Raise MalformedTree unless `current` comes strictly after `previous` (None: the first)."""
    if previous is not None and not previous < current:
        raise MalformedTree(f"{field} are not in strictly increasing order")


def _checked_text(text: str, fault: Fault) -> str:
    plain = text if type(text) is str else str(text)
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
