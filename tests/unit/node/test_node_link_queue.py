"""The queue of one link: shares, starvation, bounds under a flood, coalescing (F28)."""

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.messages import Get, Want, Wanted
from meshcrdt.gossip.tree_messages import Wish
from meshcrdt.node.link_queue import PUSH_BYTES, SHARES, Lane, LinkQueue
from meshcrdt.node.link_queues import NOTHING, LinkQueues
from meshcrdt.wire import decode_frame, encode
from meshcrdt.wire.frames import SEAL_BYTES

MESSAGE_MAX = 2_000
CONTROL = (Lane.LIVENESS, Lane.UNICAST)
LIMITS = Limits(
    frame_bytes_max=8 * 1024,
    frame_fill_bytes=4 * 1024,
    link_share_window_bytes=8 * 1024,
    link_liveness_bytes_max=64 * 1024,
    link_unicast_bytes_max=64 * 1024,
    link_delta_bytes_max=64 * 1024,
    link_repair_bytes_max=64 * 1024,
)


def ref(seq):
    return Ref(Epoch(1, bytes(8)), seq, b"%32d" % seq)


def stream(origin, channel="c"):
    return StreamKey(channel, PeerId(b"%16d" % origin))


def message(lane, size):
    """Return an encoded message of about this size that tells its lane."""
    return encode((lane.value, bytes(size)))


def pull(queue, source=NOTHING):
    """Return the messages of the next frame as (lane, bytes)."""
    frame = queue.next_frame(source)
    if frame is None:
        return []
    return [(Lane(code), len(encode((code, *rest)))) for code, *rest in decode_frame(frame)]


def everything(queue, source=NOTHING):
    out = []
    while batch := pull(queue, source):
        out += batch
    return out


@define
class Shares:
    """What left while bulk lanes had to wait, by lane."""

    control: int = 0
    bulk: int = 0
    repair: int = 0
    contended: int = 0
    """Bytes of delta and repair while both of them waited."""

    def add(self, queue, batch):
        both = queue.lanes[Lane.DELTA].waiting and queue.lanes[Lane.REPAIR].waiting
        for lane, size in batch:
            if lane in CONTROL:
                self.control += size
            else:
                self.bulk += size
                if both:
                    self.contended += size
                    self.repair += size * (lane is Lane.REPAIR)


class Made:
    """Makes what a test says of noted streams and requests."""

    def __init__(self, render=None, serve=None):
        self.render = render or NOTHING.render
        self.serve = serve or NOTHING.serve


ARRIVALS = st.lists(
    st.tuples(st.sampled_from(Lane), st.integers(1, MESSAGE_MAX), st.integers(1, 12)),
    min_size=1,
    max_size=60,
)


def shares_of(arrivals):
    """Live through arrivals, pulling a frame after each, with bulk always waiting."""
    queue = LinkQueue(1, LIMITS)
    shares = Shares()
    for lane, size, count in arrivals:
        for _ in range(count):
            queue.put(lane, message(lane, size))
        for always in (Lane.DELTA, Lane.REPAIR):
            while queue.lanes[always].waiting_bytes < 4 * LIMITS.frame_fill_bytes:
                queue.put(always, message(always, size))
        shares.add(queue, pull(queue))
        queue.check()
    return shares


def assert_shares(shares):
    window = LIMITS.link_share_window_bytes
    burst = sum(SHARES.values()) * window + 2 * MESSAGE_MAX
    assert shares.control <= 0.25 * shares.bulk + burst
    slack = 2 * (MESSAGE_MAX + 12 * 1024)
    assert shares.repair >= 0.10 * (shares.contended + shares.control) - slack


@given(ARRIVALS)
def test_shares_hold_for_any_arrivals(arrivals):
    assert_shares(shares_of(arrivals))


def sustained(count=400):
    """Every lane wants more than it can have, for long."""
    return [(Lane(number % 4), 700, 8) for number in range(count)]


