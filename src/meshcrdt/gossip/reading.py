"""What can be read from a replica: always the state of whole headers, never a stage.

Nothing here runs lattice code (finding F33): which of several visible records wins, or
how they fold into one value, is for the layer above.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from attrs import frozen

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.gossip import bookmarks
from meshcrdt.gossip.adopt import Adopter
from meshcrdt.gossip.bookmarks import Bookmark, Moved
from meshcrdt.gossip.channels import Kind, kind_of
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.evidence import Evidence
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.holdings import Visible
from meshcrdt.gossip.local import Local
from meshcrdt.gossip.messages import Proof
from meshcrdt.gossip.quarantine import Offence
from meshcrdt.gossip.steward import Steward
from meshcrdt.gossip.sync import Sync
from meshcrdt.wire import content_hash


@frozen
class Explanation:
    """One record of a key: who wrote it, how it came here, and who superseded it."""

    origin: PeerId
    dot: Dot
    value: bytes | None
    header: Ref
    from_peer: PeerId | None
    arrived_at: float
    superseded_by: tuple[PeerId, ...]


class Reading:
    """The queries of a replica; `Replica` adds what changes it."""

    _context: Context
    _local: Local
    _adopter: Adopter
    _evidence: Evidence
    _steward: Steward
    _sync: Sync

    @property
    def me(self) -> PeerId:
        """Our own peer id."""
        return self._context.me

    def visible(self, channel: str, key: bytes) -> tuple[Visible, ...]:
        """Return the live records of a key that nothing held supersedes, sorted by origin."""
        held = self._context.holdings.channels.get(channel)
        return () if held is None else held.visible(key)

    def entries(self, channel: str) -> Iterator[tuple[bytes, tuple[Visible, ...]]]:
        """Yield (key, visible records) of a channel, sorted by key, without empty ones."""
        held = self._context.holdings.channels.get(channel)
        if held is None:
            return
        by_key = held.by_key()
        for key in sorted(by_key):
            found = held.visible_of(key, by_key[key])
            if found:
                yield key, found

    def value_of(self, channel: str, origin: PeerId, key: bytes) -> bytes | None:
        """Return one origin's own value of a key: how owned channels are read, in O(1)."""
        held = self._context.holdings.channels.get(channel)
        record = None if held is None else held.record(key, origin)
        return None if record is None else record.value

    def records_of(self, channel: str, origin: PeerId) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of one origin's own records, superseded ones too, sorted by key."""
        stream = self._context.holdings.stream(StreamKey(channel, origin))
        if stream is not None:
            held = [(entry.key, entry.value.value) for entry in stream.state.tree.entries()]
            yield from sorted((key, value) for key, value in held if value is not None)

    def own_value(self, channel: str, key: bytes) -> bytes | None:
        """Return this node's value of a key, writes that wait for the disk included."""
        return self._local.own_value(channel, key)

    def own_keys(self, channel: str) -> list[bytes]:
        """Return the keys for which `own_value` returns something, sorted."""
        return self._local.own_keys(channel)

    def own_channels(self) -> frozenset[str]:
        """Return the channels that this node writes to, those not yet on disk included."""
        return self._local.own_channels()

    def head(self, channel: str, origin: PeerId) -> Ref | None:
        """Return which header is held of a stream, or None."""
        return self._context.holdings.ref(StreamKey(channel, origin))

    def holds(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        """Return whether a write is part of what is held here."""
        ref = self.head(channel, origin)
        return ref is not None and (ref.epoch, ref.seq) >= (epoch, seq)

    def held_durably(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        """Return whether a write is part of what is on disk here."""
        stream = self._context.holdings.stream(StreamKey(channel, origin))
        ref = None if stream is None else stream.durable
        return ref is not None and (ref.epoch, ref.seq) >= (epoch, seq)

    def in_sync_at(self) -> float | None:
        """Return when a linked peer last showed equal roots, or None when none ever did."""
        return self._sync.equal_at

    def bookmark(self, channel: str) -> dict[PeerId, bytes]:
        """Return where a reader stands who has seen all that is held of a channel."""
        return bookmarks.bookmark(self._context.holdings.channels.get(channel))

    def moved_since(self, channel: str, at: Bookmark) -> Moved:
        """Return which keys of a channel moved since a bookmark, as far as it is remembered."""
        return bookmarks.moved_since(self._context.holdings.channels.get(channel), at)

    def origins(self, channel: str) -> tuple[PeerId, ...]:
        """Return the origins that have a stream in a channel, sorted."""
        held = self._context.holdings.channels.get(channel)
        return () if held is None else tuple(sorted(held.streams))

    def channels(self) -> tuple[str, ...]:
        """Return the channels that hold at least one stream, sorted."""
        return tuple(sorted(self._context.holdings.channels))

    def channels_of(self, origin: PeerId) -> frozenset[str]:
        """Return the channels in which an origin has a stream here."""
        return self._context.holdings.channels_of(origin)

    def needless_adoptions(self, members: Container[PeerId]) -> frozenset[PeerId]:
        """Return for whom this node adopts in vain; see `Steward.needless`."""
        return self._steward.needless(members)

    def digests(self) -> dict[str, str]:
        """Return one hex digest for each durable channel: equal digests hold equal bytes."""
        found = {}
        for name in self.channels():
            if kind_of(name) is Kind.DURABLE:
                streams = self._context.holdings.channels[name].streams
                heads = tuple((bytes(o), streams[o].state.header.hash) for o in sorted(streams))
                found[name] = content_hash(heads).hex()
        return found

    @property
    def root(self) -> bytes:
        """The root over all durable streams: equal roots hold equal bytes."""
        return self._context.holdings.trees[Kind.DURABLE].root

    def explain(self, channel: str, key: bytes) -> tuple[Explanation, ...]:
        """Return every held record of a key, hidden ones too, with where it came from."""
        held = self._context.holdings.channels.get(channel)
        found = []
        for origin, record in sorted({} if held is None else held.records(key).items()):
            stream = self._context.holdings.stream(StreamKey(channel, origin))
            if held is None or stream is None:
                continue
            found.append(
                Explanation(
                    origin=origin,
                    dot=record.dot,
                    value=record.value,
                    header=stream.state.ref,
                    from_peer=stream.from_peer,
                    arrived_at=stream.arrived_at,
                    superseded_by=tuple(sorted(held.superseded_by(key, record.dot))),
                )
            )
        return tuple(found)

    def quarantined(self) -> tuple[Offence, ...]:
        """Return the headers that were judged invalid, oldest first."""
        return self._context.quarantine.offences()

    def equivocations(self) -> tuple[Proof, ...]:
        """Return the proofs of origins that signed two headers for one place."""
        return self._evidence.proofs()
