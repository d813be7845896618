"""One lane: order, fairness between flows, and the bound in bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import InternalError
from meshcrdt.node.fair_lane import FINISHED_MIN, FairLane

SIZES = st.integers(1, 500)
FLOWS = st.sampled_from([b"a", b"b", b"c", b"d"])
MANY = 1 << 20


def drain(lane):
    out = []
    while lane.waiting:
        item = lane.head()
        lane.sent(item[-1])
        out.append(item)
    return out


@given(st.lists(st.tuples(FLOWS, SIZES) | st.none(), max_size=80), st.integers(500, 3_000))
def test_each_flow_keeps_its_order_and_the_bound_holds(steps, bytes_max):
    lane = FairLane(bytes_max)
    numbers = {}
    out = []
    for step in steps:
        if step is None:
            if lane.waiting:
                out.append(lane.head())
                lane.sent(out[-1][-1])
        else:
            flow, size = step
            numbers[flow] = numbers.get(flow, 0) + 1
            lane.put(flow, (flow, numbers[flow], size), size)
        lane.check()
        assert lane.waiting_bytes <= bytes_max
    out += drain(lane)
    lane.check()
    for flow in numbers:
        mine = [number for of, number, _ in out if of == flow]
        assert mine == sorted(set(mine))
    counts = lane.statistics()
    assert counts.sent == len(out)
    assert counts.sent + counts.dropped == sum(numbers.values())
    assert counts.sent_bytes == sum(size for _, _, size in out)


@given(st.lists(SIZES, min_size=200, max_size=200), st.lists(SIZES, min_size=200, max_size=200))
def test_flows_that_always_have_something_get_the_same_bytes(left, right):
    lane = FairLane(MANY)
    for a, b in zip(left, right, strict=True):
        lane.put(b"l", (b"l", a), a)
        lane.put(b"r", (b"r", b), b)
    sent = {b"l": 0, b"r": 0}
    left_over = {b"l": len(left), b"r": len(right)}
    while all(left_over.values()):
        flow, size = lane.head()
        lane.sent(size)
        sent[flow] += size
        left_over[flow] -= 1
        assert abs(sent[b"l"] - sent[b"r"]) <= 2 * 500


@given(st.integers(1, 30), SIZES)
def test_who_says_little_waits_for_one_message_of_each_other_flow(others, small):
    lane = FairLane(MANY)
    for number in range(20 * others):
        lane.put(b"%d" % (number % others), (b"other", 400), 400)
    for _ in range(3 * others):
        lane.sent(lane.head()[-1])
    lane.put(b"small", (b"small", small), small)
    for _ in range(others):
        if lane.head()[0] == b"small":
            break
        lane.sent(lane.head()[-1])
    assert lane.head()[0] == b"small"


def test_who_comes_back_for_each_message_jumps_no_queue():
    """Debts outlive what waits: an origin that always has one large delta is no newcomer."""
    lane = FairLane(MANY)
    sent = {b"one at a time": 0, b"many": 0}
    for _ in range(400):
        lane.put(b"many", (b"many", 100), 100)
    lane.put(b"one at a time", (b"one at a time", 1_000), 1_000)
    for _ in range(200):
        flow, size = lane.head()
        lane.sent(size)
        sent[flow] += size
        if flow == b"one at a time":
            lane.put(flow, (flow, 1_000), 1_000)
    assert abs(sent[b"one at a time"] - sent[b"many"]) <= 1_000


def test_a_full_lane_gives_up_the_newest_of_who_fills_it():
    lane = FairLane(1_000)
    for number in range(9):
        assert lane.put(b"greedy", number, 100)
    assert lane.put(b"modest", "a", 100)
    assert lane.put(b"modest", "b", 100), "the greedy one must give way"
    assert not lane.put(b"greedy", "more", 100)
    lane.check()
    counts = lane.statistics()
    assert (counts.dropped, counts.waiting_bytes) == (2, 1_000)
    seen = []
    while lane.waiting:
        seen.append(lane.head())
        lane.sent(100)
    assert [item for item in seen if isinstance(item, int)] == list(range(8))
    assert seen.index("b") < 5


def test_a_flow_that_lost_all_it_had_is_forgotten_in_its_turn():
    lane = FairLane(1_000)
    lane.put(b"large", "large", 900)
    for number in range(10):
        lane.put(b"%d" % number, number, 50)
    lane.check()
    assert "large" not in [lane.head()]
    assert lane.put(b"large", "small now", 10)
    found = []
    while lane.waiting:
        found.append(lane.head())
        lane.sent(50)
        lane.check()
    assert sorted(map(str, found)) == sorted([*map(str, range(10)), "small now"])


def test_a_name_stands_for_one_message_at_most():
    lane = FairLane(100)
    lane.put(b"", "old", 10, name=0)
    lane.put(b"", "other", 10)
    lane.put(b"", "new", 20, name=0)
    assert lane.says_already(b"", 0)
    assert not lane.says_already(b"", 1)
    assert not lane.says_already(b"elsewhere", 0)
    assert lane.head() == "new"
    assert not lane.put(b"", "too large", 500, name=0)
    assert lane.head() == "new"
    lane.check()
    counts = lane.statistics()
    assert (counts.waiting, counts.coalesced, counts.dropped) == (2, 3, 1)


def test_ends_of_flows_that_are_gone_are_not_kept_for_ever():
    lane = FairLane(MANY)
    for _ in range(3):
        lane.put(b"steady", "s", 10)
    for number in range(20 * FINISHED_MIN):
        lane.put(b"%d" % number, "x", 1)
        lane.put(b"steady", "s", 10)
        lane.sent(1 if lane.head() == "x" else 10)
        lane.sent(1 if lane.head() == "x" else 10)
    assert len(lane._finished) <= 4 * FINISHED_MIN


def test_check_sees_what_does_not_add_up():
    lane = FairLane(100)
    lane.put(b"a", "x", 10)
    lane.waiting_bytes += 1
    with pytest.raises(InternalError):
        lane.check()
