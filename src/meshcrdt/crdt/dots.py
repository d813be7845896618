"""Dot stores: the one implementation behind every type that can forget.

A causal lattice is a set of live dots, each standing for one path (an element, a value,
a nested place), and the context of all dots ever seen. A dot that is covered but not live
was removed: no tombstones. For each (dot, path) the order is unseen < live < dead, so
the laws hold for any two stores, hostile ones included. Almeida et al. (2018), section 7;
decomposition after Enes et al., "Efficient synchronization of state-based CRDTs" (2019).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Self, TypeAlias

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_tuple
from meshcrdt.crdt.canonical import ENTRIES_MAX, CanonicalValue, Tagged, increasing, tag, untag
from meshcrdt.crdt.context import Actor, Context
from meshcrdt.errors import MalformedTree, UsageError

Path: TypeAlias = tuple[Tagged, ...]
"""What a live dot stands for; its first step is what the store is indexed by."""

PATH_STEPS_MAX = 32
PATH_DEPTH_MAX = 11
"""Lists within lists in one step of a path: an element, or the tree of a nested value."""

_NO_DOTS: frozenset[Dot] = frozenset()


class DotStore(CanonicalValue):
    """Live dots with their paths, and the context. Subclasses say what a path means.

    Mutators of subclasses return deltas: values of the same type to be joined into this
    state and sent to others. A delta's context names its new dot and the dots it removes.
    """

    __slots__ = ("_context", "_index", "_live")

    _live: dict[Dot, Path]
    _context: Context
    _index: dict[Path, frozenset[Dot]] | None

    def __init__(self) -> None:
        self._live = {}
        self._context = Context()
        self._index = None

    @classmethod
    def _make(cls, live: dict[Dot, Path], context: Context) -> Self:
        made = cls()
        made._live = live
        made._context = context
        return made

    @classmethod
    def bottom(cls) -> Self:
        """Return the empty store."""
        return cls()

    @property
    def context(self) -> Context:
        """Every dot seen, live or removed."""
        return self._context

    def next_dot(self, origin: PeerId, epoch: Epoch) -> Dot:
        """Return the actor's next dot; each write takes one of its own."""
        return self._context.next_dot(origin, epoch)

    def join(self, other: Self) -> Self:
        """Return what is live in both, or live in one and unseen by the other.

        Costs two dict copies and the size of the smaller side's context.
        """
        large, small = self, other
        if len(large._live) < len(small._live):
            large, small = small, large
        live = dict(large._live)
        gone = [
            dot for dot in small._context.covered(live) if small._live.get(dot) != large._live[dot]
        ]
        for dot in gone:
            del live[dot]
        fresh = {dot: path for dot, path in small._live.items() if dot not in large._context}
        live.update(fresh)
        made = self._make(live, large._context.join(small._context))
        if large._index is not None:
            made._index = _reindexed(large, gone, fresh)
        return made

    def leq(self, other: Self) -> bool:
        """Return True when `other` has seen every dot, and revives none that is dead here."""
        if not self._context.leq(other._context):
            return False
        mine = self._live
        theirs = other._live
        return all(mine.get(dot) == theirs[dot] for dot in self._context.covered(theirs))

    def decompose(self) -> Iterator[Self]:
        """Yield one part per dot seen, lazily: live with its path, or dead.

        A context from outside may claim 2^63 dots: ask `context.size` before exhausting this.
        """
        for dot in self._context.dots():
            path = self._live.get(dot)
            yield self._make({} if path is None else {dot: path}, Context.of((dot,)))

    def to_tree(self) -> Tree:
        """Return (context, ((path, ((actor index, seq), ...)), ...)) by path."""
        places: dict[Actor, int] = {a: place for place, a in enumerate(self._context.actors())}
        grouped: dict[Path, list[tuple[int, int]]] = {}
        for dot, path in self._live.items():
            grouped.setdefault(path, []).append((places[dot[:2]], dot.seq))
        entries = tuple(
            (tuple([untag(step) for step in path]), tuple(sorted(grouped[path])))
            for path in sorted(grouped)
        )
        return (self._context.to_tree(), entries)

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        context_tree, entries_tree = take_tuple(tree, "dot store", size=2)
        context = Context.from_tree(context_tree)
        actors = context.actors()
        live: dict[Dot, Path] = {}
        previous: Path | None = None
        for entry in take_tuple(entries_tree, "entries"):
            path_tree, dots_tree = take_tuple(entry, "entry", size=2)
            path = cls._take_path(path_tree)
            increasing(previous, path, "entries")
            _take_dots(dots_tree, path, actors, context, live)
            previous = path
        return cls._make(live, context)

    @classmethod
    def _take_path(cls, tree: Tree) -> Path:
        steps = take_tuple(tree, "path")
        if len(steps) > PATH_STEPS_MAX:
            raise MalformedTree(f"path has {len(steps)} steps: at most {PATH_STEPS_MAX}")
        path = tuple([tag(step, fault=MalformedTree, depth_max=PATH_DEPTH_MAX) for step in steps])
        cls._check_path(path)
        return path

    @classmethod
    @abstractmethod
    def _check_path(cls, path: Path) -> None:
        """Raise MalformedTree unless the path means something to this type."""

    def _dots_at(self, head: Path) -> frozenset[Dot]:
        """Return the live dots whose path starts with this step (or is this empty path)."""
        if self._index is None:
            grouped: dict[Path, list[Dot]] = {}
            for dot, path in self._live.items():
                grouped.setdefault(path[:1], []).append(dot)
            self._index = {step: frozenset(dots) for step, dots in grouped.items()}
        return self._index.get(head, _NO_DOTS)

    def _heads(self) -> list[Path]:
        """Return the distinct first steps of live paths, in canonical order."""
        self._dots_at(())
        return sorted(self._index or ())

    def _head_count(self) -> int:
        """Return the number of distinct first steps of live paths."""
        self._dots_at(())
        return len(self._index or ())

    def _write(self, path: Path, dot: Dot, over: Iterable[Dot]) -> Self:
        """Return the delta that makes `dot` live at `path` and removes `over`."""
        if not 1 <= dot.seq <= INT_MAX:
            raise UsageError(f"{dot} is not a dot: its seq starts at 1")
        if dot in self._context:
            raise UsageError(f"{dot} was used before: take next_dot() for each write")
        return self._make({dot: path}, Context.of((dot, *over)))

    def _erase(self, dots: Iterable[Dot]) -> Self:
        """Return the delta that removes live dots."""
        return self._make({}, Context.of(dots))

    def _state(self) -> object:
        return (self._live, self._context)


