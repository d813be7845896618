"""Add-wins map whose values are lattices, other maps included.

It is one flat dot store under one context: a path is (key, type name, ...), and goes on
with the path of the nested value. So a nested change is a small delta, removing a key
costs its dots and no tombstone, and contexts stay compact however deep the map is, where
a context per value would keep one gap per foreign write (findings F32 and L3). The type
is part of the place: writers who disagree about it never meet in one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Self, TypeVar, cast

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.crdt.canonical import Tagged, tag, tag_all, untag
from meshcrdt.crdt.context import Actor, Context
from meshcrdt.crdt.dots import (
    NAME_STEP,
    NO_SPOTS,
    PATH_DEPTH_MAX,
    PATH_STEPS_MAX,
    DotStore,
    Shape,
)
from meshcrdt.crdt.mvreg import MVRegister
from meshcrdt.crdt.registry import name_of, registered, types
from meshcrdt.crdt.removal import Removal
from meshcrdt.crdt.runs import NO_RUNS, Runs, is_within, runs_of, union
from meshcrdt.crdt.table import Path, Rows, Spots, spots_of
from meshcrdt.errors import CapacityError, MalformedTree, UsageError

V = TypeVar("V", bound=Lattice)
S = TypeVar("S", bound=DotStore)


_REGISTER = name_of(MVRegister)
_MAP = "ormap"


@registered(_MAP)
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
        return cast("V", self._value(tag(key), name_of(kind), kind))

    def update(self, key: Tree, kind: type[S], change: Callable[[S], S]) -> Self:
        """Return the delta that applies a mutator below `key`.

        `change` gets the present value and returns the mutator's delta, for example
        `m.update("web", ORSet, lambda s: s.add("10.0.0.1", dot))`. Raises UsageError when
        `kind` is not made of dots (use `put`), when `change` returns another type or a
        whole state; CapacityError when the map is nested too deep.
        """
        if not issubclass(kind, DotStore):
            raise UsageError(f"{kind.__qualname__} is not made of dots: use put")
        head = (tag(key), name_of(kind))
        delta = change(self.get(key, kind))
        if type(delta) is not kind:
            raise UsageError(f"the change returned {type(delta).__name__}, not {kind.__name__}")
        if any(path[:2] != head for path in self._covered(delta.context)):
            raise UsageError("the change returned a whole state: return the mutator's delta")
        rows: Rows = {}
        for actor, dots in delta._rows.items():
            rows[actor] = {seq: head + path for seq, path in dots.items()}
            if any(len(path) > PATH_STEPS_MAX for path in rows[actor].values()):
                raise CapacityError(f"maps are nested deeper than {PATH_STEPS_MAX // 2}")
        return self._make(rows, delta.context)

    def put(self, key: Tree, value: Lattice, dot: Dot) -> Self:
        """Return the delta that joins a value, not made of dots, into what is at `key`.

        Raises UsageError for a dot store (use `update`), a bottom or a used dot.
        """
        kind = type(value)
        if isinstance(value, DotStore):
            raise UsageError(f"{kind.__qualname__} is made of dots: use update")
        step, name = tag(key), name_of(kind)
        joined = self.get(key, kind).join(value)
        if joined == kind.bottom():
            raise UsageError(f"an empty {kind.__qualname__} cannot be put: it says nothing")
        leaf = tag(joined.to_tree(), depth_max=PATH_DEPTH_MAX)
        return self._write((step, name, leaf), dot, self._spots_under(step, name))

    def write(self, key: Tree, value: Tree, dot: Dot) -> Self:
        """Return the delta that writes the multi-value register at `key`.

        The same as `update(key, MVRegister, lambda r: r.write(value, dot))`, and quicker.
        """
        step = tag(key)
        over = self._spots_under(step, _REGISTER)
        return self._write((step, _REGISTER, tag(value)), dot, over)

    def write_many(
        self, items: Mapping[Any, Tree] | Iterable[tuple[Tree, Tree]], origin: PeerId, epoch: Epoch
    ) -> Self:
        """Return the one delta that writes the registers at many keys; the last value counts.

        It takes the actor's next dots, one a key, in the order of `items`. Raises UsageError
        for what is no tree, CapacityError when the actor has too few dots left.
        """
        listed = items.items() if isinstance(items, Mapping) else tuple(items)
        keys = tag_all([key for key, _ in listed])
        written = dict(zip(keys, tag_all([value for _, value in listed]), strict=True))
        if not written:
            return self.bottom()
        first = self._context.next_dot(origin, epoch).seq
        last = first + len(written) - 1
        if last > INT_MAX:
            raise CapacityError(f"epoch {epoch} has no {len(written)} dots left")
        paths = zip(written, repeat(_REGISTER), written.values(), strict=False)
        actor = (origin, epoch)
        rows = {actor: dict(zip(range(first, last + 1), paths, strict=True))}
        runs: dict[Actor, Runs] = {actor: (first, last)}
        if not self._is_empty():
            for other, seen in self._registers_at(written).items():
                runs[other] = union(seen, runs.get(other, NO_RUNS))
        return self._make(rows, Context._make(runs))

    def read(self, key: Tree) -> tuple[Tree, ...]:
        """Return the values of the register at `key`: none, one, or several concurrent ones."""
        return self.get(key, MVRegister).value

    def remove(self, key: Tree, *keys: Tree) -> Self:
        """Return the delta that removes all that is seen here at the keys, of every type."""
        if not keys:
            return self._erase(self._spots_at(tag(key)))
        steps = {tag(each) for each in (key, *keys)}
        return self._erase(tuple([item for step in steps for item in self._spots_at(step)]))

    def removal(self, key: Tree, *keys: Tree) -> Removal:
        """Return the removal of a subtree as a prefix and a vector: small however much it is.

        `keys` lead on through nested maps. Raises UsageError when what was seen of an
        origin has gaps: `remove`, which names each dot, does it then.
        """
        prefix: Path = (tag(key),)
        for each in keys:
            prefix = (*prefix, _MAP, tag(each))
        vector: dict[Actor, int] = {}
        for actor, dots in self._below(prefix).items():
            low, high = self._context.runs[actor][:2]
            last = max(dots)
            if low > 1 or last > high:
                raise UsageError(f"what was seen of {actor[0]} has gaps: use remove")
            vector[actor] = last
        return Removal(prefix, tuple(sorted(vector.items())))

    def removed(self, removal: Removal) -> Self | None:
        """Return the delta that a removal comes to here; None when it came too early.

        Too early: of an origin that it names not all was seen that the remover had seen.
        Keep it, and try again when more has come.
        """
        for actor, last in removal.vector:
            if not is_within((1, last), self._context.runs.get(actor, NO_RUNS)):
                return None
        limits = dict(removal.vector)
        spots: list[Any] = []
        for actor, dots in self._below(removal.prefix).items():
            for seq in dots:
                if seq <= limits.get(actor, 0):
                    spots += (actor, seq)
        return self._erase(tuple(spots))

    def _below(self, prefix: Path) -> Rows:
        """Return the live rows whose paths start with a prefix."""
        rows = self._rows
        found: Rows = {}
        for actor, seq in spots_of(self._spots_at(prefix[0])):
            path = rows[actor][seq]
            if path[: len(prefix)] == prefix:
                found.setdefault(actor, {})[seq] = path
        return found

    def clear(self) -> Self:
        """Return the delta that removes every key seen here."""
        return self._erase(self._all_spots())

    def kinds(self, key: Tree) -> tuple[type[Lattice], ...]:
        """Return the types that are live at `key`, by name."""
        return tuple(types[name] for name in self._kind_names(tag(key)))

    @property
    def value(self) -> dict[Tree, dict[str, object]]:
        """By key, the value of each type live there, for people.

        Python takes True and 1 for one dict key; iteration and `get` tell them apart.
        """
        return {
            untag(head): {
                name: _shown(self._value(head, name, types[name]))
                for name in self._kind_names(head)
            }
            for head in self._heads()
        }

    def __contains__(self, key: Tree) -> bool:
        return tag(key) in self._index

    def __iter__(self) -> Iterator[Tree]:
        """Yield the keys in canonical order."""
        return map(untag, self._heads())

    def __len__(self) -> int:
        return len(self._index)

    def _kind_names(self, head: Tagged) -> list[str]:
        rows = self._rows
        return sorted({rows[actor][seq][1] for actor, seq in spots_of(self._spots_at(head))})

    def _spots_under(self, head: Tagged, name: str) -> Spots:
        """Return the live dots of the type `name` at a key."""
        table = self._owned()
        spots = table.index().get(head)
        if spots is None:
            return NO_SPOTS
        rows = table.rows
        if len(spots) == 2:
            return spots if rows[spots[0]][spots[1]][1] == name else NO_SPOTS
        among = (spot for spot in spots_of(spots) if rows[spot[0]][spot[1]][1] == name)
        return tuple([item for spot in among for item in spot])

    def _registers_at(self, steps: Iterable[Tagged]) -> dict[Actor, Runs]:
        """Return the live dots of the registers at many keys that are here, as runs."""
        table = self._owned()
        rows = table.rows
        found: dict[Actor, list[int]] = {}
        flat = chain.from_iterable(filter(None, map(table.index().get, steps)))
        last: Actor | None = None
        for actor, seq in zip(flat, flat, strict=True):
            if actor is not last:  # to hash an actor costs more than all the rest
                last, held, seqs = actor, rows[actor], found.setdefault(actor, [])
            if held[seq][NAME_STEP] == _REGISTER:
                seqs.append(seq)
        return {actor: runs_of(seqs) for actor, seqs in found.items() if seqs}

    def _covered(self, context: Context) -> Iterator[Path]:
        """Yield the paths of the live dots that a context names."""
        for actor, dots in self._rows.items():
            yield from context.among(actor, dots).values()

    def _value(self, head: Tagged, name: str, kind: type[Lattice]) -> Lattice:
        rows = self._rows
        found: Rows = {}
        for actor, seq in spots_of(self._spots_under(head, name)):
            found.setdefault(actor, {})[seq] = rows[actor][seq][2:]
        if issubclass(kind, DotStore):
            return kind._make(found, self._context)
        value = kind.bottom()
        for leaf in {path[0] for dots in found.values() for path in dots.values()}:
            value = value.join(kind.from_tree(untag(leaf)))
        return value

    @classmethod
    def _shape(cls, path: Path) -> Shape:
        return (path[NAME_STEP], len(path))

    @classmethod
    def _check_paths(cls, name: str, paths: list[Path]) -> None:
        # A register of three steps is good as it is, and the usual case.
        if name != _REGISTER or len(paths[0]) != 3:
            for path in paths:
                cls._check_path(path)

    @classmethod
    def _check_path(cls, path: Path) -> None:
        if len(path) < 3 or type(path[NAME_STEP]) is not str:
            raise MalformedTree("ormap path is not (key, type name, ...)")
        kind = types.get(path[1])
        if kind is None:
            raise MalformedTree(f"ormap names type {path[1]!r}, which is not registered")
        if issubclass(kind, DotStore):
            kind._check_path(path[2:])
            return
        if len(path) != 3:
            raise MalformedTree(f"ormap path has {len(path)} steps: 3 are expected")
        tree = untag(path[2])
        value = kind.from_tree(tree)
        if value == kind.bottom() or value.to_tree() != tree:
            raise MalformedTree(f"ormap holds an empty or uncanonical {path[1]}")


def _shown(value: Any) -> object:
    """Return what a nested value shows to people: its `.value` where it has one."""
    return getattr(value, "value", value)
