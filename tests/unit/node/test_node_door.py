"""The door: commands, durability, joining, refusing, and what never raises."""

import pytest

from meshcrdt.crdt import GCounter, GSet
from meshcrdt.ipam.outcomes import (
    Allocated,
    Claimed,
    Draining,
    Recovering,
    Refused,
    TimedOut,
)
from meshcrdt.node import events
from meshcrdt.node.outcomes import (
    Done,
    Failed,
    FailureKind,
    ReceiptMissing,
    ReceiptReached,
    Written,
)
from meshcrdt.topology.topology import PeerState

CHANNEL = "acme/services"


def test_a_put_is_seen_by_the_other_node(pair):
    assert isinstance(pair.give("n1", events.Put(1, CHANNEL, b"web", b"80")), Written)
    assert pair.nodes["n2"].get(CHANNEL, b"web") == b"80"
    assert pair.nodes["n2"].explain(CHANNEL, b"k").type_name == "ormap-lww"


def test_any_node_may_overwrite_and_delete_any_key(pair):
    pair.give("n1", events.Put(1, CHANNEL, b"web", b"1"))
    pair.give("n2", events.Put(1, CHANNEL, b"web", b"2"))
    assert {n.get(CHANNEL, b"web") for n in pair.nodes.values()} == {b"2"}
    pair.give("n1", events.Delete(2, CHANNEL, b"web"))
    assert {n.get(CHANNEL, b"web") for n in pair.nodes.values()} == {None}
    assert pair.nodes["n1"].items(CHANNEL) == {}


