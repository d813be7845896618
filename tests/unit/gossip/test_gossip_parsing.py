"""Messages of a simulated world are read once, and mean what they mean everywhere."""

from __future__ import annotations

import pytest
from gossip_world import World

from meshcrdt.base.memo import NO_MEMO
from meshcrdt.errors import MalformedTree
from meshcrdt.gossip import Over, Put
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.compact import HOPS_MAX, Compact
from meshcrdt.gossip.messages import Delta, Message, parse
from meshcrdt.gossip.parsing import HOPS_AT, read_message
from meshcrdt.sim.memo import WorldMemo
from meshcrdt.wire import decode

GENESIS = b"g" * 32


def sent(code: Code) -> Message:
    """Return a message of a kind as it was on a link."""
    world = World(2)
    world.run()
    for value in (b"0", b"1"):
        world.hosts[0].write("c", Put(b"key", value, Over.OWN))
        world.hosts[0].sync_disk()
        ((_, _, data),) = world.wire
        message = decode(data)
        assert isinstance(message, tuple)
        if message[0] == code:
            return message
        world.run()
    raise AssertionError(f"no {code.name} was sent")


def after(message: Message, hops: object) -> Message:
    at = HOPS_AT[message[0]]  # type: ignore[index]
    return (*message[:at], hops, *message[at + 1 :])  # type: ignore[return-value]


@pytest.mark.parametrize("code", [Code.DELTA, Code.COMPACT])
def test_a_memo_reads_the_same_as_none(code: Code) -> None:
    memo = WorldMemo()
    for hops in (1, 0, -1, 7, HOPS_MAX, 1):
        message = after(sent(code), hops)
        told = read_message(message, GENESIS, memo)
        assert told == parse(message, GENESIS) == read_message(message, GENESIS, NO_MEMO)
        assert isinstance(told, Delta | Compact)
        assert told.hops == hops


def test_one_header_is_one_object_whatever_frame_and_way_it_came_by() -> None:
    memo = WorldMemo()
    told = [read_message(after(sent(Code.DELTA), hops), GENESIS, memo) for hops in (1, 2, 0)]
    assert all(isinstance(each, Delta) for each in told)
    assert len({id(each.envelope) for each in told if isinstance(each, Delta)}) == 1
    again = read_message(after(sent(Code.DELTA), 2), GENESIS, memo)
    assert again is told[1]


@pytest.mark.parametrize("code", [Code.DELTA, Code.COMPACT])
@pytest.mark.parametrize("hops", [True, None, b"", HOPS_MAX + 1, -HOPS_MAX - 1])
def test_a_bad_hop_count_is_refused_with_the_same_words(code: Code, hops: object) -> None:
    memo = WorldMemo()
    message = after(sent(code), hops)
    read_message(after(message, 1), GENESIS, memo)
    reasons = []
    for each in (memo, NO_MEMO):
        with pytest.raises(MalformedTree) as caught:
            read_message(message, GENESIS, each)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_what_python_calls_equal_is_not_taken_for_the_same_message() -> None:
    """True equals 1 and is no number here: who finds by equality would let it through."""
    memo = WorldMemo()
    good = sent(Code.COMPACT)
    read_message(good, GENESIS, memo)
    counter = good.index(1, 4)
    bad = (*good[:counter], True, *good[counter + 1 :])
    assert bad == good
    with pytest.raises(MalformedTree):
        read_message(bad, GENESIS, memo)


@pytest.mark.parametrize("message", [(), (b"",), (True,), (Code.DELTA.value,), (99, 1)])
def test_what_is_no_delta_is_read_as_ever(message: Message) -> None:
    for memo in (WorldMemo(), NO_MEMO):
        with pytest.raises(MalformedTree):
            read_message(message, GENESIS, memo)
