"""Eager deltas that came before the header they build on (finding F27).

When a link becomes a branch while a flush is on its way, a delta can overtake the one
before it. It waits here, unproved, for as long as an announcement would; when its base comes
it is applied, else the stream is asked for. Nothing here is trusted, so all of it is
bounded: for one stream, for one link and for all together.
"""

from __future__ import annotations

from attrs import frozen

from meshcrdt.errors import InternalError
from meshcrdt.gossip.compact import Compact
from meshcrdt.gossip.header import PLACE_HASH_BYTES, Place, Ref, StreamKey
from meshcrdt.gossip.messages import Delta
from meshcrdt.gossip.record import RECORD_OVERHEAD_BYTES

FLUSHES_MAX = 8
STREAM_BYTES_MAX = 64 * 1024
STREAMS_MAX = 64
"""All that wait take at most this many times as much as those of one stream."""


@frozen
class _Waiting:
    link: int
    message: Delta | Compact
    since: bytes
    place: Place
    size_bytes: int


def _waiting(link: int, message: Delta | Compact) -> _Waiting:
    size = RECORD_OVERHEAD_BYTES * (1 + len(message.puts)) + sum(map(len, message.drops))
    for put in message.puts:
        size += len(put.key) + len(put.value or b"")
        size += RECORD_OVERHEAD_BYTES * len(put.supersedes)
    if isinstance(message, Compact):
        return _Waiting(link, message, message.since, message.place, size)
    since = b"" if message.since is None else message.since.hash[:PLACE_HASH_BYTES]
    return _Waiting(link, message, since, message.envelope.header.ref.place, size)


class Reordered:
    """The deltas that wait for their base."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, list[_Waiting]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def put(self, key: StreamKey, link: int, message: Delta | Compact) -> bool:
        """Let a delta wait; returns False, and forgets the stream's, when there are too many."""
        waiting = [*self._streams.pop(key, ()), _waiting(link, message)]
        size = sum(each.size_bytes for each in waiting)
        if len(waiting) > FLUSHES_MAX or size > STREAM_BYTES_MAX:
            return False
        self._streams[key] = waiting
        if len(self._streams) > STREAMS_MAX:
            del self._streams[next(iter(self._streams))]
        return True

    def take(self, key: StreamKey, held: Ref) -> list[tuple[int, Delta | Compact]]:
        """Take out the deltas that build on the held header; what it outranks is forgotten."""
        waiting = self._streams.pop(key, None)
        if waiting is None:
            return []
        ready = [each for each in waiting if each.since == held.hash[:PLACE_HASH_BYTES]]
        later = [each for each in waiting if each.place > held.place and each not in ready]
        if later:
            self._streams[key] = later
        return [(each.link, each.message) for each in ready]

    def link_closed(self, link: int) -> None:
        """Drop what a link brought: nobody is left to blame for it."""
        for key, waiting in list(self._streams.items()):
            kept = [each for each in waiting if each.link != link]
            if kept:
                self._streams[key] = kept
            else:
                del self._streams[key]

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._streams) > STREAMS_MAX:
            raise InternalError("deltas of more streams wait than the bound allows")
        for key, waiting in self._streams.items():
            size = sum(each.size_bytes for each in waiting)
            if not 0 < len(waiting) <= FLUSHES_MAX or size > STREAM_BYTES_MAX:
                raise InternalError(f"{key}: more deltas wait than the bound allows")
