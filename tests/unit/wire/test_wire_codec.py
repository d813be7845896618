"""The codec: golden vectors, refusals of everything not canonical, and bombs."""

from __future__ import annotations

import json
import time
import tracemalloc
from enum import IntEnum
from pathlib import Path

import msgpack
import pytest
from attrs import evolve

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.wire import content_hash, decode, encode

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "wire_trees.json").read_text(encoding="utf-8")
)["vectors"]


def read_tagged(value: object) -> Tree:
    """Read a tree from its JSON form, in which bytes are {"bytes": hex}."""
    if isinstance(value, list):
        return tuple(read_tagged(item) for item in value)
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    assert value is None or isinstance(value, bool | int | str)
    return value


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_golden_vector(vector: dict[str, object]) -> None:
    tree = read_tagged(vector["tree"])
    data = bytes.fromhex(str(vector["encoding"]))
    assert encode(tree) == data
    assert decode(data) == tree
    assert content_hash(tree).hex() == vector["hash"]


def test_peer_id_encodes_as_bytes_and_comes_back_plain() -> None:
    peer = PeerId(b"p" * 16)
    assert encode((peer,)) == encode((b"p" * 16,))
    back = decode(encode((peer,)))
    assert isinstance(back, tuple)
    assert type(back[0]) is bytes


def test_subclasses_encode_as_their_base() -> None:
    class Code(IntEnum):
        PING = 3

    epoch = Epoch(4, b"i" * 8)
    assert encode((Code.PING, epoch)) == encode((3, (4, b"i" * 8)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "nothing"),
        ("c0c0", "trailing bytes"),
        ("80", "empty map"),
        ("8101c0", "map"),
        ("de0000", "map16"),
        ("df00000000", "map32"),
        ("df00000001", "map32, incomplete"),
        ("c1", "reserved code"),
        ("ca00000000", "float32"),
        ("cb0000000000000000", "float64"),
        ("cb7ff8000000000000", "NaN"),
        ("c70005", "empty ext"),
        ("d40500", "fixext1"),
        ("d6ff00000000", "timestamp"),
        ("cf8000000000000000", "above 2^63-1"),
        ("cfffffffffffffffff", "2^64-1"),
        ("cc01", "uint8 of a fixint"),
        ("cd0001", "uint16 of a fixint"),
        ("ce00000001", "uint32 of a fixint"),
        ("cf0000000000000001", "uint64 of a fixint"),
        ("d001", "int8 of a fixint"),
        ("d0ff", "int8 of a negative fixint"),
        ("d3ffffffffffffffff", "int64 of a negative fixint"),
        ("d90161", "str8 of a fixstr"),
        ("da000161", "str16 of a fixstr"),
        ("db0000000161", "str32 of a fixstr"),
        ("c5000161", "bin16 of a bin8"),
        ("c60000000161", "bin32 of a bin8"),
        ("dc0001c0", "array16 of a fixarray"),
        ("dd00000001c0", "array32 of a fixarray"),
        ("a1ff", "not UTF-8"),
        ("a3eda080", "a surrogate"),
        ("a2c080", "overlong UTF-8"),
        ("c40561", "truncated bytes"),
        ("92c0", "truncated list"),
        ("ddffffffff", "list of 2^32-1"),
        ("c6ffffffff", "bytes of 2^32-1"),
        ("dbffffffff", "text of 2^32-1"),
    ],
)
def test_refuses(data: str, why: str) -> None:
    with pytest.raises(MalformedTree):
        decode(bytes.fromhex(data))


def test_depth_limit() -> None:
    deepest = b"\x91" * 15 + b"\x90"
    assert encode(decode(deepest)) == deepest
    with pytest.raises(MalformedTree, match="deeper than 16"):
        decode(b"\x91" + deepest)
    nested: Tree = ()
    for _ in range(16):
        nested = (nested,)
    with pytest.raises(UsageError, match="deeper than 16"):
        encode(nested)


def test_text_and_list_limits() -> None:
    limits = evolve(DEFAULT_LIMITS, text_bytes_max=8, list_items_max=4)
    assert decode(encode(("x" * 8, 1, 2, 3)), limits=limits) == ("x" * 8, 1, 2, 3)
    with pytest.raises(MalformedTree):
        decode(encode("x" * 9), limits=limits)
    with pytest.raises(MalformedTree):
        decode(encode((1, 2, 3, 4, 5)), limits=limits)


@pytest.mark.parametrize(
    "bad",
    [1.5, [1], {1: 2}, {1}, bytearray(b"x"), (1, (2, [3])), (None, 0.0), INT_MAX + 1, 1 << 70],
    ids=repr,
)
def test_local_misuse_is_a_usage_error(bad: Tree) -> None:
    with pytest.raises(UsageError):
        encode(bad)
    with pytest.raises(UsageError):
        encode((b"\xcf", bad))


def test_surrogates_are_a_usage_error() -> None:
    with pytest.raises(UsageError):
        encode("\ud800")


BOMBS = {
    "10 MB of empty maps": b"\xdd\x00\xa0\x00\x00" + b"\x80" * 10_485_760,
    "a frame of empty maps": b"\xdc\xff\xff" + b"\x80" * 65_535,
    "a frame of empty maps in list32": b"\xdd\x00\x03\xff\x00" + b"\x80" * 0x3FF00,
    "nested maps": b"\x81\xc0" * 1_000 + b"\xc0",
    "deep lists": b"\x91" * 200_000 + b"\xc0",
    "nested list headers": b"\xdc\xff\xff" * 1_000,
    "nested list32 headers": b"\xdd\x00\x00\xff\xff" * 500,
    "one-item lists": b"\xdc\xff\xff" + b"\x91\xc3" * 65_535,
    "nested one-item lists": b"\xdc\x3f\xff" + (b"\x91" * 14 + b"\x90") * 0x3FFF,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(name: str) -> None:
    data = BOMBS[name]
    tracemalloc.start()
    before_s = time.process_time()
    try:
        decode(data)
    except MalformedTree:
        refused = True
    else:
        refused = False  # one-item lists within the limits are only a large value
    used_s = time.process_time() - before_s
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused or "one-item" in name
    # Maps are refused at the first one; lists cost up to 41 bytes for one byte of input.
    factor = 8 if "maps" in name else 48
    assert peak_bytes < factor * DEFAULT_LIMITS.frame_bytes_max
    assert used_s < 5.0


def test_the_bombs_are_bombs_without_our_care() -> None:
    maps = msgpack.unpackb(BOMBS["a frame of empty maps"])
    assert len(maps) == 65_535