def _take_dots(
    tree: Tree,
    path: Path,
    actors: tuple[Actor, ...],
    context: Context,
    live: dict[Dot, Path],
) -> None:
    """Read the dots of one path into `live`; raises MalformedTree."""
    items = take_tuple(tree, "dots")
    if not items:
        raise MalformedTree("an entry has no dots")
    if len(live) + len(items) > ENTRIES_MAX:
        raise MalformedTree(f"more than {ENTRIES_MAX} dots are live")
    previous: tuple[int, int] | None = None
    for item in items:
        place_tree, seq_tree = take_tuple(item, "dot", size=2)
        place = take_int(place_tree, "dot actor", high=len(actors) - 1)
        seq = take_int(seq_tree, "dot seq", low=1)
        increasing(previous, (place, seq), "dots of an entry")
        dot = Dot(*actors[place], seq)
        if dot not in context:
            raise MalformedTree(f"{dot} is live but not in the context")
        if dot in live:
            raise MalformedTree(f"{dot} is live in two places")
        live[dot] = path
        previous = (place, seq)


def _reindexed(
    base: DotStore, gone: Iterable[Dot], fresh: dict[Dot, Path]
) -> dict[Path, frozenset[Dot]]:
    """Return the index of `base` after dots went and came: the cost of the change alone."""
    index = dict(base._index or {})
    for dot in gone:
        head = base._live[dot][:1]
        left = index[head] - {dot}
        if left:
            index[head] = left
        else:
            del index[head]
    for dot, path in fresh.items():
        index[path[:1]] = index.get(path[:1], _NO_DOTS) | {dot}
    return index