def test_f28_repair_goes_on_under_sustained_traffic():
    shares = shares_of(sustained())
    assert_shares(shares)
    total = shares.control + shares.bulk
    assert 0.17 < shares.control / total < 0.22
    assert shares.repair / total > 0.15


@pytest.mark.parametrize("lane", [Lane.DELTA, Lane.REPAIR])
def test_strict_priority_among_the_rest_is_caught(monkeypatch, lane):
    def strict(self):
        order = (lane, Lane.DELTA, Lane.REPAIR)
        return next((each for each in order if self.lanes[each].waiting), None)

    monkeypatch.setattr(LinkQueue, "_next_bulk", strict)
    if lane is Lane.DELTA:
        with pytest.raises(AssertionError):
            assert_shares(shares_of(sustained()))
    else:
        shares = shares_of(sustained())
        assert shares.repair == shares.contended, "deltas starve the same way"


def test_control_lanes_without_a_cap_are_caught(monkeypatch):
    monkeypatch.setattr("meshcrdt.node.link_queue._Credit.spend", lambda self, size: None)
    with pytest.raises(AssertionError):
        assert_shares(shares_of(sustained()))


def test_control_lanes_take_all_of_a_link_that_nobody_else_needs():
    queue = LinkQueue(1, LIMITS)
    for _ in range(80):
        queue.put(Lane.UNICAST, message(Lane.UNICAST, 700))
    sent = everything(queue)
    assert len(sent) == 80
    queue.put(Lane.REPAIR, message(Lane.REPAIR, 700))
    queue.put(Lane.UNICAST, message(Lane.UNICAST, 700))
    assert [lane for lane, _ in pull(queue)] == [Lane.UNICAST, Lane.REPAIR], "it owes nothing"


def test_liveness_waits_for_nobody_even_when_unicast_owes_much():
    queue = LinkQueue(1, Limits())
    for _ in range(20):
        queue.put(Lane.REPAIR, message(Lane.REPAIR, 60_000))
    queue.put(Lane.UNICAST, message(Lane.UNICAST, 250_000))
    assert pull(queue)[0][0] is Lane.UNICAST
    queue.put(Lane.LIVENESS, message(Lane.LIVENESS, 10))
    queue.put(Lane.UNICAST, message(Lane.UNICAST, 10))
    lanes = [lane for lane, _ in pull(queue)]
    assert lanes[0] is Lane.LIVENESS
    assert Lane.UNICAST not in lanes


def test_what_is_urgent_waits_for_one_frame_and_no_more():
    queue = LinkQueue(1, Limits())
    for number in range(1_000):
        queue.put(Lane.REPAIR, message(Lane.REPAIR, 3_000 + number % 7))
    for _ in range(5):
        assert sum(size for _, size in pull(queue)) <= Limits().frame_fill_bytes
        queue.put(Lane.LIVENESS, message(Lane.LIVENESS, 10))
        assert pull(queue)[0][0] is Lane.LIVENESS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Lane),
            st.integers(0, 7_000),
            st.integers(0, 5),
            st.none() | st.sampled_from([0, 1]),
        ),
        max_size=200,
    )
)
def test_no_flood_goes_above_the_bounds_and_what_waits_comes_out(flood):
    limits = Limits(
        frame_bytes_max=8 * 1024,
        link_liveness_bytes_max=3_000,
        link_unicast_bytes_max=9_000,
        link_delta_bytes_max=9_000,
        link_repair_bytes_max=20_000,
    )
    queue = LinkQueue(1, limits)
    for lane, size, flow, name in flood:
        queue.put(lane, message(lane, size), flow=b"%d" % flow, name=name)
        if lane is Lane.DELTA:
            queue.push(stream(flow), ref(1))
        queue.check()
    assert queue.waiting_bytes <= 41_000
    waiting = queue.waiting
    out = everything(queue, Made(lambda _link, _stream, _since: message(Lane.DELTA, 5)))
    assert len(out) == waiting
    assert queue.waiting == queue.waiting_bytes == 0
    assert everything(queue) == []


