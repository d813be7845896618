"""Joiners: they fetch the genesis in time, or their link ends."""

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.node import events
from meshcrdt.node.effects import CloseLink
from meshcrdt.node.outcomes import Written
from meshcrdt.topology.topology import PeerState


def joiner_link(bench, link):
    """A joiner finishes its handshake with n1 over a wire whose other end is dead."""
    stranger = bench.nodes["n2"].hello()
    accepted = events.Direction.ACCEPTED
    return events.LinkOpened(link, stranger, accepted, "mem://n2", "mem", True)


def test_a_joiner_that_died_on_its_way_does_not_hold_its_link_for_ever(bench):
    node = bench.add("n1", bench.genesis())
    bench.add("n2", None)
    for link in range(90, 100):
        bench.give("n1", joiner_link(bench, link))
    bench.pass_time(DEFAULT_LIMITS.handshake_timeout_s + 0.1)
    assert bench.closed == [("n1", "it did not join in time")] * 10
    for link in range(90, 100):
        bench.give("n1", events.LinkClosed(link, "closed"))
    assert not node.links
    bench.pass_time(60)
    assert len(bench.closed) == 10, "each is closed once"


def test_the_link_of_a_joiner_that_ended_by_itself_is_not_closed_later(bench):
    node = bench.add("n1", bench.genesis())
    bench.add("n2", None)
    bench.give("n1", joiner_link(bench, 90))
    bench.give("n1", events.LinkClosed(90, "reset"))
    effects = node.handle_timeout(bench.now + 60)
    assert not [effect for effect in effects if isinstance(effect, CloseLink)]


def test_a_joiner_in_time_joins_and_its_link_as_a_member_stays(bench):
    bench.add("n1", bench.genesis())
    joiner = bench.add("n2", None)
    bench.link("n2", "n1")
    assert joiner.state == "ready"
    bench.link("n2", "n1")
    before = len(bench.closed)
    bench.pass_time(60)
    assert len(bench.closed) == before
    assert {m.state for m in bench.nodes["n1"].statistics().members} == {PeerState.ALIVE}


# --- a store that failed -------------------------------------------------------------------


def test_what_peers_write_after_the_store_failed_is_merged_and_nothing_is_kept_for_the_disk(bench):
    genesis = bench.genesis()
    node = bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.hold_disk.add("n1")
    bench.give("n1", events.Put(1, "acme/own", b"k", b"v"))
    bench.give("n1", events.StoreFailed("EIO on fsync"))
    for number in range(2, 30):
        written = bench.give("n2", events.Put(number, "acme/theirs", b"%d" % number, b"v"))
        assert isinstance(written, Written)
    assert len(node.items("acme/theirs")) == 28
    assert node.barrier.waiting == 0
    # A confirmation that was on its way tells nothing about what came after it.
    node.handle(events.Persisted(node.barrier.watermark), bench.now)
    assert not node.barrier.is_clear
    assert ("n1", 1) not in bench.replies