def test_concurrent_puts_have_one_winner_everywhere(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.give("n1", events.Put(1, CHANNEL, b"k", b"one"))
    bench.give("n2", events.Put(1, CHANNEL, b"k", b"two"))
    bench.link("n1", "n2")
    values = {node.get(CHANNEL, b"k") for node in bench.nodes.values()}
    assert len(values) == 1
    assert values <= {b"one", b"two"}


def test_a_put_survives_a_concurrent_delete(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.give("n1", events.Put(1, CHANNEL, b"k", b"old"))
    (link,) = [link for name, link in bench.wires if name == "n1"]
    bench.unplug("n1", link)
    bench.run()
    bench.give("n1", events.Put(2, CHANNEL, b"k", b"new"))
    bench.give("n2", events.Delete(2, CHANNEL, b"k"))
    assert bench.nodes["n2"].get(CHANNEL, b"k") is None
    bench.link("n1", "n2")
    assert {node.get(CHANNEL, b"k") for node in bench.nodes.values()} == {b"new"}


def test_nothing_is_seen_or_acknowledged_before_it_is_on_disk(pair):
    pair.hold_disk.add("n1")
    before = len(pair.sent)
    assert pair.give("n1", events.Put(1, CHANNEL, b"web", b"80")) is None
    assert pair.nodes["n1"].get(CHANNEL, b"web") is None
    assert pair.nodes["n2"].get(CHANNEL, b"web") is None
    assert [name for name, _ in pair.sent[before:]] == []
    pair.release_disk("n1")
    assert isinstance(pair.replies["n1", 1], Written)
    assert pair.nodes["n2"].get(CHANNEL, b"web") == b"80"


def test_an_address_is_not_given_before_it_is_on_disk(pair):
    pair.hold_disk.add("n1")
    assert pair.give("n1", events.Allocate(1, "w", None, pair.now + 5)) is None
    pair.release_disk("n1")
    assert isinstance(pair.replies["n1", 1], Allocated)


def test_heartbeats_do_not_wait_for_a_stalled_disk(pair):
    pair.hold_disk.add("n1")
    pair.give("n1", events.Put(1, CHANNEL, b"web", b"80"))
    pair.pass_time(10)
    assert {m.state for m in pair.nodes["n2"].statistics().members} == {PeerState.ALIVE}


def test_both_allocate_and_never_the_same(pair):
    given = set()
    for name in ("n1", "n2"):
        for number in range(20):
            command = events.Allocate(number, f"w{number}", None, pair.now + 5)
            outcome = pair.give(name, command)
            pair.pass_time(0.1)
            outcome = outcome or pair.replies[name, number]
            assert isinstance(outcome, Allocated), outcome
            given.add(outcome.address)
    assert len(given) == 40


def test_the_same_workload_gets_the_same_address_also_after_a_restart(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    first = bench.give("n1", events.Allocate(1, "w", None, bench.now + 5))
    assert bench.give("n1", events.Allocate(2, "w", None, bench.now + 5)) == first
    node = bench.add("n1", genesis, counter=2)
    bench.replies.clear()
    assert bench.give("n1", events.Allocate(3, "w", None, bench.now + 5)) == first
    assert node.addresses("w") == (first.address,)


def test_a_claim_of_an_address_in_use_names_the_holder(pair):
    given = pair.give("n1", events.Allocate(1, "w", None, pair.now + 5))
    plain = given.address.partition("/")[0]
    refused = pair.give("n1", events.Claim(2, "other", plain, pair.now + 5))
    assert isinstance(refused, Refused)
    assert "w" in refused.holder
    assert isinstance(pair.give("n1", events.Claim(3, "w", plain, pair.now + 5)), Claimed)


def test_names_are_found_both_ways_everywhere(pair):
    pair.give("n1", events.SetName(1, "Web", ("10.32.0.9",)))
    node = pair.nodes["n2"]
    assert node.lookup_name("web.mesh.internal.", pair.now) == ("10.32.0.9",)
    assert [n.lower() for n in node.reverse("10.32.0.9", pair.now)] == ["web.mesh.internal"]
    pair.give("n1", events.SetName(2, "web", ()))
    assert node.lookup_name("web", pair.now) == ()


def test_names_of_the_dead_are_hidden_after_the_grace_and_come_back(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    node = bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.give("n1", events.SetName(1, "web", ("10.32.0.9",)))
    (link,) = [link for name, link in bench.wires if name == "n1"]
    bench.unplug("n1", link)
    bench.run()
    bench.pass_time(node.limits.dead_after_s + 1)
    assert node.statistics().members[0].state is PeerState.DEAD
    assert node.lookup_name("web", bench.now) == ("10.32.0.9",)
    bench.pass_time(node.limits.names_grace_s)
    assert node.lookup_name("web", bench.now) == ()
    assert node.names(), "hidden is not deleted"
    bench.link("n1", "n2")
    assert node.lookup_name("web", bench.now) == ("10.32.0.9",)


def test_minority_and_unreachable_are_told(pair):
    assert not pair.nodes["n1"].statistics().minority
    (link,) = [link for name, link in pair.wires if name == "n1"]
    pair.unplug("n1", link)
    pair.run()
    pair.pass_time(pair.nodes["n1"].limits.dead_after_s + 1)
    assert pair.nodes["n1"].statistics().minority


def test_lattice_channels_join_every_contribution(pair):
    def more(by):
        return lambda count: count.increment(pair.nodes["n1"].me, by)

    # Two in one turn of the disk: neither may start from the other's stale count.
    pair.hold_disk.add("n1")
    pair.give("n1", events.Mutate(1, "hits", GCounter, more(2)))
    pair.give("n1", events.Mutate(2, "hits", GCounter, more(3)))
    pair.release_disk("n1")
    me = pair.nodes["n2"].me
    pair.give("n2", events.Mutate(1, "hits", GCounter, lambda c: c.increment(me, 10)))
    assert {node.value("hits", GCounter).value for node in pair.nodes.values()} == {15}


def test_a_channel_keeps_its_type(pair):
    pair.give("n1", events.Put(1, CHANNEL, b"k", b"v"))
    refused = pair.give("n2", events.Mutate(1, CHANNEL, GSet, lambda s: s.add("x")))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.USAGE
    assert CHANNEL in refused.reason


@pytest.mark.parametrize("channel", ["directory", "names", "ipam", "~adjacency", "", "a\nb"])
def test_channels_of_the_node_are_not_for_users(pair, channel):
    refused = pair.give("n1", events.Put(1, channel, b"k", b"v"))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.USAGE


def test_a_receipt_names_who_is_missing(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    other = bench.add("n2", genesis)
    bench.link("n1", "n2")
    written = bench.give("n1", events.Put(1, CHANNEL, b"k", b"v"))

    def receipt(request, level):
        return events.AwaitReceipt(
            request, CHANNEL, written.epoch.counter, written.epoch.instance, written.seq,
            events.Targets.ALL, level, bench.now + 3,
        )  # fmt: skip

    assert bench.give("n1", receipt(2, events.Durability.DURABLE)) == ReceiptReached()
    bench.hold_disk.add("n2")
    written = bench.give("n1", events.Put(3, CHANNEL, b"k", b"w"))
    assert bench.give("n1", receipt(4, events.Durability.MERGED)) == ReceiptReached()
    assert bench.give("n1", receipt(5, events.Durability.DURABLE)) is None
    bench.pass_time(4)
    assert bench.replies["n1", 5] == ReceiptMissing((other.me,))


def test_a_node_without_genesis_fetches_it_and_joins(bench):
    bench.add("n1", bench.genesis())
    joiner = bench.add("n2", None, peers=("mem://n1",))
    assert joiner.state == "starting"
    refused = bench.give("n2", events.Put(1, CHANNEL, b"k", b"v"))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.STARTING
    assert isinstance(bench.give("n2", events.Allocate(2, "w", None, bench.now + 1)), Recovering)
    bench.link("n2", "n1")
    assert joiner.state == "ready"
    assert joiner.hello().cluster == bench.nodes["n1"].hello().cluster
    bench.link("n2", "n1")  # the shell dials again, now with the genesis in the handshake
    assert isinstance(bench.give("n2", events.Put(3, CHANNEL, b"k", b"v")), Written)
    assert bench.nodes["n1"].get(CHANNEL, b"k") == b"v"


def test_a_copy_of_this_node_is_refused_and_both_are_named(bench):
    genesis = bench.genesis()
    node = bench.add("n1", genesis)
    twin = bench.add("n1", genesis, counter=2)
    reason = node.admits(twin.hello())
    assert reason is not None
    assert str(node.me) in reason
    assert any("identity" in alarm for alarm in node.alarms)
    assert "itself" in node.admits(node.hello())


@pytest.mark.parametrize("frame", [b"", b"\x00", b"\xff" * 40, b"\xdd\xff\xff\xff\xff"])
def test_a_malformed_frame_closes_the_link_and_nothing_else(pair, frame):
    (link,) = [link for name, link in pair.wires if name == "n1"]
    pair.give("n1", events.FrameReceived(link, frame))
    assert any("malformed" in reason for name, reason in pair.closed if name == "n1")
    assert isinstance(pair.give("n1", events.Put(1, CHANNEL, b"k", b"v")), Written)


def test_draining_answers_honestly(pair):
    assert pair.give("n1", events.Drain(1)) == Done()
    assert isinstance(pair.give("n1", events.Allocate(2, "w", None, pair.now + 5)), Draining)
    refused = pair.give("n1", events.Put(3, CHANNEL, b"k", b"v"))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.DRAINING
    assert pair.nodes["n1"].state == "draining"


def test_leaving_takes_names_away_and_is_seen_as_left(pair):
    pair.give("n1", events.SetName(1, "web", ("10.32.0.9",)))
    assert pair.give("n1", events.Leave(2)) == Done()
    other = pair.nodes["n2"]
    assert other.lookup_name("web", pair.now) == ()
    assert other.statistics().members[0].state is PeerState.LEFT


def test_a_failed_store_stops_every_acknowledgement(pair):
    pair.give("n1", events.StoreFailed("EIO on fsync"))
    refused = pair.give("n1", events.Put(1, CHANNEL, b"k", b"v"))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.STORE
    assert "EIO" in refused.reason


def test_connect_and_forget_survive_a_restart(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    assert bench.give("n1", events.Connect(1, ["10.0.0.2"])) == Done()
    node = bench.add("n1", genesis, counter=2)
    assert "tcp://10.0.0.2:6783" in node.topology.targets()
    bench.replies.clear()
    unknown = bench.give("n1", events.Forget(2, ["10.0.0.77"]))
    assert isinstance(unknown, Failed)
    assert "10.0.0.77" in unknown.reason
    assert bench.give("n1", events.Forget(3, ["10.0.0.2"])) == Done()
    assert bench.add("n1", genesis, counter=3).topology.targets() == frozenset()


def test_a_stalled_disk_costs_the_caller_its_deadline_and_no_more(pair):
    pair.hold_disk.add("n1")
    pair.give("n1", events.Allocate(1, "w", None, pair.now + 2))
    pair.pass_time(3)
    late = pair.replies["n1", 1]
    assert isinstance(late, TimedOut)
    assert "disk" in late.reason
    pair.release_disk("n1")  # no second answer: the bench asserts it
    again = pair.give("n1", events.Allocate(2, "w", None, pair.now + 2))
    assert again.address in pair.nodes["n1"].addresses("w")


def test_a_repeated_call_does_not_overtake_the_row_of_the_first(pair):
    pair.hold_disk.add("n1")
    assert pair.give("n1", events.Allocate(1, "w", None, pair.now + 9)) is None
    assert pair.give("n1", events.Allocate(2, "w", None, pair.now + 9)) is None
    pair.release_disk("n1")
    assert pair.replies["n1", 1] == pair.replies["n1", 2]
