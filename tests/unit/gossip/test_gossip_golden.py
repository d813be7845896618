"""Golden vectors of what is signed: a change here is a new format, and breaks old clusters."""

from __future__ import annotations

import pytest
from gossip_world import SAMPLE_EPOCH as EPOCH
from gossip_world import identity_of, sample_header

from meshcrdt.base.ids import Dot
from meshcrdt.gossip.header import StreamKey, seal
from meshcrdt.gossip.merkle import MerkleMap, key_path
from meshcrdt.gossip.messages import Get, Wanted, build, parse
from meshcrdt.gossip.record import Record
from meshcrdt.wire import encode

ME, OTHER = identity_of(0), identity_of(1)


def test_header_body_hash_and_signature() -> None:
    header = sample_header()
    assert header.body.hex() == (
        "9eaf676f737369702f6865616465722f31c420" + "67" * 32 + "a163"
        "c410e6808f33fbec87975122804ac9ceda8e" + "9203c408696e7374616e636501"
        "c420" + "70" * 32 + "939202c408696e7374616e636509c420" + "68" * 32 + "c420"
        "" + "72" * 32 + "c420" + "73" * 32 + "02cd012c9192"
        "c410b18f47587456f38669826ce18fcdb2aa939202c408696e7374616e636509c420"
        + "68" * 32
        + "c420"
        + "63" * 32
    )
    assert header.hash.hex() == "87938857f05bdba4f8fa9f272e5b72e35b378dc5a30a24cfd31a4f3ce120cbfb"
    assert seal(header, ME).signature.hex() == (
        "a55368dc8c749196ac4f7e8e6a5d7e608477cef0d5751abcb2a9030005ab11ee"
        "69cd1b669f23dbef5f3018e852831470bdeecdf66366c84c0c756f27a4352c0e"
    )


def test_record_hash() -> None:
    record = Record(b"k", Dot(ME.peer, EPOCH, 4), b"v", (Dot(OTHER.peer, EPOCH, 2),))
    assert record.hash.hex() == "c245157f06013ef6f4301c50080d0813af46c006474874c0c0c5e30a8ac7337c"


@pytest.mark.parametrize(
    ("count", "root"),
    [
        (0, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"),
        (1, "d08407f2e63626026f988d5fedd828185867a4b33bae778702f46210947df05f"),
        (64, "03ff16b53783e855908712ceae9f5094dd51a74f3fac50cbb7329f67ac678cf1"),
        (65, "f785ce5ff9ee583d64156b39484790b146396947c9949360f54a32a4f6ff8adf"),
        (1000, "c0d06370917d079eaffa3b76ad465bbf48598d991f2e03e047fa6ee3ee85dab1"),
    ],
)
def test_merkle_roots(count: int, root: str) -> None:
    items = ((b"%d" % n, key_path(b"v%d" % n), None) for n in range(count))
    assert MerkleMap[None]().updated(items).root.hex() == root


def test_get_names_an_offset_only_within_a_leaf() -> None:
    items = (Wanted(b"", b"h" * 32), Wanted(b"\1\2", b"i" * 32, 7))
    message = build(Get(StreamKey("c", ME.peer), items))
    assert encode(message).hex() == (
        "9416a163c410e6808f33fbec87975122804ac9ceda8e92"
        "92c400c420" + "68" * 32 + "93c4020102c420" + "69" * 32 + "07"
    )
    assert parse(message, b"g" * 32) == Get(StreamKey("c", ME.peer), items)
