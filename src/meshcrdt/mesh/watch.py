"""Watching: a snapshot, then changes, or Lost(n) and a new snapshot.

What was written at once is told at once: a watcher is handed the changes of one moment
together or not at all, and each says how many of them are still to come.

A watcher that does not keep up costs a bounded amount of memory and holds up nobody: its
changes are dropped, counted and told. Peers' records that are not what a channel holds
are invisible here, as they are everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Any, Generic, TypeAlias, TypeVar

import trio
from attrs import evolve, field, frozen

from meshcrdt.errors import ClosedError, InternalError
from meshcrdt.gossip.bookmarks import Bookmark, Moved
from meshcrdt.mesh.resume import bookmark_of, token_of
from meshcrdt.mesh.signals import Signal

T = TypeVar("T")


class Absent(Enum):
    """The value of a key that is not there; JSON null is a value of its own."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@frozen
class Snapshot:
    """Everything there is at this moment: key -> value."""

    entries: Mapping[str, Any]
    token: str | None = field(default=None, eq=False)
    """Resumes a watch after this event; None when there is none (see `mesh.resume`)."""


@frozen
class Change:
    """One key changed; `value` is ABSENT when it went."""

    key: str
    value: Any = field()
    more: int = field(default=0, eq=False)
    """How many changes of the same moment follow: at 0 the watcher has seen whole writes."""
    token: str | None = field(default=None, eq=False)
    """Resumes a watch after this event; only the last change of a moment has one."""


@frozen
class Lost:
    """At least `count` changes are not told one by one; a Snapshot follows.

    Nobody took them in time, or a watch was resumed where what moved is not remembered.
    """

    count: int


Decode: TypeAlias = Callable[[bytes, bytes | None], Change | None]
"""Of a stored key and value: what a watcher is told, or None for a key that is nothing to it."""


