"""How streams become rows and come back.

A stream's header and the records that it changed go to disk in one transaction, never a
header ahead of its state (finding F16). On load the root of each stream is computed anew
and its signature checked: what fails drops to bottom and is fetched again from peers,
so a damaged disk loses nothing that another replica holds and spreads nothing wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from meshcrdt.abc import Row
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.errors import MeshError
from meshcrdt.gossip.header import Envelope, KeyOnWire, StreamKey, Verify
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State, shared
from meshcrdt.gossip.validity import counts_rule, is_whole
from meshcrdt.wire import decode, encode

STREAM_TABLE = "stream"
RECORD_TABLE = "record"
EVIDENCE_TABLE = "evidence"
PREFIX_BYTES = 16


def row_prefix(raw: bytes) -> bytes:
    """Return what the keys of all record rows of a stream begin with, given its raw key."""
    return hashlib.blake2b(raw, digest_size=PREFIX_BYTES).digest()


def state_rows(state: State, changed: Iterable[bytes]) -> tuple[Row, ...]:
    """Return the rows that bring the store from the state before `changed` to this one."""
    key = state.header.stream
    prefix = row_prefix(key.raw)
    rows: list[Row] = []
    for record_key in sorted(changed):
        record = state.tree.get(record_key)
        value = None if record is None else encode(record.to_tree(key.origin, None))
        rows.append((RECORD_TABLE, prefix + record_key, value))
    rows.append((STREAM_TABLE, key.raw, encode(state.envelope.to_tree(KeyOnWire.SENT))))
    return tuple(rows)


def _deletes(prefix: bytes, record_keys: Iterable[bytes]) -> tuple[Row, ...]:
    return tuple((RECORD_TABLE, prefix + key, None) for key in sorted(record_keys))


def forget_rows(key: StreamKey, record_keys: Iterable[bytes]) -> tuple[Row, ...]:
    """Return the rows that remove a stream from the store."""
    return (*_deletes(row_prefix(key.raw), record_keys), (STREAM_TABLE, key.raw, None))


@frozen
class Loaded:
    """One stream as the store has it: its state, or why it is dropped and the rows to delete."""

    name: str
    state: State | None
    reason: str = ""
    delete: tuple[Row, ...] = ()


def load_streams(
    tables: Mapping[str, Mapping[bytes, bytes]],
    genesis: bytes,
    verify: Verify,
    memo: Memo = NO_MEMO,
) -> Iterator[Loaded]:
    """Yield every stored stream, good or bad; raises nothing for what the store holds."""
    by_prefix: dict[bytes, dict[bytes, bytes]] = {}
    for row_key, value in tables.get(RECORD_TABLE, {}).items():
        by_prefix.setdefault(row_key[:PREFIX_BYTES], {})[row_key[PREFIX_BYTES:]] = value
    for raw, value in sorted(tables.get(STREAM_TABLE, {}).items()):
        prefix = row_prefix(raw)
        rows = by_prefix.pop(prefix, {})
        held = tuple(sorted(rows.values()))
        state, reason = memo.of_equal(_load_one, raw, value, held, genesis, verify)
        if state is not None:
            yield Loaded(str(state.header.stream), shared(state, memo))
            continue
        delete = (*_deletes(prefix, rows), (STREAM_TABLE, raw, None))
        yield Loaded(raw.hex(), None, reason, delete)
    for prefix, rows in by_prefix.items():
        yield Loaded(prefix.hex(), None, "records without a header", _deletes(prefix, rows))


def _load_one(
    raw: bytes, value: bytes, rows: tuple[bytes, ...], genesis: bytes, verify: Verify
) -> tuple[State | None, str]:
    """Return the state that rows hold, or None and why they hold none."""
    try:
        return _assembled(raw, value, rows, genesis, verify)
    except MeshError as error:
        return None, str(error)


def _assembled(
    raw: bytes, value: bytes, rows: tuple[bytes, ...], genesis: bytes, verify: Verify
) -> tuple[State | None, str]:
    envelope = Envelope.from_tree(decode(value), genesis)
    header = envelope.header
    if header.stream.raw != raw:
        return None, "the header belongs to another stream"
    # Who may sign for another is known only once governance is: `Replica.load` looks at it.
    signed = envelope.is_signed if header.capability is None else envelope.verified_by
    if not signed(verify):
        return None, "the signature of the header fails"
    records = [Record.from_tree(decode(row), header.origin, None) for row in rows]
    tree: MerkleMap[Record] = MerkleMap()
    tree = tree.updated((record.key, record.hash, record) for record in records)
    if not is_whole(header, tree):
        return None, "the records do not match the root of the header"
    cost = sum(record.cost_bytes for record in records)
    rule = counts_rule(header, keys=len(records), cost_bytes=cost)
    return (None, rule) if rule else (State(envelope, tree), "")
