"""Golden bytes of messages between replicas: a change here is another protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gossip_world import SAMPLE_REF, forged, identity_of

from meshcrdt.base.ids import Dot
from meshcrdt.gossip.channels import Kind
from meshcrdt.gossip.compact import Compact, Rest, ShortRecord, packed
from meshcrdt.gossip.header import Dep, StreamKey
from meshcrdt.gossip.messages import (
    Absent,
    Delta,
    Head,
    Heads,
    NodeAt,
    Parsed,
    Refused,
    Root,
    Want,
    build,
    parse,
)
from meshcrdt.gossip.record import records_root
from meshcrdt.gossip.tree_messages import Branch, Have, Held, Turn, Wish
from meshcrdt.wire import decode, encode

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip_messages.json"
GENESIS = b"g" * 32


def samples() -> dict[str, Parsed]:
    ours, other = (StreamKey("c", identity_of(number).peer) for number in (0, 1))
    base = forged(0, {b"k": b"1"})
    record = forged(0, {b"0123456789": b"0123456789abcdef"}, seq=2).tree.get(b"0123456789")
    assert record is not None
    after = forged(
        0,
        {b"0123456789": b"0123456789abcdef"},
        seq=2,
        previous=base.ref.hash,
        records_root=records_root([record], [b"k"]),
    )
    compact = packed(base.ref, after, [record], (b"k",), 3)
    assert compact is not None
    dot = Dot(identity_of(1).peer, SAMPLE_REF.epoch, 7)
    return {
        "root": Root(b"d" * 16, b"v" * 16),
        "node": NodeAt(Kind.VOLATILE, b"\1\2", None, (Head(ours, SAMPLE_REF),)),
        "heads": Heads((Head(ours, SAMPLE_REF), Head(other, SAMPLE_REF))),
        "want": Want((Wish(ours, SAMPLE_REF), Wish(other, None))),
        "delta": Delta(after.envelope, base.ref, (record,), (b"k",), -2),
        "absent": Absent((ours,), (other,)),
        "refused": Refused(ours, b"h" * 32, "signature"),
        "have": Have((Held(ours, SAMPLE_REF.place),)),
        "turn lazy": Turn(Branch.LAZY, ()),
        "turn eager": Turn(Branch.EAGER, (Wish(ours, SAMPLE_REF),)),
        "compact": compact,
        "compact with all": Compact(
            stream=ours,
            since=b"12345678",
            counter=3,
            seq=70_000,
            hops=-1,
            puts=(
                ShortRecord(b"k", b"v", None, None, (dot,)),
                ShortRecord(b"l", None, SAMPLE_REF.epoch, 4, (dot,)),
                ShortRecord(b"m", b"v", None, 5, ()),
            ),
            drops=(b"a", b"b"),
            deps=(Dep(identity_of(1).peer, SAMPLE_REF),),
            rest=Rest(b"p" * 32, b"r" * 32),
            signature=b"s" * 64,
        ),
    }


@pytest.mark.parametrize("name", samples())
def test_messages_have_these_bytes_and_are_read_back(name: str) -> None:
    message = samples()[name]
    data = encode(build(message))
    assert data.hex() == json.loads(VECTORS.read_text())[name]
    read = parse(decode(data), GENESIS)
    assert encode(build(read)) == data
    if not isinstance(message, Delta):  # its envelope leaves out the key
        assert read == message


def test_the_vectors_hold_nothing_else() -> None:
    assert json.loads(VECTORS.read_text()).keys() == samples().keys()
