"""All streams that a replica holds, the trees over them, and the view of visible records.

The view is the owners' live records minus the dots that any held record of the same key
supersedes (rule R5). It runs no lattice code (F33): who wins among visible records is
the node's question.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_

from attrs import frozen

from meshcrdt.base.ids import Dot, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.gossip.channels import Kind, Scope, kind_of, scope_of
from meshcrdt.gossip.header import Dep, Ref, StreamKey
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State, Stream


@frozen
class Visible:
    """A live record that nothing held supersedes."""

    origin: PeerId
    key: bytes
    dot: Dot
    value: bytes


class Channel:
    """The streams of one channel, and an index of their records by key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = scope_of(name)
        self.streams: dict[PeerId, Stream] = {}
        self.index: dict[bytes, dict[PeerId, Record]] = {}
        self.checked: tuple[State, ...] = ()

    def check_moved(self) -> bool:
        """Return whether a state moved since the last call; raises InternalError for a bad one."""
        states = tuple(stream.state for stream in self.streams.values())
        if len(states) == len(self.checked) and all(map(is_, states, self.checked)):
            return False
        known = {id(state) for state in self.checked}
        expected: dict[bytes, dict[PeerId, Record]] = {}
        for origin, stream in self.streams.items():
            if id(stream.state) not in known:
                stream.check()
            for entry in stream.state.tree.entries():
                expected.setdefault(entry.key, {})[origin] = entry.value
        if expected != self.index:
            raise InternalError(f"the index of channel {self.name!r} is not its streams'")
        self.checked = states
        return True

    def reindex(self, origin: PeerId, keys: frozenset[bytes], tree: MerkleMap[Record]) -> None:
        """Bring the index up to date for keys of one origin."""
        for key in keys:
            record = tree.get(key)
            at_key = self.index.get(key)
            if record is not None:
                if at_key is None:
                    at_key = self.index[key] = {}
                at_key[origin] = record
            elif at_key is not None:
                at_key.pop(origin, None)
                if not at_key:
                    del self.index[key]

    def visible(self, key: bytes) -> tuple[Visible, ...]:
        """Return the visible records of a key, sorted by origin."""
        records = self.index.get(key)
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

    def superseded_by(self, key: bytes, dot: Dot) -> list[PeerId]:
        """Return the origins whose held record of this key supersedes a dot."""
        if self.scope is Scope.OWNED:
            return []  # whoever names another's record here is not heard (L4)
        return [
            origin for origin, record in self.index.get(key, {}).items() if dot in record.supersedes
        ]

    def live_elsewhere(self, key: bytes, me: PeerId) -> set[Dot]:
        """Return the dots of other origins' values under a key, hidden ones too."""
        return {
            record.dot
            for origin, record in self.index.get(key, {}).items()
            if origin != me and record.value is not None
        }

    def is_live(self, key: bytes, dot: Dot) -> bool:
        """Return whether the dot's owner still holds it under this key, as far as we know."""
        record = self.index.get(key, {}).get(dot.origin)
        return record is not None and record.value is not None and record.dot == dot

    def settled(self, key: bytes, dot: Dot) -> Dep | None:
        """Return the held owner header that proves the dot gone, or None (rule R6)."""
        stream = self.streams.get(dot.origin)
        if stream is None or self.is_live(key, dot):
            return None
        ref = stream.state.ref
        return Dep(dot.origin, ref) if (ref.epoch, ref.seq) >= (dot.epoch, dot.seq) else None


class Holdings:
    """Every held stream, and the two Merkle trees over (channel, origin) -> header hash."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.channels: dict[str, Channel] = {}
        self.trees: dict[Kind, MerkleMap[StreamKey]] = {kind: MerkleMap() for kind in Kind}
        self._channels_of: dict[PeerId, set[str]] = {}
        self._moves = 0
        self._moves_checked = -1

    def channel(self, name: str) -> Channel:
        """Return a channel; an empty one, which is not kept, when no stream of it is held."""
        channel = self.channels.get(name)
        return Channel(name) if channel is None else channel

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
        return frozenset(self._channels_of.get(origin, ()))

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
            names = self._channels_of.setdefault(key.origin, set())
            names.add(key.channel)
            if len(names) > self._limits.streams_per_origin_max:
                evicted.append(StreamKey(max(names), key.origin))
        else:
            stream.advance(state, changed)
        channel.reindex(key.origin, changed, state.tree)
        self._rehash(key, state)
        return evicted

    def forget(self, key: StreamKey) -> frozenset[bytes]:
        """Drop a stream to bottom; returns its keys."""
        channel = self.channels[key.channel]
        stream = channel.streams.pop(key.origin)
        keys = frozenset(entry.key for entry in stream.state.tree.entries())
        channel.reindex(key.origin, keys, MerkleMap())
        if not channel.streams:
            del self.channels[key.channel]
        self._channels_of[key.origin].discard(key.channel)
        if not self._channels_of[key.origin]:
            del self._channels_of[key.origin]
        self._rehash(key, None)
        return keys

    def _rehash(self, key: StreamKey, state: State | None) -> None:
        self._moves += 1
        kind = kind_of(key.channel)
        if state is None:
            self.trees[kind] = self.trees[kind].updated((), [key.raw])
        else:
            self.trees[kind] = self.trees[kind].updated([(key.raw, state.header.hash, key)])

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
