"""One held stream: the state of exactly one signed header, and how it moved lately.

By rule R2 a replica shows, stores, relays and serves nothing between two headers. A
`State` is immutable; joining means replacing it by a greater one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import define, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import Envelope, Header, Ref
from meshcrdt.gossip.merkle import MerkleMap, changed_keys
from meshcrdt.gossip.record import Record

JOURNAL_STEPS_MAX = 32
JOURNAL_BYTES_MAX = 64 * 1024
SINCE_BYTES = 8
"""So much of a header's hash is remembered: who forges it is told what does not help him."""


@frozen
class State:
    """A header with the live records under its root."""

    envelope: Envelope
    tree: MerkleMap[Record]

    @property
    def header(self) -> Header:
        """The signed header."""
        return self.envelope.header

    @property
    def ref(self) -> Ref:
        """Place of the header in the order of its stream."""
        return self.envelope.header.ref


EMPTY_TREE: MerkleMap[Record] = MerkleMap()
"""The tree of a stream of which nothing is held."""


def shared(state: State, memo: Memo) -> State:
    """Return the one object for a proved state: its header's hash binds all of it."""
    return memo.one((State, state.header.hash), state)


def changed_between(before: State | None, state: State) -> frozenset[bytes]:
    """Return the keys that differ between two states of one stream; None is the empty one."""
    return frozenset(changed_keys(EMPTY_TREE if before is None else before.tree, state.tree))


def changed_tree(
    state: State | None, puts: Iterable[Record], drops: Iterable[bytes]
) -> tuple[MerkleMap[Record], int]:
    """Return the tree after a change to a state (None is the empty one), and its cost in bytes."""
    tree: MerkleMap[Record] = EMPTY_TREE if state is None else state.tree
    cost = 0 if state is None else state.header.live_bytes
    puts_by_key = {record.key: record for record in puts}
    gone = set(drops) - puts_by_key.keys()
    for key in (*gone, *puts_by_key):
        before = tree.get(key)
        cost -= 0 if before is None else before.cost_bytes
    cost += sum(record.cost_bytes for record in puts_by_key.values())
    changed = tree.updated(
        ((record.key, record.hash, record) for record in puts_by_key.values()), gone
    )
    return changed, cost


@frozen
class _Step:
    """Which keys moved since any of some headers; for the later ones it names too many."""

    sinces: frozenset[bytes]
    keys: frozenset[bytes]

    @property
    def size_bytes(self) -> int:
        return 5 * SINCE_BYTES * len(self.sinces) + sum(map(len, self.keys))


Journal: TypeAlias = tuple[_Step, ...]
"""The latest steps, oldest first. Immutable, so that who went the same way may share it."""


def _short(ref: Ref) -> bytes:
    return ref.hash[:SINCE_BYTES]


def _step_from(before: State, changed: frozenset[bytes]) -> _Step:
    return _Step(frozenset((_short(before.ref),)), changed)


def _extended(journal: Journal, step: _Step) -> Journal:
    """Return a journal with one step more, within the bounds."""
    steps = [*journal, step]
    if len(steps) > JOURNAL_STEPS_MAX:
        # Half of them become one: a far backlog still collapses, into a little too much.
        old, steps = steps[: JOURNAL_STEPS_MAX // 2], steps[JOURNAL_STEPS_MAX // 2 :]
        sinces = frozenset[bytes]().union(*(each.sinces for each in old))
        keys = frozenset[bytes]().union(*(each.keys for each in old))
        steps.insert(0, _Step(sinces, keys))
    size = sum(each.size_bytes for each in steps)
    while size > JOURNAL_BYTES_MAX:
        size -= steps.pop(0).size_bytes
    return tuple(steps)


@define
class Stream:
    """What a replica holds of one stream."""

    state: State
    from_peer: PeerId | None = None
    arrived_at: float = 0.0
    hops: int = 0
    """The hop count that eager deltas of the state carry from here; see `broadcast`."""
    durable: Ref | None = None
    """The newest header known to be on disk; None for volatile channels."""
    _journal: Journal = ()

    @property
    def came_by_push(self) -> bool:
        """Whether an eager delta brought the state, and not an answer or our own write."""
        return abs(self.hops) > 1

    def advance(self, state: State, changed: frozenset[bytes], memo: Memo = NO_MEMO) -> None:
        """Replace the state by a greater one and remember which keys moved."""
        if state.ref <= self.state.ref:
            raise InternalError("a stream moves only to a greater header")
        step = memo.of_same(_step_from, self.state, changed)
        self._journal = memo.of_same(_extended, self._journal, step)
        self.state = state

    def keys_since(self, ref: Ref) -> frozenset[bytes] | None:
        """Return the keys that moved since a header, or None when that is not remembered.

        A backlog of several headers so collapses into the newest one plus what changed (F3).
        Some of the keys may have moved before it: to say them again changes nothing.
        """
        return self.keys_since_short(_short(ref))

    def keys_since_short(self, short: bytes) -> frozenset[bytes] | None:
        """Return the same as `keys_since` for the first SINCE_BYTES of a header's hash."""
        keys: frozenset[bytes] | None = None
        for step in reversed(self._journal):
            keys = step.keys if keys is None else keys | step.keys
            if short in step.sinces:
                return keys
        return None

    def check(self) -> None:
        """Raise InternalError unless the state is that of its header."""
        header = self.state.header
        tree = self.state.tree
        if tree.root != header.state_root:
            raise InternalError(f"{header.stream}: the state does not match the signed root")
        cost = sum(entry.value.cost_bytes for entry in tree.entries())
        if len(tree) != header.live_keys or cost != header.live_bytes:
            raise InternalError(f"{header.stream}: the counts of the header are not the state's")
        if self.durable is not None and self.durable > self.state.ref:
            raise InternalError(f"{header.stream}: the disk is ahead of memory")
