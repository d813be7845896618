"""All streams that a replica holds, the trees over them, and the view of visible records.

The view is the owners' live records minus the dots that any held record of the same key
supersedes (rule R5). It runs no lattice code (F33): who wins among visible records is
the node's question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import is_
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import Dot, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import InternalError
from meshcrdt.gossip.channels import Kind, Scope, kind_of, scope_of
from meshcrdt.gossip.header import Dep, Ref, StreamKey
from meshcrdt.gossip.merkle import Entry, MerkleMap, entry_of
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import EMPTY_TREE, State, Stream


@frozen
class Visible:
    """A live record that nothing held supersedes."""

    origin: PeerId
    key: bytes
    dot: Dot
    value: bytes


AtKey: TypeAlias = dict[PeerId, Record]
"""The records of one key by origin."""

SHARED_RECORDS_MAX = 8
"""Up to so many records under one key are a dict that is replaced and may be shared."""
NO_RECORDS: AtKey = {}


def _with(at_key: AtKey, origin: PeerId, record: Record) -> AtKey:
    return {**at_key, origin: record}


def _without(at_key: AtKey, origin: PeerId) -> AtKey:
    return {other: record for other, record in at_key.items() if other != origin}


class Channel:
    """The streams of one channel, and in a shared one an index of their records by key.

    An owned channel has no index: who reads it asks for one origin's record, which is in that
    origin's stream, and thousands of members would pay for each key of each of them.
    """

    def __init__(self, name: str, memo: Memo = NO_MEMO) -> None:
        self.name = name
        self.scope = scope_of(name)
        self.streams: dict[PeerId, Stream] = {}
        self.index: dict[bytes, AtKey] = {}
        self.checked: tuple[State, ...] = ()
        self._memo = memo

    def records(self, key: bytes) -> Mapping[PeerId, Record]:
        """Return the held records of a key by origin; O(origins) in an owned channel."""
        if self.scope is Scope.SHARED:
            return self.index.get(key, NO_RECORDS)
        found = ((origin, stream.state.tree.get(key)) for origin, stream in self.streams.items())
        return {origin: record for origin, record in found if record is not None}

    def record(self, key: bytes, origin: PeerId) -> Record | None:
        """Return what one origin holds under a key, or None."""
        stream = self.streams.get(origin)
        return None if stream is None else stream.state.tree.get(key)

    def by_key(self) -> Mapping[bytes, Mapping[PeerId, Record]]:
        """Return all held records by key and origin."""
        return self.index if self.scope is Scope.SHARED else self._indexed()

    def _indexed(self) -> dict[bytes, AtKey]:
        made: dict[bytes, AtKey] = {}
        for origin, stream in self.streams.items():
            for entry in stream.state.tree.entries():
                made.setdefault(entry.key, {})[origin] = entry.value
        return made

    def check_moved(self) -> bool:
        """Return whether a state moved since the last call; raises InternalError for a bad one."""
        states = tuple(stream.state for stream in self.streams.values())
        if len(states) == len(self.checked) and all(map(is_, states, self.checked)):
            return False
        known = {id(state) for state in self.checked}
        for stream in self.streams.values():
            if id(stream.state) not in known:
                stream.check()
        if self.index != (self._indexed() if self.scope is Scope.SHARED else {}):
            raise InternalError(f"the index of channel {self.name!r} is not its streams'")
        self.checked = states
        return True

    def reindex(self, origin: PeerId, keys: frozenset[bytes], tree: MerkleMap[Record]) -> None:
        """Bring the index up to date for keys of one origin."""
        if self.scope is Scope.OWNED:
            return
        for key in keys:
            record = tree.get(key)
            at_key = self.index.get(key, NO_RECORDS)
            if len(at_key) > SHARED_RECORDS_MAX:  # a dict of our own
                if record is not None:
                    at_key[origin] = record
                else:
                    at_key.pop(origin, None)
            elif record is not None:
                self.index[key] = self._put(at_key, origin, record)
            elif origin in at_key:
                if len(at_key) == 1:
                    del self.index[key]
                else:
                    self.index[key] = _without(at_key, origin)

    def _put(self, at_key: AtKey, origin: PeerId, record: Record) -> AtKey:
        if len(at_key) == SHARED_RECORDS_MAX and origin not in at_key:
            return _with(at_key, origin, record)  # from now on our own
        return self._memo.of_same(_with, at_key, origin, record)

    def visible(self, key: bytes) -> tuple[Visible, ...]:
        """Return the visible records of a key, sorted by origin."""
        return self.visible_of(key, self.records(key))

    def visible_of(self, key: bytes, records: Mapping[PeerId, Record]) -> tuple[Visible, ...]:
        """Return which of all held records of a key are visible, sorted by origin."""
        if not records:
            return ()
        if len(records) == 1:
            ((origin, record),) = records.items()
            if record.value is None:
                return ()
            return (Visible(origin, key, record.dot, record.value),)
        dead: set[Dot] = set()
        if self.scope is Scope.SHARED:
            dead = {dot for record in records.values() for dot in record.supersedes}
        return tuple(
            Visible(origin, key, record.dot, record.value)
            for origin, record in sorted(records.items())
            if record.value is not None and record.dot not in dead
        )

    def origins_of(self, key: bytes) -> tuple[PeerId, ...]:
        """Return who holds a record under a key of a shared channel."""
        return tuple(self.index.get(key, ()))

    def superseded_by(self, key: bytes, dot: Dot) -> list[PeerId]:
        """Return the origins whose held record of this key supersedes a dot."""
        if self.scope is Scope.OWNED:
            return []  # whoever names another's record here is not heard (L4)
        return [origin for origin, record in self.records(key).items() if dot in record.supersedes]

    def live_elsewhere(self, key: bytes, me: PeerId) -> set[Dot]:
        """Return the dots of other origins' values under a key, hidden ones too."""
        return {
            record.dot
            for origin, record in self.records(key).items()
            if origin != me and record.value is not None
        }

    def is_live(self, key: bytes, dot: Dot) -> bool:
        """Return whether the dot's owner still holds it under this key, as far as we know."""
        record = self.record(key, dot.origin)
        return record is not None and record.value is not None and record.dot == dot

    def settled(self, key: bytes, dot: Dot) -> Dep | None:
        """Return the held owner header that proves the dot gone, or None (rule R6)."""
        stream = self.streams.get(dot.origin)
        if stream is None or self.is_live(key, dot):
            return None
        ref = stream.state.ref
        return Dep(dot.origin, ref) if (ref.epoch, ref.seq) >= (dot.epoch, dot.seq) else None


