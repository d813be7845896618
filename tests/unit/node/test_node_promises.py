"""Promises that hold also when queues are full, the disk is slow or the store was rolled back."""

import copy

import pytest
from attrs import evolve
from node_bench import link_of

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.node import events
from meshcrdt.node.outcomes import Done, ReceiptMissing, Written
from meshcrdt.topology.topology import PeerState
from meshcrdt.wire import decode, encode, encode_frame

CHANNEL = "acme/services"


# --- what one turn can send ----------------------------------------------------------------


def test_an_answer_larger_than_a_frame_goes_out_in_several(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    for number in range(16):
        value = bytes([number]) * 60_000
        assert isinstance(
            bench.give("n1", events.Put(number, CHANNEL, b"%d" % number, value)), Written
        )
    node = bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.pass_time(5)
    assert len(node.items(CHANNEL)) == 16


def test_a_message_too_large_to_pass_on_is_dropped_and_breaks_nothing(bench):
    genesis = bench.genesis()
    for name in ("n1", "n2", "n3"):
        bench.add(name, genesis)
    bench.link("n1", "n2")
    bench.link("n2", "n3")
    bench.pass_time(1)
    source, dest = bench.nodes["n1"], bench.nodes["n3"]
    head = (32, bytes(source.me), bytes(dest.me), (1, b"e" * 8), 1, 16)
    # As large as a frame may be that no session sealed: with a seal it fits no frame.
    size = DEFAULT_LIMITS.frame_bytes_max
    frame = encode((1, (*head, b"x" * 70_000)))
    frame = encode((1, (*head, b"x" * (size - len(frame) + 70_000))))
    assert len(frame) == DEFAULT_LIMITS.frame_bytes_max
    link = next(
        there[1] for here, there in bench.wires.items() if here[0] == "n1" and there[0] == "n2"
    )
    bench.give("n2", events.FrameReceived(link, frame))
    assert isinstance(bench.give("n2", events.Put(1, CHANNEL, b"k", b"v")), Written)


def test_a_peer_that_never_acknowledges_fills_no_queue_that_raises(bench):
    genesis = bench.genesis()
    limits = evolve(DEFAULT_LIMITS, unicast_pending_max=4)
    node = bench.add("n1", genesis, limits=limits)
    other = bench.add("n2", genesis)
    bench.link("n1", "n2")
    written = bench.give("n2", events.Put(1, CHANNEL, b"k", b"v"))
    epoch = (written.epoch.counter, written.epoch.instance)
    for number in range(20):
        ask = (64, number, CHANNEL, epoch, written.seq, 0, 60_000)
        head = (32, bytes(other.me), bytes(node.me), (1, b"e" * 8), number, 16)
        # Its answers are lost: the end of the wire belongs to nobody.
        frame = encode_frame([(*head, ask)])
        node.handle(events.FrameReceived(link_of(bench, "n1"), frame), bench.now)
    assert isinstance(bench.give("n1", events.Put(2, CHANNEL, b"k", b"w")), Written)


def test_a_receipt_that_finds_the_queue_full_ends_once_and_stops_nobody(bench):
    limits = evolve(DEFAULT_LIMITS, unicast_pending_max=1)
    bench.add("n1", bench.genesis(), limits=limits)
    written = bench.give("n1", events.Put(1, CHANNEL, b"k", b"v"))
    strangers = tuple(sorted(type(bench.nodes["n1"].me)(bytes([n]) * 16) for n in (1, 2, 3)))
    asked = bench.give(
        "n1",
        events.AwaitReceipt(
            2, CHANNEL, written.epoch.counter, written.epoch.instance, written.seq,
            strangers, events.Durability.MERGED, bench.now + 2,
        ),
    )  # fmt: skip
    assert asked is None
    bench.pass_time(3)
    assert bench.replies["n1", 2] == ReceiptMissing(strangers)
    assert isinstance(bench.give("n1", events.Put(3, CHANNEL, b"k", b"w")), Written)


def test_users_writes_that_wait_keep_no_room_of_the_guardian(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis, limits=evolve(DEFAULT_LIMITS, write_queue_max=3))
    bench.add("n2", genesis)
    bench.hold_disk.add("n1")
    for number in range(6):
        bench.give("n1", events.Put(number, CHANNEL, b"%d" % number, b"v"))
    bench.link("n1", "n2")
    bench.give("n2", events.Allocate(1, "w", None, bench.now + 5))
    bench.release_disk("n1")
    bench.pass_time(1)
    assert isinstance(bench.replies["n2", 1], Allocated)


def test_users_channels_leave_room_for_those_of_the_node(bench):
    genesis = bench.genesis()
    limits = evolve(DEFAULT_LIMITS, streams_per_origin_max=8)
    bench.add("n1", genesis, limits=limits)
    for number in range(10):
        bench.give("n1", events.Put(number, f"user/{number}", b"k", b"v"))
    bench.add("n2", genesis, limits=limits)
    bench.link("n1", "n2")
    bench.pass_time(1)
    (member,) = bench.nodes["n2"].statistics().members
    assert member.state is PeerState.ALIVE
    assert bench.nodes["n2"].topology.adjacent(bench.nodes["n1"].me, bench.nodes["n2"].me)


# --- what is staged counts -----------------------------------------------------------------


def test_withdrawing_a_workload_also_withdraws_what_the_disk_still_has(pair):
    pair.hold_disk.add("n1")
    pair.give("n1", events.SetWorkload(1, "w", ("10.32.0.1",)))
    pair.give("n1", events.SetWorkload(2, "w", ("10.32.0.2",)))
    pair.give("n1", events.SetWorkload(3, "w", ()))
    pair.release_disk("n1")
    assert {type(pair.replies["n1", n]) for n in (1, 2, 3)} == {Written}
    assert pair.nodes["n2"].endpoints() == ()


def test_leaving_takes_away_names_that_are_still_at_the_disk(pair):
    pair.hold_disk.add("n1")
    pair.give("n1", events.SetName(1, "web", ("10.32.0.9",)))
    pair.give("n1", events.SetWorkload(2, "w", ("10.32.0.9",)))
    pair.give("n1", events.Leave(3))
    pair.release_disk("n1")
    assert pair.replies["n1", 3] == Done()
    assert pair.nodes["n2"].names() == {}
    assert pair.nodes["n2"].endpoints() == ()


def test_nobody_is_locked_out_of_a_key_by_an_absurd_counter(pair):
    pair.give("n1", events.Put(1, CHANNEL, b"k", b"v"))
    liar = pair.nodes["n1"]
    liar.core.replica.write(CHANNEL, [Record(b"k", encode((2**63 - 1, b"lie")), Over.ALL)])
    pair.give("n1", events.Put(2, CHANNEL, b"other", b"v"))
    assert pair.nodes["n2"].get(CHANNEL, b"k") == b"lie"
    assert isinstance(pair.give("n2", events.Put(3, CHANNEL, b"k", b"truth")), Written)
    assert {node.get(CHANNEL, b"k") for node in pair.nodes.values()} == {b"truth"}


# --- joining -------------------------------------------------------------------------------


def test_every_link_older_than_the_genesis_is_dialled_anew(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    joiner = bench.add("n3", None)
    bench.hold_disk.add("n3")
    bench.link("n3", "n1")
    bench.link("n3", "n2")
    bench.release_disk("n3")
    assert joiner.state == "ready"
    assert not [link for name, link in bench.wires if name == "n3"]


def test_a_handshake_from_before_the_genesis_does_not_stay_silent(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    joiner = bench.add("n2", None)
    early = joiner.hello()
    bench.link("n2", "n1")
    assert joiner.state == "ready"
    # A second handshake had begun before: the other end knows this link as a joiner's.
    bench.wires["n2", 90], bench.wires["n1", 91] = ("n1", 91), ("n2", 90)
    opened = events.LinkOpened
    dialled, accepted = events.Direction.DIALLED, events.Direction.ACCEPTED
    bench.give("n1", opened(91, early, accepted, "mem://n2", "mem", True))
    hello = bench.nodes["n1"].hello()
    bench.give("n2", opened(90, hello, dialled, "mem://n1", "mem", True))
    bench.give("n2", events.SetName(1, "web", ("10.32.0.9",)))
    assert ("n2", 90) not in bench.wires


def test_a_handshake_that_began_before_joining_admits_no_other_cluster(bench):
    bench.add("n1", bench.genesis())
    bench.add("other", bench.genesis(maker=b"\x07"))
    joiner = bench.add("n2", None)
    bench.link("n2", "n1")
    assert joiner.state == "ready"
    hello = bench.nodes["other"].hello()
    dialled = events.Direction.DIALLED
    bench.give("n2", events.LinkOpened(90, hello, dialled, "mem://other", "mem", True))
    assert ("n2", f"{hello.peer} is of another cluster: {hello.cluster}") in bench.closed
    assert hello.peer not in joiner.topology.neighbours()
    assert joiner.core.replica.statistics().streams == 2


# --- rollback and clones -------------------------------------------------------------------


@pytest.fixture
def rolled_back(bench):
    """n2's store is set back to an earlier boot, and n2 runs on it beside n1."""
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.give("n2", events.Allocate(1, "before", None, bench.now + 5))
    bench.pass_time(1)
    old = copy.deepcopy(bench.disks["n2"])
    bench.unplug("n1", link_of(bench, "n1"))
    bench.run()
    bench.add("n2", genesis, counter=2)
    bench.link("n1", "n2")
    bench.lost = bench.give("n2", events.Allocate(2, "lost", None, bench.now + 5)).address
    bench.unplug("n1", link_of(bench, "n1"))
    bench.run()
    bench.replies.clear()
    bench.disks["n2"] = old
    bench.add("n2", genesis, counter=2, instance=b"\x01" * 8)
    return bench


def test_a_rolled_back_node_gives_nothing_from_the_blocks_of_its_old_store(rolled_back):
    bench = rolled_back
    bench.link("n1", "n2")
    assert bench.nodes["n2"].rollbacks_seen
    given = set()
    for number in range(5):
        bench.give("n2", events.Allocate(number, f"new{number}", None, bench.now + 5))
        bench.pass_time(1)
        assert isinstance(bench.replies["n2", number], Allocated)
        given.add(bench.replies["n2", number].address)
    assert bench.lost not in given
    kept = bench.nodes["n2"].addresses("before")
    bench.give("n2", events.Allocate(9, "before", None, bench.now + 5))
    assert (bench.replies["n2", 9].address,) == kept
    # The doubt is on disk: a restart does not trust the same blocks again.
    bench.unplug("n1", link_of(bench, "n1"))
    bench.run()
    bench.replies.clear()
    node = bench.add("n2", bench.genesis(), counter=9)
    suspended = node.core.ipam.statistics().suspended
    assert suspended


def test_a_new_epoch_says_nothing_before_its_boot_counter_is_on_disk(rolled_back):
    bench = rolled_back
    bench.hold_disk.add("n2")
    node = bench.nodes["n2"]
    before = node.epoch
    bench.link("n1", "n2")
    bench.pass_time(2)
    assert node.rollbacks_seen
    edges = bench.nodes["n1"].core.replica.head("~adjacency", node.me)
    assert node.hello().epoch == before
    assert edges.epoch.counter == before.counter
    bench.release_disk("n2")
    bench.pass_time(2)
    assert node.hello().epoch > before
    assert decode(bench.disks["n2"]["node"][b"boot"]) == node.epoch.counter
    assert bench.nodes["n1"].core.replica.head("~adjacency", node.me).epoch == node.epoch


def test_a_node_that_left_does_not_come_back_because_it_looks_rolled_back(rolled_back):
    bench = rolled_back
    bench.give("n2", events.Leave(1))
    bench.link("n1", "n2")
    bench.pass_time(1)
    (member,) = bench.nodes["n1"].statistics().members
    assert member.state is PeerState.LEFT


def test_who_left_advertises_no_edge_however_its_links_change(pair):
    pair.give("n1", events.Leave(1))
    pair.add("n3", pair.genesis())
    pair.link("n3", "n1")
    pair.pass_time(1)
    leaver, other = pair.nodes["n1"], pair.nodes["n2"]
    assert not other.topology.adjacent(leaver.me, other.me)
    assert not pair.nodes["n3"].topology.adjacent(leaver.me, pair.nodes["n3"].me)


def test_a_clock_that_goes_back_costs_time_and_nothing_else(pair):
    pair.pass_time(5)
    pair.now -= 60
    assert isinstance(pair.give("n1", events.Put(1, CHANNEL, b"k", b"v")), Written)
    pair.give("n2", events.Allocate(1, "w", None, pair.now + 5))
    pair.pass_time(5)
    assert isinstance(pair.replies["n2", 1], Allocated)
    pair.pass_time(70)
    assert {m.state for m in pair.nodes["n2"].statistics().members} == {PeerState.ALIVE}
    assert pair.nodes["n2"].get(CHANNEL, b"k") == b"v"


def test_after_the_store_failed_callers_have_typed_answers_and_peers_are_still_merged(pair):
    pair.hold_disk.add("n1")
    pair.give("n1", events.Allocate(1, "w", None, pair.now + 2))
    pair.give("n1", events.StoreFailed("EIO on fsync"))
    pair.give("n2", events.Put(2, CHANNEL, b"k", b"v"))
    pair.pass_time(5)
    assert pair.nodes["n1"].get(CHANNEL, b"k") == b"v"
    assert type(pair.replies["n1", 1]).__name__ == "TimedOut"
    # A receipt on disk is not given for what only memory holds.
    written = pair.replies["n2", 2]
    pair.give(
        "n2",
        events.AwaitReceipt(
            3, CHANNEL, written.epoch.counter, written.epoch.instance, written.seq,
            events.Targets.ALL, events.Durability.DURABLE, pair.now + 2,
        ),
    )  # fmt: skip
    pair.pass_time(3)
    assert pair.replies["n2", 3] == ReceiptMissing((pair.nodes["n1"].me,))


def test_a_repeated_withdrawal_is_not_done_before_the_first_is_on_disk(bench):
    bench.add("n1", bench.genesis())
    bench.hold_disk.add("n1")
    assert bench.give("n1", events.SetWorkload(1, "w", ("10.1.1.1",))) is None
    for request in (2, 3):
        assert bench.give("n1", events.SetWorkload(request, "w", ())) is None
    bench.release_disk("n1")
    assert {type(bench.replies["n1", request]) for request in (1, 2, 3)} == {Written}
    assert bench.nodes["n1"].endpoints() == ()


@pytest.mark.parametrize("twin", ["n3", "n4", "n5", "n6"])
def test_statistics_tell_who_signed_two_headers_for_one_place(bench, twin):
    """Whichever of the two headers has the greater hash: the names decide that."""
    genesis = bench.genesis()
    n1 = bench.add("n1", genesis)
    liar = bench.add("n2", genesis)
    bench.disks["n3"] = {"_seed": bench.disks["n2"]["_seed"]}
    bench.add("n3", genesis, called=twin)
    bench.link("n1", "n2")
    bench.give("n2", events.Put(1, CHANNEL, b"k", b"one"))
    bench.give("n3", events.Put(1, CHANNEL, b"k", b"two"))
    assert n1.statistics().equivocations == ()
    bench.unplug("n1", link_of(bench, "n1"))
    bench.run()
    bench.link("n1", "n3")
    bench.pass_time(10)
    told = n1.statistics().equivocations
    # Of all clashes of an origin the least one is kept, the same everywhere.
    assert told == (f"{liar.me} {CHANNEL!r} {liar.epoch}:1",)


def test_statistics_count_records_that_are_left_out(pair):
    n1, n2 = pair.nodes["n1"], pair.nodes["n2"]
    n2.core.replica.write("names", [Record(b"web.mesh.internal.", b"no name", Over.OWN)])
    n2.core.replica.write("endpoints", [Record(b"10.1.1.1", b"no endpoint", Over.OWN)])
    pair.give("n2", events.Put(1, CHANNEL, b"k", b"flushes"))
    assert n1.statistics().malformed_records == 2


def test_deletes_in_channels_that_nobody_wrote_to_take_no_room_of_the_node(bench):
    genesis = bench.genesis()
    limits = evolve(DEFAULT_LIMITS, streams_per_origin_max=8)
    bench.add("n1", genesis, limits=limits)
    bench.hold_disk.add("n1")
    for number in range(20):
        bench.give("n1", events.Delete(number, f"user/{number}", b"k"))
    bench.add("n2", genesis, limits=limits)
    bench.link("n1", "n2")
    bench.release_disk("n1")
    bench.pass_time(1)
    assert bench.nodes["n2"].topology.adjacent(bench.nodes["n1"].me, bench.nodes["n2"].me)
    assert isinstance(bench.give("n1", events.Put(30, "user/30", b"k", b"v")), Written)