class Watch:
    """One watcher of a map channel: an async iterator of Snapshot, Change and Lost."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        prefix: bytes,
        queue_max: int,
        decode: Decode,
    ) -> None:
        self._snapshot = snapshot
        self.decode = decode
        """What makes a change for it of a stored key and value."""
        self.prefix = prefix
        """Of the stored keys that it is told of."""
        self._queue_max = queue_max
        self._queue: deque[tuple[Change, ...]] = deque()
        self._queued = 0
        self._begun: deque[Change] = deque()
        self._lost = 0
        self._wants_snapshot = True
        self._more = Signal()
        self._more.set()
        self._closed = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Snapshot | Change | Lost:
        while True:
            if self._closed:
                raise ClosedError("the watch is closed")
            if self._begun:
                # First of all: who has seen a part of a write is owed the rest of it.
                await trio.lowlevel.checkpoint()
                return self._begun.popleft()
            if self._lost:
                await trio.lowlevel.checkpoint()
                lost, self._lost = self._lost, 0
                self._wants_snapshot = True
                return Lost(lost)
            if self._wants_snapshot:
                await trio.lowlevel.checkpoint()
                self._wants_snapshot = False
                return self._snapshot()
            if self._queue:
                changes = self._queue.popleft()
                self._queued -= len(changes)
                self._begun.extend(changes)
                continue
            await self._more.wait()

    async def whole(self) -> Snapshot | tuple[Change, ...] | Lost:
        """Return the next event, all changes of one moment together."""
        first = await self.__anext__()
        if not isinstance(first, Change):
            return first
        rest, self._begun = tuple(self._begun), deque()
        return (first, *rest)

    def resume(self, changes: tuple[Change, ...], *, forgotten: int) -> None:
        """Begin with what a watcher missed instead of a snapshot, if that is known."""
        self._wants_snapshot = False
        if forgotten:
            self._lost = forgotten + len(changes)
        elif changes:
            self.push(changes)

    def push(self, changes: tuple[Change, ...]) -> None:
        """Take the changes of one moment; what a coming snapshot shows anyway is not kept."""
        if self._lost:
            self._lost += len(changes)
        elif not self._wants_snapshot:
            self._queue.append(changes)
            self._queued += len(changes)
            if self._queued > self._queue_max:
                self._lost = self._queued
                self._queue.clear()
                self._queued = 0
        self._more.set()

    def close(self) -> None:
        """End the iteration with ClosedError."""
        self._closed = True
        self._more.set()


class ValueWatch(Generic[T]):
    """One watcher of a lattice channel: an async iterator of its value, first the present one.

    Values between two looks are joined into the later one, so nothing is ever lost.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._more = Signal()
        self._more.set()
        self._closed = False
        self._last: T | None = None

    def __aiter__(self) -> ValueWatch[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            await self._more.wait()
            if self._closed:
                self._more.set()
                raise ClosedError("the watch is closed")
            value = self._read()
            if self._last is None or _differs(value, self._last):
                self._last = value
                return value

    def wake(self) -> None:
        """Look again."""
        self._more.set()

    def close(self) -> None:
        """End the iteration with ClosedError."""
        self._closed = True
        self._more.set()


class WatchHub:
    """The watchers of all channels of one mesh."""

    def __init__(
        self,
        *,
        get: Callable[[str, bytes], bytes | None],
        items: Callable[[str], Mapping[bytes, bytes]],
        decode: Decode,
        queue_max: int,
        bookmark: Callable[[str], Bookmark],
        moved_since: Callable[[str, Bookmark], Moved],
    ) -> None:
        self._bookmark = bookmark
        self._moved_since = moved_since
        self._get = get
        self._items = items
        self._decode = decode
        self._queue_max = queue_max
        self._maps: dict[str, set[Watch]] = {}
        self._values: dict[str, set[ValueWatch[Any]]] = {}
        self._shown: dict[str, dict[bytes, bytes]] = {}
        self._closed = False

    def entries(
        self, channel: str, prefix: bytes = b"", decode: Decode | None = None
    ) -> dict[str, Any]:
        """Return the present entries of a map channel whose keys have the prefix, decoded."""
        read = decode or self._decode
        decoded = (
            read(key, value)
            for key, value in self._items(channel).items()
            if key.startswith(prefix)
        )
        return {
            change.key: change.value
            for change in decoded
            if change is not None and change.value is not ABSENT
        }

    def open_map(
        self,
        channel: str,
        prefix: str,
        decode: Decode | None = None,
        *,
        resume: str | None = None,
    ) -> Watch:
        """Add a watcher; give it back with `shut`.

        `resume` is the token of the last event that it was told. Raises UsageError for what
        is no token of the channel.
        """
        self._check_open()
        at = None if resume is None else bookmark_of(channel, resume)
        watchers = self._maps.setdefault(channel, set())
        if not watchers:
            self._shown[channel] = {k: _digest(v) for k, v in self._items(channel).items()}
        start = prefix.encode()
        watch = Watch(
            lambda: Snapshot(self.entries(channel, start, decode), self._token(channel)),
            prefix=start,
            queue_max=self._queue_max,
            decode=decode or self._decode,
        )
        watchers.add(watch)
        if at is not None:
            self._resume(channel, watch, at)
        return watch

    def _resume(self, channel: str, watch: Watch, at: Bookmark) -> None:
        """Hand a watcher what moved since its bookmark, as the changes of one moment."""
        moved = self._moved_since(channel, at)
        decoded = (
            watch.decode(key, self._get(channel, key))
            for key in sorted(moved.keys)
            if key.startswith(watch.prefix)
        )
        changes = [change for change in decoded if change is not None]
        watch.resume(_moment(changes, self._token(channel)), forgotten=moved.forgotten)

    def _token(self, channel: str) -> str | None:
        return token_of(channel, self._bookmark(channel))

    def open_value(self, channel: str, read: Callable[[], T]) -> ValueWatch[T]:
        """Add a watcher of a lattice; give it back with `shut`."""
        self._check_open()
        watch = ValueWatch(read)
        self._values.setdefault(channel, set()).add(watch)
        return watch

    def shut(self, channel: str, watch: Watch | ValueWatch[Any]) -> None:
        """Remove a watcher."""
        watch.close()
        if isinstance(watch, Watch):
            _discard(self._maps, channel, watch)
            if channel not in self._maps:
                self._shown.pop(channel, None)
        else:
            _discard(self._values, channel, watch)

    def changed(self, channel: str, keys: tuple[bytes, ...]) -> None:
        """Tell the watchers of a channel which keys may have changed, all at one moment.

        A record can change without the value that is seen: an owner drops what another
        origin overwrote. Such a change is not told, hence the memory of what was shown.
        """
        for value_watch in self._values.get(channel, ()):
            value_watch.wake()
        watchers = self._maps.get(channel)
        if not watchers:
            return
        shown = self._shown[channel]
        moved: list[tuple[bytes, bytes | None]] = []
        for key in keys:
            value = self._get(channel, key)
            digest = None if value is None else _digest(value)
            if shown.get(key) == digest:
                continue
            if digest is None:
                del shown[key]
            else:
                shown[key] = digest
            moved.append((key, value))
        told: dict[Decode, dict[bytes, Change | None]] = {}
        token = self._token(channel) if moved else None
        for watch in watchers:
            known = told.setdefault(watch.decode, {})
            for key, value in moved:
                if key not in known and key.startswith(watch.prefix):
                    known[key] = watch.decode(key, value)
            seen = (known[key] for key, _ in moved if key.startswith(watch.prefix))
            mine = [change for change in seen if change is not None]
            if mine:
                watch.push(_moment(mine, token))

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        maps = sum(map(len, self._maps.values()))
        return maps + sum(map(len, self._values.values()))

    def check(self) -> None:
        """Raise InternalError when something is kept for a channel that nobody watches."""
        if self._shown.keys() != self._maps.keys():
            raise InternalError("what was shown is kept for other channels than are watched")
        if not all(self._maps.values()) or not all(self._values.values()):
            raise InternalError("a channel without watchers is kept")

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        for watches in self._maps.values():
            for watch in watches:
                watch.close()
        for value_watches in self._values.values():
            for value_watch in value_watches:
                value_watch.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the mesh is closed")


def _differs(value: object, last: object) -> bool:
    """Return whether a watcher is told; a user's type whose comparison raises hides nothing."""
    try:
        return bool(value != last)
    except Exception:
        return True


def _moment(changes: Sequence[Change], token: str | None) -> tuple[Change, ...]:
    """Return the changes of one moment, each with how many follow, the last with the token."""
    last = len(changes) - 1
    return tuple(
        evolve(change, more=last - at, token=token if at == last else None)
        for at, change in enumerate(changes)
    )


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


def _discard(table: dict[str, set[T]], channel: str, watch: T) -> None:
    watchers = table.get(channel)
    if watchers is not None:
        watchers.discard(watch)
        if not watchers:
            del table[channel]
