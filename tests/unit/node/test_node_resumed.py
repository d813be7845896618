"""A host that stood still counts as restarted: a copy of its memory may run too (F14)."""

from __future__ import annotations

import copy

import pytest
from attrs import evolve

from meshcrdt.base.ids import INSTANCE_BYTES
from meshcrdt.consensus.messages import Accept, Prepare, parse
from meshcrdt.consensus.outputs import ToPeer
from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.node import durable, events
from meshcrdt.node.effects import CloseLink, Persist
from meshcrdt.node.epochs import Epochs
from meshcrdt.node.outcomes import Written

CHANNEL = "acme/services"
FRESH = b"resumed!"


def resumed(instance=FRESH):
    return events.Resumed(3_600.0, instance)


def put(number, value=b"v"):
    return events.Put(number, CHANNEL, b"k", value)


def test_it_goes_on_under_an_epoch_of_its_own_with_new_links(pair):
    node = pair.nodes["n2"]
    pair.give("n2", put(1))
    before = node.epoch
    pair.give("n2", resumed())
    assert node.epoch == (before.counter + 1, FRESH)
    assert not node.links
    assert any("stood still for 3600 s" in reason for _, reason in pair.closed)
    assert durable.next_epoch(pair.disks["n2"], b"x" * 8)[0].counter > node.epoch.counter
    pair.link("n1", "n2")
    written = pair.give("n2", put(2, b"after"))
    assert isinstance(written, Written)
    assert written.epoch == node.epoch
    pair.pass_time(2)
    assert pair.nodes["n1"].get(CHANNEL, b"k") == b"after"
    assert pair.nodes["n1"].topology.members()[node.me].epoch == node.epoch
    assert not node.rollbacks_seen, "nothing was lost: its blocks are its own as before"
    pair.give("n2", events.Allocate(3, "w", None, pair.now + 5))
    pair.pass_time(5)
    assert isinstance(pair.replies["n2", 3], Allocated)


def test_a_node_that_has_no_cluster_yet_enters_one_under_the_later_epoch(bench):
    genesis = bench.genesis()
    node = bench.add("n2", None)
    bench.give("n2", resumed())
    assert node.epoch.instance == FRESH
    bench.add("n1", genesis)
    bench.link("n2", "n1")
    bench.link("n2", "n1")
    bench.pass_time(2)
    assert node.core is not None
    assert node.core.replica.epoch == node.epoch


def test_nothing_is_signed_before_the_new_epoch_is_on_disk(pair):
    node = pair.nodes["n2"]
    pair.hold_disk.add("n2")
    before = node.epoch
    heads = {name: node.core.replica.head(name, node.me) for name in node.core.replica.channels()}
    pair.give("n2", resumed())
    assert pair.give("n2", put(1)) is None
    pair.pass_time(3)
    rows = [row for persist in pair.held["n2"] for row in persist.rows]
    assert [table for table, _, _ in rows if table.startswith("stream")] == []
    now = {name: node.core.replica.head(name, node.me) for name in node.core.replica.channels()}
    assert (node.epoch, now) == (before, heads)
    pair.release_disk("n2")
    assert pair.replies["n2", 1].epoch == node.epoch
    assert node.epoch.instance == FRESH


def copies_that_share_a_dot(pair):
    """Resume a snapshot of n2 twice; return whether both signed the same number."""
    pair.give("n2", put(1))
    first = pair.nodes["n2"]
    second = copy.deepcopy(first)
    epochs = []
    for number, node in enumerate((first, second)):
        event = resumed(bytes([number]) * INSTANCE_BYTES)
        marks = [e.watermark for e in node.handle(event, pair.now) if isinstance(e, Persist)]
        node.handle(put(2, b"%d" % number), pair.now)
        for mark in marks:
            node.handle(events.Persisted(mark), pair.now)
        epochs.append(node.epoch)
    return epochs[0] == epochs[1]


def test_two_copies_of_one_memory_never_share_an_epoch(pair):
    assert not copies_that_share_a_dot(pair)


def test_an_instance_from_the_dice_of_the_process_is_caught(pair, monkeypatch):
    honest = Epochs.resumed

    def from_dice(self, event, now):
        honest(self, evolve(event, instance=self._dice.raw(INSTANCE_BYTES)), now)

    monkeypatch.setattr(Epochs, "resumed", from_dice)
    assert copies_that_share_a_dot(pair)


def test_signing_on_under_the_old_epoch_is_caught(pair, monkeypatch):
    monkeypatch.setattr(Epochs, "waits", False)
    with pytest.raises(AssertionError):
        test_nothing_is_signed_before_the_new_epoch_is_on_disk(pair)


def test_ballots_are_of_another_instance(bench):
    """Two copies that bid with one ballot for two values could both be believed."""
    node = bench.add("n1", bench.genesis(maker=b"\x01"))
    registers = node.core.registers

    def ballots(outputs):
        sent = [parse(each.payload) for each in outputs if isinstance(each, ToPeer)]
        return {each.ballot for each in sent if isinstance(each, Prepare | Accept)}

    def propose(number):
        return registers.propose(
            "governance", number, lambda _b, _s: None, bench.now, deadline=bench.now + 60
        )

    (before,) = ballots(propose(1))
    node.handle(resumed(), bench.now)
    (after,) = ballots(registers.handle_timeout(bench.now + 30))
    assert after.nonce == FRESH != before.nonce


def test_each_suspend_is_another_epoch(pair):
    node = pair.nodes["n2"]
    seen = {node.epoch}
    for number in range(3):
        pair.give("n2", resumed(bytes([number]) * INSTANCE_BYTES))
        seen.add(node.epoch)
    assert len(seen) == 4
    node.check()


def test_links_are_closed_in_the_turn_that_hears_of_it(pair):
    node = pair.nodes["n1"]
    effects = node.handle(resumed(), pair.now)
    assert {each.link for each in effects if isinstance(each, CloseLink)} == set(node.links)


def test_the_keys_of_messages_that_relays_carry_are_dropped(pair):
    """Both copies would seal on from one number, which is the nonce, under one key."""
    node = pair.nodes["n2"]
    seals = node.unicast._seals
    before, _ = seals._key(pair.now)
    assert seals._vault.holds(before)
    pair.give("n2", resumed())
    assert not seals._vault.holds(before)
    assert seals._key(pair.now)[0] != before
