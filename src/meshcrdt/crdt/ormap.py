"""Add-wins map whose values are lattices, other maps included.

It is one flat dot store under one context: a path is (key, type name, ...), and goes on
with the path of the nested value. So a nested change is a small delta, removing a key
costs its dots and no tombstone, and contexts stay compact however deep the map is, where
a context per value would keep one gap per foreign write (findings F32 and L3). The type
is part of the place: writers who disagree about it never meet in one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, cast

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import Dot
from meshcrdt.base.tree import Tree
from meshcrdt.crdt.canonical import Tagged, is_text, tag, tag_text, untag
from meshcrdt.crdt.dots import PATH_DEPTH_MAX, PATH_STEPS_MAX, DotStore, Path
from meshcrdt.crdt.registry import name_of, registered, types
from meshcrdt.errors import CapacityError, MalformedTree, UsageError

V = TypeVar("V", bound=Lattice)
S = TypeVar("S", bound=DotStore)


@registered("ormap")
class ORMap(DotStore):
    """A map from keys to lattices, each found by key and registered type.

    A key is present while anything below it is live. Removing a key removes what its
    remover has seen; a concurrent change below it survives. Types made of dots (sets,
    registers, flags, maps) are changed with `update`; any other lattice is stored whole
    with `put`, under a dot of its own. A counter whose key is removed starts again from
    zero: concurrent increments of one origin from before and after then count once.
    """

    __slots__ = ()

    def get(self, key: Tree, kind: type[V]) -> V:
        """Return the value of `kind` at `key`, or its bottom; raises UsageError if unregistered.

        A nested dot store shares this map's context, so `next_dot` of either agrees.
        """
        return cast("V", self._value((tag(key),), tag_text(name_of(kind)), kind))

    def update(self, key: Tree, kind: type[S], change: Callable[[S], S]) -> Self:
        """Return the delta that applies a mutator below `key`.

        `change` gets the present value and returns the mutator's delta, for example
        `m.update("web", ORSet, lambda s: s.add("10.0.0.1", dot))`. Raises UsageError when
        `kind` is not made of dots (use `put`), when `change` returns another type or a
        whole state; CapacityError when the map is nested too deep.
        """
        if not issubclass(kind, DotStore):
            raise UsageError(f"{kind.__qualname__} is not made of dots: use put")
        head = (tag(key), tag_text(name_of(kind)))
        delta = change(self.get(key, kind))
        if type(delta) is not kind:
            raise UsageError(f"the change returned {type(delta).__name__}, not {kind.__name__}")
        for dot in delta.context.covered(self._live):
            if self._live[dot][:2] != head:
                raise UsageError("the change returned a whole state: return the mutator's delta")
        live = {dot: head + path for dot, path in delta._live.items()}
        for path in live.values():
            if len(path) > PATH_STEPS_MAX:
                raise CapacityError(f"maps are nested deeper than {PATH_STEPS_MAX // 2}")
        return self._make(live, delta.context)

    def put(self, key: Tree, value: Lattice, dot: Dot) -> Self:
        """Return the delta that joins a value, not made of dots, into what is at `key`.

        Raises UsageError for a dot store (use `update`), a bottom or a used dot.
        """
        kind = type(value)
        if isinstance(value, DotStore):
            raise UsageError(f"{kind.__qualname__} is made of dots: use update")
        place = (tag(key), tag_text(name_of(kind)))
        joined = self.get(key, kind).join(value)
        if joined == kind.bottom():
            raise UsageError(f"an empty {kind.__qualname__} cannot be put: it says nothing")
        leaf = tag(joined.to_tree(), depth_max=PATH_DEPTH_MAX)
        return self._write((*place, leaf), dot, self._dots_under(place[:1], place[1]))

    def remove(self, key: Tree) -> Self:
        """Return the delta that removes all that is seen here at `key`, of every type."""
        return self._erase(self._dots_at((tag(key),)))

    def clear(self) -> Self:
        """Return the delta that removes every key seen here."""
        return self._erase(self._live)

    def kinds(self, key: Tree) -> tuple[type[Lattice], ...]:
        """Return the types that are live at `key`, by name."""
        return tuple(types[name[1]] for name in self._kind_names((tag(key),)))

    @property
    def value(self) -> dict[Tree, dict[str, object]]:
        """By key, the value of each type live there, for people.

        Python takes True and 1 for one dict key; iteration and `get` tell them apart.
        """
        return {
            untag(head[0]): {name[1]: _shown(self._nested(head, name)) for name in names}
            for head in self._heads()
            for names in (self._kind_names(head),)
        }

    def __contains__(self, key: Tree) -> bool:
        return bool(self._dots_at((tag(key),)))

    def __iter__(self) -> Iterator[Tree]:
        """Yield the keys in canonical order."""
        return (untag(head[0]) for head in self._heads())

    def __len__(self) -> int:
        return self._head_count()

    def _nested(self, head: Path, name: Tagged) -> Lattice:
        return self._value(head, name, types[name[1]])

    def _kind_names(self, head: Path) -> list[Tagged]:
        return sorted({self._live[dot][1] for dot in self._dots_at(head)})

    def _dots_under(self, head: Path, name: Tagged) -> list[Dot]:
        return [dot for dot in self._dots_at(head) if self._live[dot][1] == name]

    def _value(self, head: Path, name: Tagged, kind: type[Lattice]) -> Lattice:
        dots = self._dots_under(head, name)
        if issubclass(kind, DotStore):
            return kind._make({dot: self._live[dot][2:] for dot in dots}, self._context)
        value = kind.bottom()
        for leaf in {self._live[dot][2] for dot in dots}:
            value = value.join(kind.from_tree(untag(leaf)))
        return value

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if len(path) < 2 or not is_text(path[1]):
            raise MalformedTree("ormap path is not (key, type name, ...)")
        kind = types.get(path[1][1])
        if kind is None:
            raise MalformedTree(f"ormap names type {path[1][1]!r}, which is not registered")
        if issubclass(kind, DotStore):
            kind._check_path(path[2:])
            return
        if len(path) != 3:
            raise MalformedTree(f"ormap path has {len(path)} steps: 3 are expected")
        tree = untag(path[2])
        value = kind.from_tree(tree)
        if value == kind.bottom() or value.to_tree() != tree:
            raise MalformedTree(f"ormap holds an empty or uncanonical {path[1][1]}")


def _shown(value: Any) -> object:
    """Return what a nested value shows to people: its `.value` where it has one."""
    return getattr(value, "value", value)
