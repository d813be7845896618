"""Evidence that an origin signed two headers for one place freezes addresses with it (F9)."""

from __future__ import annotations

import copy

import pytest
from attrs import evolve
from node_bench import link_of

from meshcrdt.base.ids import Epoch
from meshcrdt.gossip.header import StreamKey, seal
from meshcrdt.gossip.messages import Proof, build
from meshcrdt.ipam.ipam import Ipam
from meshcrdt.ipam.messages import CarveMessage
from meshcrdt.ipam.outcomes import Allocated, Frozen
from meshcrdt.ipam.shard import Denial, Denied
from meshcrdt.node import events
from meshcrdt.wire import encode_frame


@pytest.fixture
def cluster(bench):
    """n1 guards the addresses, n2 has a block of them and one workload."""
    genesis = bench.genesis(universe="10.32.0.0/16")
    (bench.range,) = genesis.ranges
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    assert bench.nodes["n1"].me == genesis.guardians[0]
    bench.give("n2", events.Allocate(1, "before", None, bench.now + 5))
    bench.pass_time(2)
    assert isinstance(bench.replies["n2", 1], Allocated)
    return bench


def proof_against(node, epoch=None):
    """Sign two headers for one place, as two copies of a node would."""
    holdings = node.core.replica._context.holdings
    head = holdings.state(StreamKey("directory", node.me)).header
    head = evolve(head, channel="twins", epoch=epoch or node.epoch, base=None, deps=())
    pair = [seal(evolve(head, records_root=bytes([n]) * 32), node.config.identity) for n in (1, 2)]
    return Proof(*sorted(pair, key=lambda envelope: envelope.header.hash))


def show(bench, name, proof):
    frame = encode_frame([build(proof)])
    bench.give(name, events.FrameReceived(link_of(bench, name), frame))


def ask_for(bench, name, number, subnet):
    bench.give(name, events.Allocate(number, f"w{number}", subnet, bench.now + 5))
    bench.pass_time(6)
    return bench.replies[name, number]


def answers(bench, *messages):
    """Return what the guardian says to each order at once."""
    engine = bench.nodes["n1"].core.ipam._engine
    told = []
    engine.deliver = lambda verdict, _now: told.append(verdict.result)
    for message in messages:
        engine.order(message, bench.now)
    return told


def test_the_guardian_grants_a_two_faced_epoch_nothing_not_even_again(cluster):
    guardian, twin = cluster.nodes["n1"], cluster.nodes["n2"]
    granted = twin.core.ipam.blocks[0].request
    assert guardian.core.ipam.shard.known(granted) is not None
    show(cluster, "n1", proof_against(twin))
    again = CarveMessage(granted, cluster.range, 8, None)
    later = CarveMessage(granted._replace(epoch=Epoch(9, b"itsown!!")), cluster.range, 8, None)
    assert answers(cluster, again, later) == [Denied(Denial.FROZEN, twin.me)]
    assert guardian.core.ipam.shard is not None
    assert guardian.core.ipam._engine.guardian.waiting == 1, "the later epoch is served"


def test_a_call_that_waits_is_told_why(cluster):
    twin = cluster.nodes["n2"]
    show(cluster, "n1", proof_against(twin))
    told = ask_for(cluster, "n2", 5, "10.32.128.0/24")
    assert isinstance(told, Frozen)
    assert "two headers" in told.reason


def test_who_is_shown_a_proof_against_itself_goes_on_with_blocks_of_its_own(cluster):
    twin = cluster.nodes["n2"]
    before, held = twin.epoch, twin.addresses("before")
    show(cluster, "n2", proof_against(twin))
    cluster.pass_time(2)
    assert twin.epoch > before
    assert twin.core.ipam.statistics().suspended, "a copy may give from this block too"
    assert twin.addresses("before") == held, "what has a row stays"
    fresh = ask_for(cluster, "n2", 7, None)
    assert isinstance(fresh, Allocated)
    old = [b for b in twin.core.ipam.blocks if b.owner.epoch <= before]
    new = [b for b in twin.core.ipam.blocks if b.owner.epoch > before]
    assert old
    assert new
    twin.check()
    cluster.nodes["n1"].check()


def test_the_freeze_outlives_a_restart_of_the_guardian(cluster):
    twin = cluster.nodes["n2"]
    show(cluster, "n1", proof_against(twin, epoch=twin.epoch))
    guardian = cluster.add("n1", cluster.genesis(universe="10.32.0.0/16"), counter=2)
    assert guardian.core.ipam._engine.two_faced == {twin.me: twin.epoch}


def asked_by_two_copies(cluster):
    """Let two copies of n2's memory ask for one more block; return what each was told."""
    show(cluster, "n1", proof_against(cluster.nodes["n2"]))
    carves = cluster.nodes["n2"].core.ipam._engine.growth.carves
    copies = [copy.deepcopy(carves) for _ in range(2)]
    asked = [each.open(cluster.range, 8, exact=None, now=cluster.now) for each in copies]
    assert asked[0].request == asked[1].request, "that is what makes it dangerous"
    return answers(cluster, *(each.message for each in asked))


def test_two_copies_are_not_given_the_same_block(cluster):
    twin = cluster.nodes["n2"]
    assert asked_by_two_copies(cluster) == [Denied(Denial.FROZEN, twin.me)] * 2


def test_orders_that_are_answered_all_the_same_are_caught(cluster, monkeypatch):
    monkeypatch.setattr(Ipam, "two_faced", lambda self, origin, epoch: [])
    with pytest.raises(AssertionError):
        test_two_copies_are_not_given_the_same_block(cluster)
    # One block is on its way to the disk, for both.
    assert cluster.nodes["n1"].core.ipam._engine.guardian.waiting == 1


def test_blocks_that_a_copy_has_too_are_trusted_is_caught(cluster, monkeypatch):
    monkeypatch.setattr(Ipam, "_doubt", lambda self, below: None)
    with pytest.raises(AssertionError, match="may give from this block too"):
        test_who_is_shown_a_proof_against_itself_goes_on_with_blocks_of_its_own(cluster)
