"""Dot stores: the one implementation behind every type that can forget.

A causal lattice is a set of live dots, each standing for one path (an element, a value,
a nested place), and the context of all dots ever seen. A dot that is covered but not live
was removed: no tombstones. For each (dot, path) the order is unseen < live < dead, so
the laws hold for any two stores, hostile ones included. Almeida et al. (2018), section 7;
decomposition after Enes et al., "Efficient synchronization of state-based CRDTs" (2019).
How a chain of values shares its memory is the affair of `table`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, repeat
from typing import Self, TypeAlias, cast

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_str, take_tuple
from meshcrdt.crdt.canonical import (
    ENTRIES_MAX,
    CanonicalValue,
    Tagged,
    in_order,
    increasing,
    tag_all,
    untag_all,
)
from meshcrdt.crdt.context import Context
from meshcrdt.crdt.registry import NAME_CHARACTERS_MAX
from meshcrdt.crdt.runs import Runs, covers, is_within, numbers
from meshcrdt.crdt.table import (
    NO_DOTS,
    Path,
    Rows,
    Spots,
    Table,
    context_of,
    lost_of,
    unseen_of,
)
from meshcrdt.errors import InternalError, MalformedTree, UsageError

PATH_STEPS_MAX = 32
PATH_DEPTH_MAX = 11
"""Lists within lists in one step of a path: an element, or the tree of a nested value."""

NAME_STEP = 1
"""Where the paths of maps name the type of a value."""

Shape: TypeAlias = tuple[str, int]

NO_SPOTS: Spots = ()
_NO_CHANGE: tuple[Rows, Rows] = ({}, {})


class DotStore(CanonicalValue):
    """Live dots with their paths, and the context. Subclasses say what a path means.

    Mutators of subclasses return deltas: values of the same type to be joined into this
    state and sent to others. A delta's context names its new dot and the dots it removes.
    """

    __slots__ = ("_change", "_context", "_later", "_table")

    _context: Context
    _table: Table | None
    """The memory, when this is the value that owns it."""
    _later: Self | None
    """Else the value that was made from this one."""
    _change: tuple[Rows, Rows]
    """What went and what came from this value to that one."""

    def __init__(self) -> None:
        self._table = Table({})
        self._context = Context()
        self._later = None

    @classmethod
    def _make(cls, rows: Rows, context: Context) -> Self:
        return cls._over(Table(rows), context)

    @classmethod
    def _over(cls, table: Table, context: Context) -> Self:
        made = cls.__new__(cls)
        made._table = table
        made._context = context
        made._later = None
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

    # --- memory --------------------------------------------------------------------------

    def _owner(self) -> Self:
        """Return the value that owns the table which this one can be read from."""
        owner = self
        while owner._later is not None:
            owner = owner._later
        return owner

    def _owned(self) -> Table:
        """Return the table, brought to this value's state; good until another is read."""
        table = self._table
        if table is None:
            table = self._reclaim()
        return table

    def _reclaim(self) -> Table:
        between = [self]
        while (later := between[-1]._later) is not None:
            between.append(later)
        owner = between.pop()
        table = owner._table
        if table is None:
            raise InternalError("the newest of a chain of values has no table")
        for older in reversed(between):
            gone, fresh = older._change
            table.change(fresh, gone)
            owner._table, owner._later, owner._change = None, older, (fresh, gone)
            older._table, older._later, older._change = table, None, _NO_CHANGE
            owner = older
        return table

    def _both(self, other: Self) -> tuple[Table, Rows]:
        """Return this value's table and the other's rows, good until either is changed."""
        rows = other._owned().rows
        if self._table is None and self._owner() is other:
            # There is one table for both of them, and it is about to become this one's.
            rows = {actor: dict(dots) for actor, dots in rows.items()}
        return self._owned(), rows

    @property
    def _rows(self) -> Rows:
        return self._owned().rows

    @property
    def _index(self) -> dict[Tagged, Spots]:
        return self._owned().index()

    def _is_empty(self) -> bool:
        return not self._owned().rows

    # --- lattice -------------------------------------------------------------------------

    def join(self, other: Self) -> Self:
        """Return what is live in both, or live in one and unseen by the other.

        Costs the size of the smaller side's context, and now and then a copy of the larger.
        """
        if self is other:
            return self
        large, small = self, other
        if large._owned().size < small._owned().size:
            large, small = small, large
        held_table, their_table = large._table, small._table
        if held_table is not None and their_table is not None:
            table, rows = held_table, their_table.rows
        else:
            table, rows = large._both(small)
        gone: Rows = {}
        fresh: Rows = {}
        changes = 0
        seen = large._context.runs
        for actor, runs in small._context.runs.items():
            theirs = rows.get(actor)
            known = seen.get(actor)
            if known and runs[0] <= known[-1]:
                held = table.rows.get(actor)
                lost = lost_of(held, runs, theirs or NO_DOTS) if held else None
                if lost:
                    gone[actor] = lost
                    changes += len(lost)
                new = unseen_of(theirs, known) if theirs else None
            else:
                new = theirs and dict(theirs)
            if new:
                fresh[actor] = new
                changes += len(new)
        if not changes and small._context.leq(large._context):
            return large
        context = large._context.join(small._context)
        if not table.may_change(changes):
            table = table.copy()
            table.change(gone, fresh)
            return self._over(table, context)
        table.change(gone, fresh)
        made = self._over(table, context)
        large._table, large._later, large._change = None, made, (gone, fresh)
        return made

    def leq(self, other: Self) -> bool:
        """Return True when `other` has seen every dot, and revives none that is dead here."""
        if self is other:
            return True
        if not self._context.leq(other._context):
            return False
        table, theirs = self._both(other)
        seen = self._context.runs
        for actor, dots in theirs.items():
            runs = seen.get(actor)
            if runs and lost_of(dots, runs, table.rows.get(actor, NO_DOTS)):
                return False
        return True

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        if self is other:
            return True
        if self._context != other._context:
            return False
        table, rows = self._both(other)
        return table.rows == rows

    __hash__ = CanonicalValue.__hash__

    def _state(self) -> object:
        return (self._rows, self._context)

    def decompose(self) -> Iterator[Self]:
        """Yield one part per dot seen, lazily: live with its path, or dead.

        A context from outside may claim 2^63 dots: ask `context.size` before exhausting this.
        """
        for actor, runs in self._context.runs.items():
            for seq in numbers(runs):
                path = self._rows.get(actor, NO_DOTS).get(seq)
                rows = {} if path is None else {actor: {seq: path}}
                yield self._make(rows, Context._make({actor: (seq, seq)}))

    def without_gone(self, whole: Self) -> Self:
        """Return this value without what is live here and dead in `whole`: still at most it.

        Whoever contributes a part to a shared value and never drops what others removed
        would carry it for ever.
        """
        table, rows = self._both(whole)
        gone = [
            (actor, seq)
            for actor, dots in table.rows.items()
            for seq in whole._context.among(actor, dots)
            if seq not in rows.get(actor, NO_DOTS)
        ]
        return self.join(self._erase(tuple(chain.from_iterable(gone)))) if gone else self

    # --- trees ---------------------------------------------------------------------------

    def to_tree(self) -> Tree:
        """Return (context, (group, ...)): live dots in columns.

        A group holds dots of one actor whose paths are alike: (actor index, type name or
        "", (distance, ...), column, ...). Dots are in order, and the distances lead from
        each to the next; there is a column for each step of the paths.
        """
        rows = self._rows
        groups: list[Tree] = []
        for place, actor in enumerate(self._context.actors()):
            dots = rows.get(actor)
            if dots:
                shapes = set(map(self._shape, dots.values()))
                for shape in sorted(shapes):
                    groups.append(self._to_group(place, shape, dots, alone=len(shapes) == 1))
        return (self._context.to_tree(), tuple(groups))

    @classmethod
    def _shape(cls, path: Path) -> Shape:
        """Return what the paths of one group have in common: a type's name, and the steps."""
        return ("", len(path))

    def _to_group(self, place: int, shape: Shape, dots: dict[int, Path], *, alone: bool) -> Tree:
        seqs = sorted(dots if alone else (s for s, p in dots.items() if self._shape(p) == shape))
        distances = tuple([seq - last for last, seq in zip((0, *seqs), seqs, strict=False)])
        columns = [untag_all(column) for column in zip(*map(dots.__getitem__, seqs), strict=True)]
        if shape[0]:
            del columns[NAME_STEP]
        return (place, shape[0], distances, *columns)

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Read a tree from outside; raises MalformedTree."""
        context_tree, groups_tree = take_tuple(tree, "dot store", size=2)
        context = Context.from_tree(context_tree)
        actors = context.actors()
        rows: Rows = {}
        previous: tuple[int, Shape] | None = None
        room = ENTRIES_MAX
        for group in take_tuple(groups_tree, "groups"):
            items = take_tuple(group, "group")
            if len(items) < 4:
                raise MalformedTree(f"group has {len(items)} items: at least 4 are expected")
            place = take_int(items[0], "group actor", high=len(actors) - 1)
            name = take_str(items[1], "group type", size_max=NAME_CHARACTERS_MAX)
            distances = take_tuple(items[2], "dots")
            actor = actors[place]
            room -= len(distances)
            if room < 0:
                raise MalformedTree(f"more than {ENTRIES_MAX} dots are live")
            seqs = _take_dots(distances, context.runs[actor])
            paths = cls._take_paths(name, items[3:], len(seqs))
            shape = cls._shape(paths[0])
            increasing(previous, (place, shape), "groups")
            previous = (place, shape)
            dots = rows.setdefault(actor, {})
            before = len(dots)
            dots.update(zip(seqs, paths, strict=True))
            if len(dots) != before + len(seqs):
                raise MalformedTree("a dot is live in two places")
        return cls._make(rows, context)

    @classmethod
    def _take_paths(cls, name: str, columns: tuple[Tree, ...], count: int) -> list[Path]:
        """Read the paths of one group; raises MalformedTree."""
        if len(columns) > PATH_STEPS_MAX:
            raise MalformedTree(f"path has {len(columns)} steps: at most {PATH_STEPS_MAX}")
        steps = [take_tuple(column, "column", size=count) for column in columns]
        tagged: list[Iterable[Tagged]] = [
            tag_all(step, fault=MalformedTree, depth_max=PATH_DEPTH_MAX) for step in steps
        ]
        if name:
            tagged.insert(NAME_STEP, repeat(name, count))
        paths = list(zip(*tagged, strict=True))
        cls._check_paths(name, paths)
        return paths

    @classmethod
    def _check_paths(cls, name: str, paths: list[Path]) -> None:
        """Raise MalformedTree unless every path of a group means something to this type."""
        if name:
            raise MalformedTree(f"a group names type {name!r}: only maps have types")
        for path in paths:
            cls._check_path(path)

    @classmethod
    @abstractmethod
    def _check_path(cls, path: Path) -> None:
        """Raise MalformedTree unless the path means something to this type."""

    # --- for subclasses ------------------------------------------------------------------

    def _spots_at(self, head: Tagged) -> Spots:
        """Return the live dots whose path starts with this step."""
        return self._index.get(head, NO_SPOTS)

    def _all_spots(self) -> Spots:
        """Return every live dot."""
        return tuple(
            chain.from_iterable((a, seq) for a, dots in self._rows.items() for seq in dots)
        )

    def _heads(self) -> list[Tagged]:
        """Return the distinct first steps of live paths, in canonical order."""
        return in_order(self._index)

    def _write(self, path: Path, dot: Dot, over: Spots) -> Self:
        """Return the delta that makes `dot` live at `path` and removes `over`."""
        origin, epoch, seq = dot
        if not 1 <= seq <= INT_MAX:
            raise UsageError(f"{dot} is not a dot: its seq starts at 1")
        if dot in self._context:
            raise UsageError(f"{dot} was used before: take next_dot() for each write")
        actor = (origin, epoch)
        return self._make({actor: {seq: path}}, context_of((actor, seq, *over)))

    def _erase(self, spots: Spots) -> Self:
        """Return the delta that removes live dots."""
        return self._make({}, context_of(spots))


def _take_dots(distances: tuple[Tree, ...], runs: Runs) -> list[int]:
    """Read the dots of a group; raises MalformedTree."""
    if not distances:
        raise MalformedTree("a group has no dots")
    if set(map(type, distances)) != {int}:
        raise MalformedTree("dots of a group are not whole numbers")
    steps = cast("tuple[int, ...]", distances)
    if min(steps) < 1 or max(steps) > INT_MAX:
        raise MalformedTree("dots of a group are not in strictly increasing order")
    seqs = list(accumulate(steps))
    # One run that reaches from the first to the last holds all between: the usual case.
    if not is_within((seqs[0], seqs[-1]), runs):
        for seq in seqs:
            if not covers(runs, seq):
                raise MalformedTree(f"dot {seq} is live but not in the context")
    return seqs