def test_a_message_that_fits_no_frame_holds_up_nothing():
    queue = LinkQueue(1, Limits(frame_bytes_max=1_000))
    queue.put(Lane.UNICAST, message(Lane.UNICAST, 5_000))
    queue.put(Lane.UNICAST, message(Lane.UNICAST, 500))
    assert [size for _, size in pull(queue)] == [len(message(Lane.UNICAST, 500))]
    assert queue.statistics().unicast.dropped == 1


def test_frames_are_as_full_as_they_may_be_and_not_fuller():
    limits = Limits(frame_bytes_max=2_000, frame_fill_bytes=2_000)
    queue = LinkQueue(1, limits)
    for size in range(0, 1_900, 7):
        queue.put(Lane.REPAIR, message(Lane.REPAIR, size))
    while frame := queue.next_frame(NOTHING):
        assert len(frame) + SEAL_BYTES <= limits.frame_bytes_max
        if queue.waiting:
            head = queue.lanes[Lane.REPAIR].head()
            assert len(frame) + len(head) > limits.frame_fill_bytes - 2 * SEAL_BYTES


# --- coalescing --------------------------------------------------------------------------


def test_a_stream_waits_once_and_keeps_the_oldest_since():
    queue = LinkQueue(7, Limits())
    for seq in range(1, 1_001):
        queue.push(stream(1), ref(seq))
    queue.push(stream(2), None)
    asked = []

    def render(link, key, since):
        asked.append((link, key, since))
        return message(Lane.DELTA, 10)

    assert queue.waiting_bytes == 2 * PUSH_BYTES
    assert len(everything(queue, Made(render))) == 2
    assert asked == [(7, stream(1), ref(1)), (7, stream(2), None)]
    counts = queue.statistics()
    assert counts.frames == 1
    assert (counts.delta.coalesced, counts.delta.sent) == (999, 2)


def test_what_has_nothing_left_to_say_costs_no_frame():
    queue = LinkQueue(1, Limits())
    for number in range(5):
        queue.push(stream(number), None)
    assert queue.next_frame(NOTHING) is None
    assert queue.waiting == 0
    assert queue.statistics().frames == 0


def test_origins_take_turns_whatever_one_of_them_writes():
    queue = LinkQueue(1, Limits())
    for channel in range(50):
        queue.push(stream(1, f"c{channel}"), None)
    queue.push(stream(2), None)
    order = []

    def render(_link, key, _since):
        order.append(key.origin)
        return message(Lane.DELTA, 30_000)

    pull(queue, Made(render))
    assert stream(2).origin in order[:2]


def test_an_unsent_ping_gives_way_to_a_newer_one():
    queue = LinkQueue(1, Limits())
    for number in range(10_000):
        queue.put(Lane.LIVENESS, encode((0, number)), name=0)
        queue.put(Lane.LIVENESS, encode((1, number)), name=1)
    frame = queue.next_frame(NOTHING)
    assert decode_frame(frame) == ((0, 9_999), (1, 9_999))
    assert queue.statistics().liveness.dropped == 0


# --- answers -----------------------------------------------------------------------------


def served(sizes, made):
    def serve(_link, request):
        for number, size in enumerate(sizes):
            made.append((request, number))
            yield message(Lane.REPAIR, size)

    return Made(serve=serve)


def get(number, *paths):
    return Get(stream(number), tuple(Wanted(path, b"h" * 32) for path in paths))


def test_an_answer_is_made_piece_by_piece_as_the_link_has_room():
    queue, made = LinkQueue(1, Limits()), []
    source = served([50_000, 50_000, 50_000, 50_000], made)
    queue.serve(get(1, b""))
    assert made == []
    for number in range(1, 5):
        assert len(pull(queue, source)) == 1
        assert len(made) <= number + 1, "one is made that did not fit, and no more"
        assert queue.waiting_bytes < 2_000
        queue.check()
    assert everything(queue, source) == []
    assert queue.statistics().repair.sent == 4


