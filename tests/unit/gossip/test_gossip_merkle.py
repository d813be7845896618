"""The state tree: canonical, incremental, forgery needs a hash collision (F24)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.errors import MalformedTree
from meshcrdt.gossip import merkle
from meshcrdt.gossip.merkle import Inner, Leaf, MerkleMap, changed_keys, make_inner, make_leaf


def entry_hash(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=32).digest()


def put(tree: MerkleMap[bytes], items: dict[bytes, bytes], drops: set[bytes] = frozenset()):
    return tree.updated(((k, entry_hash(v), v) for k, v in items.items()), drops)


KEYS = st.integers(0, 400).map(lambda n: b"key-%d" % n)
BATCH = st.tuples(st.dictionaries(KEYS, st.binary(max_size=2), max_size=90), st.sets(KEYS))


@settings(max_examples=60)
@given(st.lists(BATCH, max_size=8))
def test_root_depends_on_content_alone(batches: list) -> None:
    tree: MerkleMap[bytes] = MerkleMap()
    model: dict[bytes, bytes] = {}
    for puts, drops in batches:
        drops = drops - puts.keys()
        tree = put(tree, puts, drops)
        model = {k: v for k, v in model.items() if k not in drops} | puts
    assert {e.key: e.value for e in tree.entries()} == model
    assert all(tree.get(key) == model.get(key) for key in [*model, b"absent"])
    fresh = put(MerkleMap(), dict(reversed(model.items())))
    assert fresh.root == tree.root
    assert len(tree) == len(model)
    tree.check()


@settings(max_examples=60)
@given(BATCH, BATCH)
def test_changed_keys_are_exactly_the_difference(one: tuple, other: tuple) -> None:
    before = put(MerkleMap(), one[0])
    after = put(before, other[0], other[1] - other[0].keys())
    old = {e.key: e.value for e in before.entries()}
    new = {e.key: e.value for e in after.entries()}
    expected = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)}
    assert changed_keys(before, after) == expected
    assert changed_keys(after, before) == expected


def test_f24_swapping_or_omitting_an_entry_moves_the_root() -> None:
    items = {b"%d" % n: b"v%d" % n for n in range(200)}
    root = put(MerkleMap(), items).root
    swapped = items | {b"1": items[b"2"], b"2": items[b"1"]}
    assert put(MerkleMap(), swapped).root != root
    for key in list(items)[:20]:
        assert put(MerkleMap(), {k: v for k, v in items.items() if k != key}).root != root


def test_a_leaf_holds_at_most_64_and_splits_and_joins_again() -> None:
    items = {b"%d" % n: b"" for n in range(64)}
    tree = put(MerkleMap(), items)
    assert isinstance(tree.node(b""), Leaf)
    grown = put(tree, {b"64": b""})
    assert isinstance(grown.node(b""), Inner)
    assert put(grown, {}, {b"64"}).root == tree.root


def test_an_update_rehashes_only_the_paths_that_it_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = put(MerkleMap(), {b"%d" % n: b"" for n in range(20_000)})
    assert tree.root
    calls = 0
    original = merkle._blake

    def counted(data: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return original(data)

    monkeypatch.setattr(merkle, "_blake", counted)
    assert put(tree, {b"7": b"new"}).root != tree.root
    assert calls < 10


def test_nodes_from_outside_must_be_canonical() -> None:
    tree = put(MerkleMap(), {b"%d" % n: b"" for n in range(300)})
    top = tree.node(b"")
    assert isinstance(top, Inner)
    child = tree.node(b"\3")
    assert isinstance(child, Leaf)
    items = [(e.key, e.hash, e.value) for e in child.entries.values()]
    assert make_leaf(b"\3", items).hash == child.hash
    with pytest.raises(MalformedTree, match="belongs elsewhere"):
        make_leaf(b"\4", items)
    with pytest.raises(MalformedTree, match="a leaf is expected"):
        make_inner([child, *[None] * 15])
    assert make_inner(top.children).hash == top.hash


def test_below_finds_entries_whatever_the_shape() -> None:
    tree = put(MerkleMap(), {b"%d" % n: b"" for n in range(500)})
    for path in (b"", b"\1", b"\1\2", b"\1\2\3\4"):
        found = {e.key for e in tree.below(path)}
        wanted = {
            e.key
            for e in tree.entries()
            if bytes(x for b in e.path for x in (b >> 4, b & 15)).startswith(path)
        }
        assert found == wanted
    assert tree.node(b"\1" * 64) is None