def _stream_entry(state: State) -> Entry[StreamKey]:
    key = state.header.stream
    return entry_of(key.raw, state.header.hash, key)


class Holdings:
    """Every held stream, and the two Merkle trees over (channel, origin) -> header hash."""

    def __init__(self, limits: Limits, memo: Memo = NO_MEMO) -> None:
        self._limits = limits
        self._memo = memo
        self.channels: dict[str, Channel] = {}
        self.trees: dict[Kind, MerkleMap[StreamKey]] = {kind: MerkleMap() for kind in Kind}
        self._channels_of: dict[PeerId, frozenset[str]] = {}
        self._moves = 0
        self._moves_checked = -1

    def channel(self, name: str) -> Channel:
        """Return a channel; an empty one, which is not kept, when no stream of it is held."""
        channel = self.channels.get(name)
        return Channel(name, self._memo) if channel is None else channel

    def stream(self, key: StreamKey) -> Stream | None:
        """Return a held stream, or None."""
        channel = self.channels.get(key.channel)
        return None if channel is None else channel.streams.get(key.origin)

    def state(self, key: StreamKey) -> State | None:
        """Return the held state of a stream, or None."""
        stream = self.stream(key)
        return None if stream is None else stream.state

    def ref(self, key: StreamKey) -> Ref | None:
        """Return the held header's place in its stream, or None."""
        stream = self.stream(key)
        return None if stream is None else stream.state.ref

    def streams(self) -> Iterator[tuple[StreamKey, Stream]]:
        """Yield every held stream."""
        for channel in self.channels.values():
            for origin, stream in channel.streams.items():
                yield StreamKey(channel.name, origin), stream

    def channels_of(self, origin: PeerId) -> frozenset[str]:
        """Return the channels in which an origin has a stream here."""
        return self._channels_of.get(origin, frozenset())

    def admits(self, key: StreamKey) -> bool:
        """Return whether one more stream of this origin fits.

        An origin has at most `streams_per_origin_max` channels, those with the smallest
        names: a rule that gives the same set whatever came first.
        """
        names = self._channels_of.get(key.origin)
        if names is None:
            return len(self._channels_of) < self._limits.members_max
        if key.channel in names or len(names) < self._limits.streams_per_origin_max:
            return True
        return key.channel < max(names)

    def adopt(self, state: State, changed: frozenset[bytes]) -> list[StreamKey]:
        """Take a greater state of a stream; returns streams that had to make room for it."""
        key = state.header.stream
        channel = self.channels[key.channel] = self.channel(key.channel)
        stream = channel.streams.get(key.origin)
        evicted = []
        if stream is None:
            channel.streams[key.origin] = Stream(state)
            names = self.channels_of(key.origin)
            names = self._memo.of_equal(frozenset.union, names, frozenset((key.channel,)))
            self._channels_of[key.origin] = names
            if len(names) > self._limits.streams_per_origin_max:
                evicted.append(StreamKey(max(names), key.origin))
        else:
            stream.advance(state, changed, self._memo)
        channel.reindex(key.origin, changed, state.tree)
        self._rehash(key, state)
        return evicted

    def forget(self, key: StreamKey) -> frozenset[bytes]:
        """Drop a stream to bottom; returns its keys."""
        channel = self.channels[key.channel]
        stream = channel.streams.pop(key.origin)
        keys = frozenset(entry.key for entry in stream.state.tree.entries())
        channel.reindex(key.origin, keys, EMPTY_TREE)
        if not channel.streams:
            del self.channels[key.channel]
        names = self._channels_of.pop(key.origin) - {key.channel}
        if names:
            self._channels_of[key.origin] = names
        self._rehash(key, None)
        return keys

    def _rehash(self, key: StreamKey, state: State | None) -> None:
        self._moves += 1
        kind = kind_of(key.channel)
        entry = None if state is None else self._memo.of_same(_stream_entry, state)
        raw = key.raw if entry is None else entry.key
        self.trees[kind] = self.trees[kind].changed(raw, entry, self._memo)

    def check(self) -> None:
        """Raise InternalError when an index or a tree is not what the streams say."""
        for channel in self.channels.values():
            channel.checked = ()
        self._moves_checked = -1
        self.check_moved()

    def check_moved(self) -> None:
        """Check only streams that moved since they were checked last; states are immutable."""
        if self._moves == self._moves_checked:
            return
        for channel in self.channels.values():
            channel.check_moved()
            if not channel.streams:
                raise InternalError(f"channel {channel.name!r} is kept and nobody writes to it")
        hashes: dict[Kind, dict[bytes, bytes]] = {kind: {} for kind in Kind}
        for key, stream in self.streams():
            if stream.state.header.stream != key:
                raise InternalError(f"{key} holds the header of another stream")
            hashes[kind_of(key.channel)][key.raw] = stream.state.header.hash
        for kind, tree in self.trees.items():
            if {entry.key: entry.hash for entry in tree.entries()} != hashes[kind]:
                raise InternalError(f"the {kind.name.lower()} tree is not that of the streams")
        self._moves_checked = self._moves
