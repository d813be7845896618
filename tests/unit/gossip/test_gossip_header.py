"""Records, headers and envelopes: what is signed, and what is refused while reading."""

from __future__ import annotations

import pytest
from attrs import evolve
from gossip_world import GENESIS, identity_of, sample_header
from gossip_world import SAMPLE_EPOCH as EPOCH
from gossip_world import SAMPLE_REF as REF

from meshcrdt.base.ids import Dot, Epoch
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip.header import DEPS_MAX, Dep, Envelope, Header, KeyOnWire, Ref, seal
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.validity import STREAM_KEYS_MAX, counts_rule, header_rule, record_rule
from meshcrdt.trust.identity import verify
from meshcrdt.wire import decode, encode

ME, OTHER = identity_of(0), identity_of(1)


def test_envelope_survives_the_wire_and_verifies() -> None:
    sealed = seal(sample_header(), ME)
    read = Envelope.from_tree(decode(encode(sealed.to_tree(KeyOnWire.SENT))), GENESIS)
    assert read == sealed
    assert read.header.hash == sealed.header.hash
    assert read.verified_by(verify)
    bare = Envelope.from_tree(decode(encode(sealed.to_tree(KeyOnWire.OMITTED))), GENESIS)
    assert bare.public == b""


@pytest.mark.parametrize(
    "changes",
    [
        {"genesis": b"x" * 32},
        {"channel": "d"},
        {"origin": OTHER.peer},
        {"epoch": Epoch(3, b"instancf")},
        {"seq": 2},
        {"previous": b"q" * 32},
        {"base": None},
        {"records_root": b"q" * 32},
        {"state_root": b"q" * 32},
        {"live_keys": 3},
        {"live_bytes": 301},
        {"deps": ()},
        {"capability": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_f1_every_field_is_under_the_signature_and_in_the_hash(changes: dict) -> None:
    sealed = seal(sample_header(), ME)
    changed = sample_header(**changes)
    assert changed.hash != sealed.header.hash
    assert not evolve(sealed, header=changed).verified_by(verify)


def test_f34_a_header_of_another_cluster_does_not_verify_here() -> None:
    tree = seal(sample_header(), ME).to_tree(KeyOnWire.SENT)
    assert not Envelope.from_tree(tree, b"y" * 32).verified_by(verify)


def test_f14_epochs_of_two_instances_are_ordered_and_never_equal() -> None:
    refs = [
        Ref(Epoch(1, b"bbbbbbbb"), 1, b"0" * 32),
        Ref(Epoch(1, b"aaaaaaaa"), 99, b"0" * 32),
        Ref(Epoch(2, b"aaaaaaaa"), 1, b"0" * 32),
        Ref(Epoch(1, b"aaaaaaaa"), 99, b"1" * 32),
    ]
    assert sorted(refs) == [refs[1], refs[3], refs[0], refs[2]]


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (None, "list is expected"),
        ((), "items"),
        ((b"k",), "items"),
        ((b"k" * 1025, b"", None, None, 1, ()), "record.key"),
        ((b"k", b"v" * 65_537, None, None, 1, ()), "record.value"),
        ((b"k", b"v", None, None, 0, ()), "record.seq"),
        ((b"k", None, None, None, 1, ()), "neither a value"),
        ((b"k", b"v", b"short", None, 1, ()), "record.origin"),
    ],
)
def test_malformed_records_are_named(tree: object, reason: str) -> None:
    with pytest.raises(MalformedTree, match=reason):
        Record.from_tree(tree, ME.peer, EPOCH)


def test_superseded_dots_are_sorted_on_the_wire() -> None:
    dots = [Dot(OTHER.peer, EPOCH, n) for n in (1, 2)]
    good = Record(b"k", Dot(ME.peer, EPOCH, 1), None, tuple(dots))
    assert Record.from_tree(good.to_tree(ME.peer, EPOCH), ME.peer, EPOCH) == good
    for bad in (dots[::-1], [dots[0], dots[0]]):
        tree = evolve(good, supersedes=tuple(bad)).to_tree(ME.peer, EPOCH)
        with pytest.raises(MalformedTree, match="sorted"):
            Record.from_tree(tree, ME.peer, EPOCH)


def test_f5_the_hash_of_a_record_does_not_depend_on_the_header_that_carries_it() -> None:
    record = Record(b"k", Dot(ME.peer, REF.epoch, 4), b"v")
    for epoch in (REF.epoch, EPOCH, None):
        assert Record.from_tree(record.to_tree(ME.peer, epoch), ME.peer, epoch) == record
        assert Record.from_tree(record.to_tree(OTHER.peer, epoch), OTHER.peer, epoch) == record


def test_too_many_deps_are_refused() -> None:
    deps = tuple(Dep(OTHER.peer, REF) for _ in range(DEPS_MAX + 1))
    with pytest.raises(MalformedTree, match=r"header\.deps"):
        Header.from_tree(sample_header(deps=deps).to_tree(), GENESIS)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"live_keys": STREAM_KEYS_MAX + 1}, "quota of keys"),
        ({"live_bytes": 1 << 40}, "quota of bytes"),
        ({"seq": 2}, "base of the epoch"),
        ({"base": Ref(EPOCH, 1, b"h" * 32)}, "base of the epoch"),
        ({"deps": (Dep(ME.peer, REF),)}, "depends on itself"),
    ],
)
def test_f10_validity_is_a_function_of_the_header(changes: dict, rule: str | None) -> None:
    assert header_rule(sample_header(**changes)) == rule


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (Record(b"k", Dot(ME.peer, EPOCH, 1), b"v"), None),
        (Record(b"k", Dot(ME.peer, REF.epoch, 99), b"v"), None),
        (Record(b"k", Dot(ME.peer, EPOCH, 2), b"v"), "dot beyond its header"),
        (Record(b"k", Dot(OTHER.peer, EPOCH, 1), b"v"), "dot of another origin"),
        (
            Record(b"k", Dot(ME.peer, EPOCH, 1), b"v", (Dot(ME.peer, REF.epoch, 1),)),
            "supersedes its own origin",
        ),
    ],
)
def test_l4_records_outside_their_origins_rights_are_invalid(
    record: Record, rule: str | None
) -> None:
    assert record_rule(record, sample_header()) == rule


def test_counts_must_be_those_of_the_state() -> None:
    assert counts_rule(sample_header(), keys=2, cost_bytes=300) is None
    assert counts_rule(sample_header(), keys=1, cost_bytes=300) == "counts of the state"
    assert counts_rule(sample_header(), keys=2, cost_bytes=299) == "counts of the state"
