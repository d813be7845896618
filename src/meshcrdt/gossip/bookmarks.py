"""Where a reader of a channel stands, in few bytes, and what moved since.

A bookmark names the header that is held of each stream of the channel. What moved since is
asked of the journals of the streams, which begin again with what the disk held at a start:
so a bookmark outlives a restart unless its reader was behind already. What is not
remembered is counted, never guessed: deletions leave nothing behind that could tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.gossip.holdings import Channel
from meshcrdt.gossip.stream import SINCE_BYTES

Bookmark: TypeAlias = Mapping[PeerId, bytes]
"""By origin the first SINCE_BYTES of the hash of the header that is held."""


@frozen
class Moved:
    """What moved in a channel since a bookmark."""

    keys: frozenset[bytes]
    """That may have changed; some may have done so before the bookmark."""
    forgotten: int
    """Streams of which it is not known what moved; above 0 the keys are not all."""


def bookmark(channel: Channel | None) -> dict[PeerId, bytes]:
    """Return where a reader stands who has seen all that is held; None is an empty channel."""
    if channel is None:
        return {}
    return {
        origin: stream.state.ref.hash[:SINCE_BYTES] for origin, stream in channel.streams.items()
    }


def moved_since(channel: Channel | None, at: Bookmark) -> Moved:
    """Return what moved since a bookmark, which may come from anywhere."""
    streams = {} if channel is None else channel.streams
    keys: set[bytes] = set()
    forgotten = sum(origin not in streams for origin in at)
    for origin, stream in streams.items():
        since = at.get(origin)
        if since is None:
            keys.update(entry.key for entry in stream.state.tree.entries())
        elif since != stream.state.ref.hash[:SINCE_BYTES]:
            moved = stream.keys_since_short(since)
            if moved is None:
                forgotten += 1
            else:
                keys.update(moved)
    return Moved(frozenset(keys), forgotten)
