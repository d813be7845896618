"""The compact delta: a flush without anything that a holder of its base can compute.

A header has some 190 bytes, most of them hashes that follow from the state before and the
change: the hash of the header before it, the root over what changed, the root and the counts of
the state after. They are left out. The receiver applies the change to the state that it
holds, computes the header that its origin must have signed, and checks the signature over
that: a lie about anything shows there, exactly as if the header had been sent. Only a flush
that continues the epoch of its base has this form.

What is left out is put in again where it does not follow: a delta over several flushes
names the header before the last one and what that flush alone changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from attrs import frozen

from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import (
    INT_MAX,
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_tuple,
)
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.header import (
    PLACE_HASH_BYTES,
    Dep,
    Envelope,
    Header,
    Place,
    Ref,
    StreamKey,
    dep_trees,
    stream_fields,
    take_deps,
    take_stream,
)
from meshcrdt.gossip.record import Record, records_root, take_supersedes, take_value
from meshcrdt.gossip.stream import State, changed_tree
from meshcrdt.trust.identity import SIGNATURE_BYTES
from meshcrdt.wire import HASH_BYTES

HOPS_MAX = 1_024


class ShortRecord(NamedTuple):
    """A record of the stream's origin; epoch and seq are None where they are the header's."""

    key: bytes
    value: bytes | None
    epoch: Epoch | None
    seq: int | None
    supersedes: tuple[Dot, ...]


class Rest(NamedTuple):
    """What does not follow from base and change when several flushes are told in one."""

    previous: bytes
    records_root: bytes


@frozen
class Compact:
    """What takes a holder of one header to a later one of the same epoch."""

    stream: StreamKey
    since: bytes
    """The first bytes of the hash of the header that it builds on."""
    counter: int
    seq: int
    hops: int
    puts: tuple[ShortRecord, ...]
    drops: tuple[bytes, ...]
    deps: tuple[Dep, ...]
    rest: Rest | None
    signature: bytes

    @property
    def place(self) -> Place:
        """Where it leads, as far as that is known before it is applied."""
        return Place(self.counter, self.seq, b"")


def packed(
    since: Ref, state: State, puts: Iterable[Record], drops: tuple[bytes, ...], hops: int
) -> Compact | None:
    """Return the compact delta from a header to a state, or None where it has no such form."""
    header = state.header
    records = tuple(puts)
    if since.epoch != header.epoch or header.base is not None or header.capability is not None:
        return None
    if any(record.dot.origin != header.origin for record in records):
        return None
    follows = header.previous == since.hash and header.seq == since.seq + 1
    if follows and records_root(records, drops) == header.records_root:
        rest = None
    else:
        rest = Rest(header.previous, header.records_root)
    return Compact(
        stream=header.stream,
        since=since.hash[:PLACE_HASH_BYTES],
        counter=header.epoch.counter,
        seq=header.seq,
        hops=hops,
        puts=tuple(_shortened(record, header) for record in records),
        drops=drops,
        deps=header.deps,
        rest=rest,
        signature=state.envelope.signature,
    )


def _shortened(record: Record, header: Header) -> ShortRecord:
    dot = record.dot
    return ShortRecord(
        record.key,
        record.value,
        None if dot.epoch == header.epoch else dot.epoch,
        None if dot.epoch == header.epoch and dot.seq == header.seq else dot.seq,
        record.supersedes,
    )


def expanded(base: State, message: Compact) -> State:
    """Return the state after a compact delta on its base, under the header that must be signed.

    Pure. The envelope has no key, and its signature is not checked here.
    """
    before = base.header
    origin = before.origin
    records = [_record(short, origin, before.epoch, message.seq) for short in message.puts]
    tree, cost = changed_tree(base, records, message.drops)
    rest = message.rest or Rest(base.ref.hash, records_root(records, message.drops))
    header = Header(
        genesis=before.genesis,
        channel=before.channel,
        origin=origin,
        epoch=before.epoch,
        seq=message.seq,
        previous=rest.previous,
        base=None,
        records_root=rest.records_root,
        state_root=tree.root,
        live_keys=len(tree),
        live_bytes=cost,
        deps=message.deps,
    )
    return State(Envelope(header, b"", message.signature), tree)


def _record(short: ShortRecord, origin: PeerId, epoch: Epoch, seq: int) -> Record:
    dot = Dot(origin, short.epoch or epoch, seq if short.seq is None else short.seq)
    return Record(short.key, dot, short.value, short.supersedes)


# --- the wire ----------------------------------------------------------------------------------


def build_compact(message: Compact) -> tuple[Tree, ...]:
    """Return the whole tuple of a compact delta."""
    return (
        Code.COMPACT.value,
        *stream_fields(message.stream),
        message.since,
        message.counter,
        message.seq,
        message.hops,
        tuple(map(_short_tree, message.puts)),
        message.drops,
        dep_trees(message.deps),
        None if message.rest is None else tuple(message.rest),
        message.signature,
    )


def _short_tree(short: ShortRecord) -> Tree:
    key, value, epoch, seq, supersedes = short
    if value is not None and seq is None and not supersedes:
        return (key, value)
    dots = tuple((bytes(dot.origin), epoch_tree(dot.epoch), dot.seq) for dot in supersedes)
    return (key, value, None if epoch is None else epoch_tree(epoch), seq, dots)


def read_compact(fields: tuple[Tree, ...], _genesis: bytes) -> Compact:
    """Read the fields after the code; raises MalformedTree."""
    channel, origin, since, counter, seq, hops, puts, drops, deps, rest, signature = fields
    return Compact(
        stream=take_stream(channel, origin),
        since=take_bytes(since, "since", size=PLACE_HASH_BYTES),
        counter=take_int(counter, "counter"),
        seq=take_int(seq, "seq", low=2, high=INT_MAX),
        hops=take_int(hops, "hops", low=-HOPS_MAX, high=HOPS_MAX),
        puts=tuple(_take_short(put) for put in take_tuple(puts, "puts")),
        drops=tuple(
            take_bytes(key, "drop", size_max=DEFAULT_LIMITS.key_bytes_max)
            for key in take_tuple(drops, "drops")
        ),
        deps=take_deps(deps),
        rest=None if rest is None else _take_rest(rest),
        signature=take_bytes(signature, "signature", size=SIGNATURE_BYTES),
    )


def _take_rest(tree: Tree) -> Rest:
    previous, changed = take_tuple(tree, "rest", size=2)
    return Rest(
        take_bytes(previous, "rest.previous", size=HASH_BYTES),
        take_bytes(changed, "rest.records_root", size=HASH_BYTES),
    )


def _take_short(tree: Tree) -> ShortRecord:
    items = take_tuple(tree, "put")
    if len(items) == 2:
        key, value = take_value(*items)
        if value is None:
            raise MalformedTree("a put has neither a value nor anything that it supersedes")
        return ShortRecord(key, value, None, None, ())
    key_tree, value_tree, epoch, seq, dots = take_tuple(tree, "put", size=5)
    key, held = take_value(key_tree, value_tree)
    supersedes = take_supersedes(dots)
    if held is None and not supersedes:
        raise MalformedTree("a record has neither a value nor anything that it supersedes")
    short = ShortRecord(
        key,
        held,
        None if epoch is None else take_epoch(epoch, "put.epoch"),
        None if seq is None else take_int(seq, "put.seq", low=1),
        supersedes,
    )
    if short.seq is None and (short.epoch is not None or (held is not None and not supersedes)):
        raise MalformedTree("a put has a longer form than it needs, or an epoch without a seq")
    return short
