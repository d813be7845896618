"""What channels mean: views over the records that gossip keeps.

Storage converges without running any of this code (finding F33), so a user's broken
lattice can spoil only its own view.

A **map channel** is an OR-Map of last-writer registers: each record is (counter, value).
A put supersedes every record of its key that the writer saw; of concurrent puts the
higher (counter, origin) wins, everywhere the same; a put survives a concurrent delete,
because a delete names the exact dots that it removes. The counter is at most one above
what the writer saw, so nobody can lock others out (finding F12).

A **lattice channel** keeps one record per origin: the join of that origin's own deltas.
The value is the join over origins, which is the state-based CRDT for every lattice; it is
made in `node.lattices`, where alone a user's type runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import INT_MAX, take_bytes, take_int, take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.gossip.holdings import Visible
from meshcrdt.gossip.replica import Replica
from meshcrdt.wire import decode, encode

CHANNELS = "channels"
DIRECTORY = "directory"
ENDPOINTS = "endpoints"
GOVERNANCE = "governance"
IPAM = "ipam"
NAMES = "names"
ADJACENCY = "~adjacency"
RESERVED = frozenset({CHANNELS, DIRECTORY, ENDPOINTS, GOVERNANCE, IPAM, NAMES})
NODE_CHANNELS = RESERVED | {ADJACENCY}
"""Channels that a node may come to write to at any time: users leave room for them."""

MAP_TYPE = "ormap-lww"
LATTICE_KEY = b"\0"


def check_user_channel(channel: str) -> None:
    """Raise UsageError when a user may not write to a channel of this name."""
    if channel in RESERVED or channel.startswith("~"):
        raise UsageError(
            f"channel {channel!r} is the node's own: "
            f"any name but {', '.join(sorted(RESERVED))} and names with a leading '~' is accepted"
        )
    if not channel or not channel.isprintable():
        raise UsageError(f"channel {channel!r} is not a name: printable text is accepted")


def map_get(replica: Replica, channel: str, key: bytes) -> bytes | None:
    """Return the winning value of a key, or None when it is absent."""
    winner = map_winner(replica.visible(channel, key))
    return None if winner is None else winner.value


def map_items(replica: Replica, channel: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield every (key, winning value) of a map channel."""
    for key, visible in replica.entries(channel):
        winner = map_winner(visible)
        if winner is not None:
            yield key, winner.value


def map_encode(replica: Replica, channel: str, key: bytes, value: bytes) -> bytes:
    """Return the record value of a put made now, over everything seen of the key."""
    counters = [0]
    staged = replica.own_value(channel, key)
    for raw in (staged, *(seen.value for seen in replica.visible(channel, key))):
        entry = map_entry(raw)
        if entry is not None:
            counters.append(entry[0])
    # A liar's counter may be the last one there is. It names no successor, and needs none:
    # a put goes over every record that its writer saw, so only concurrent ones are compared.
    return encode((min(max(counters) + 1, INT_MAX), value))


def declared_type(replica: Replica, channel: str) -> str | None:
    """Return the declared type name of a channel; the least of concurrent declarations."""
    names = []
    for seen in replica.visible(CHANNELS, channel.encode()):
        try:
            name = take_str(decode(seen.value), "channel type", size_max=128)
        except MalformedTree:
            continue  # a liar's declaration declares nothing
        if name and name.isprintable():  # what no type can be called declares nothing either
            names.append(name)
    return min(names, default=None)


def declaration(type_name: str) -> bytes:
    """Return the record value that declares a channel's type."""
    return encode(type_name)


@frozen
class Winner:
    """The record of a map's key that is shown: the highest (counter, origin)."""

    counter: int
    origin: PeerId
    value: bytes


def map_winner(visible: tuple[Visible, ...]) -> Winner | None:
    """Return which of the visible records of a key a map shows, or None."""
    best: Winner | None = None
    for seen in visible:
        entry = map_entry(seen.value)
        if entry is None:
            continue
        if best is None or (entry[0], seen.origin) > (best.counter, best.origin):
            best = Winner(entry[0], seen.origin, entry[1])
    return best


def map_entry(raw: bytes | None) -> tuple[int, bytes] | None:
    """Return the (counter, value) of a map's record; None for what is none."""
    if raw is None:
        return None
    try:
        counter, value = take_tuple(decode(raw), "map entry", size=2)
        return take_int(counter, "counter"), take_bytes(value, "value")
    except MalformedTree:
        return None  # not a map record: it is invisible here, and explain() shows it
