"""Properties of the codec: any bytes, any tree, any cut of a stream."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import FrameSplitter, content_hash, decode, decode_frame, encode, prefix

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-INT_MAX - 1, INT_MAX)
    | st.binary(max_size=300)
    | st.text(max_size=100)
)
trees: st.SearchStrategy[Tree] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=20).map(tuple), max_leaves=40
)


@given(trees)
def test_encode_then_decode_is_identity(tree: Tree) -> None:
    data = encode(tree)
    back = decode(data)
    assert back == tree
    assert encode(back) == data
    assert content_hash(back) == content_hash(tree)


@given(trees, trees)
def test_equal_encodings_mean_equal_trees(one: Tree, other: Tree) -> None:
    assert (encode(one) == encode(other)) == (repr(one) == repr(other))


@given(st.binary(max_size=400))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x81\xc0\xc0")
def test_any_bytes_give_a_tree_or_malformed(data: bytes) -> None:
    try:
        tree = decode(data)
    except MalformedTree:
        return
    assert encode(tree) == data


@given(trees, st.data())
def test_a_changed_byte_never_gives_the_same_tree(tree: Tree, data: st.DataObject) -> None:
    raw = bytearray(encode(tree))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    try:
        back = decode(bytes(raw))
    except MalformedTree:
        return
    assert encode(back) == bytes(raw)
    assert repr(back) != repr(tree)


@given(st.binary(max_size=200) | trees.map(encode))
def test_decode_frame_never_raises_anything_else(data: bytes) -> None:
    try:
        messages = decode_frame(data)
    except MalformedTree:
        return
    assert all(type(message[0]) is int for message in messages)


@given(st.lists(st.binary(max_size=40), max_size=10), st.data())
def test_splitter_gives_the_frames_for_any_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(prefix(frame) + frame for frame in frames)
    splitter = FrameSplitter(40)
    out: list[bytes] = []
    position = 0
    while position < len(stream):
        step = data.draw(st.integers(1, len(stream) - position))
        out += splitter.feed(stream[position : position + step])
        splitter.check()
        position += step
    assert out == frames
    assert splitter.is_empty