def test_a_request_that_is_repeated_is_answered_once():
    queue, made = LinkQueue(1, Limits()), []
    source = served([50_000, 50_000], made)
    for paths in ([b""], [b"", b"\1"], [b"\2"]):
        queue.serve(get(1, *paths))
        queue.serve(Want((Wish(stream(1), None),)))
    queue.serve(get(2, b""))
    assert len(everything(queue, source)) == 6
    asked = [request for request, number in made if number == 0]
    assert asked == [get(1, b"\2"), Want((Wish(stream(1), None),)), get(2, b"")]
    assert queue.statistics().repair.coalesced == 4


def test_who_asks_anew_in_the_midst_of_an_answer_gets_what_he_asks_for_now():
    queue, made = LinkQueue(1, Limits()), []
    source = served([50_000] * 4, made)
    queue.serve(get(1, b""))
    pull(queue, source)
    queue.serve(get(1, b"\3"))
    everything(queue, source)
    assert [request for request, _ in made][-4:] == [get(1, b"\3")] * 4
    assert len(made) <= 6


def test_what_this_node_asks_does_not_wait_behind_what_it_answers():
    queue = LinkQueue(1, Limits())
    source = served([100_000] * 4, [])
    for number in range(10):
        queue.serve(get(number, b""))
    pull(queue, source)
    queue.put(Lane.REPAIR, message(Lane.REPAIR, 50))
    sizes = [size for _ in range(2) for _, size in pull(queue, source)]
    assert min(sizes) < 100


def test_a_part_of_an_answer_that_fits_no_frame_holds_up_nothing():
    queue = LinkQueue(1, Limits(frame_bytes_max=1_000))
    queue.serve(get(1, b""))
    assert len(everything(queue, served([500, 5_000, 500], []))) == 2
    assert queue.statistics().repair.dropped == 1


def test_a_flood_of_requests_is_bounded():
    queue = LinkQueue(1, Limits())
    for number in range(100_000):
        queue.serve(get(number, *[b"%d" % n for n in range(number % 5)]))
    queue.check()
    assert queue.waiting_bytes <= Limits().link_repair_bytes_max
    assert queue.statistics().repair.dropped > 0


# --- all links ---------------------------------------------------------------------------


def test_the_shell_is_told_once_until_it_was_given_nothing():
    queues = LinkQueues(Limits())
    queues.opened(1)
    queues.opened(2)
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    queues.push(2, stream(1), None)
    assert queues.news() == [1, 2]
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    assert queues.news() == []
    assert queues.next_frame(1, NOTHING) is not None
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    assert queues.news() == [], "it has not seen the end yet"
    assert queues.next_frame(1, NOTHING) is not None
    assert queues.next_frame(1, NOTHING) is None
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    assert queues.news() == [1]
    queues.check([1, 2])


def test_a_link_that_is_closing_takes_nothing_more_and_one_that_is_gone_nothing_at_all():
    queues = LinkQueues(Limits())
    queues.opened(1)
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    queues.closing(1)
    queues.put(1, Lane.REPAIR, message(Lane.REPAIR, 1))
    queues.push(1, stream(1), None)
    frame = queues.next_frame(1, NOTHING)
    assert len(decode_frame(frame)) == 1
    assert queues.next_frame(1, NOTHING) is None
    queues.closed(1)
    for link in (1, 99):
        queues.closing(link)
        queues.closed(link)
        assert queues.put(link, Lane.REPAIR, b"")
        queues.push(link, stream(1), None)
        assert queues.next_frame(link, NOTHING) is None
    counts = queues.statistics()
    assert (counts.frames, counts.messages, counts.waiting_bytes) == (1, 1, 0)


def test_check_sees_a_queue_without_its_link_and_one_that_nobody_was_told_of():
    queues = LinkQueues(Limits())
    queues.opened(1)
    with pytest.raises(InternalError):
        queues.check([])
    queues.put(1, Lane.REPAIR, b"x")
    queues.queue(1).is_told = False
    with pytest.raises(InternalError):
        queues.check([1])
