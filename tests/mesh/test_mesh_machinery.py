"""Driver, performer, storekeeper and pump, with a node that does what the test says."""

from collections import deque

import pytest
import trio

from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, ClosedError, LinkClosed, LinkError, NotReady, StoreError
from meshcrdt.mesh.driver import DEADLINE, Driver
from meshcrdt.mesh.performer import Performer
from meshcrdt.mesh.pump import FLUSH_TIMEOUT_S, Pump
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.storekeeper import GROUP_ROWS_MAX, Storekeeper
from meshcrdt.node.effects import Changed, CloseLink, Dial, Notice, Persist, Reply, Writable
from meshcrdt.node.events import (
    Drain,
    FrameReceived,
    LinkOpened,
    Persisted,
    StoreFailed,
)
from meshcrdt.node.events import (
    LinkClosed as LinkClosedEvent,
)
from meshcrdt.node.outcomes import Done, Failed, FailureKind
from meshcrdt.topology.links import Direction


class Recorder:
    """Stands for everything that the performer touches, and keeps the order of calls."""

    def __init__(self):
        self.calls = []
        self.pumps = {1: self}

    def wake(self):
        self.calls.append(("wake",))

    def close(self, reason):
        self.calls.append(("close", reason))

    def enqueue(self, effect):
        self.calls.append(("persist", effect.watermark))

    def answer(self, request, outcome):
        self.calls.append(("reply", request))

    def fail_all(self, error):
        self.calls.append(("fail", str(error)))

    def changed(self, channel, keys):
        self.calls.append(("changed", channel))

    def post(self, notice):
        self.calls.append(("notice", notice.text))

    def performer(self):
        return Performer(
            pumps=self.pumps,
            dial=lambda address: self.calls.append(("dial", address)),
            storekeeper=self,
            requests=self,
            watches=self,
            notices=self,
        )


class FakeNode:
    """Answers events from a script, and logs them."""

    def __init__(self):
        self.events = []
        self.timeouts = []
        self.deadline = None
        self.answers = {}

    def handle(self, event, now):
        self.events.append((now, event))
        return self.answers.get(type(event), lambda _event: [])(event)

    def handle_timeout(self, now):
        self.timeouts.append(now)
        return self.answers.get("timeout", lambda _now: [])(now)

    def next_deadline(self):
        return self.deadline


class MemoryLog:
    """A store that logs its transactions and can be held or broken."""

    def __init__(self):
        self.transactions = []
        self.gate = trio.Event()
        self.gate.set()
        self.error = None

    async def write(self, rows):
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.transactions.append(list(rows))


class FakeLink:
    """A secure link whose network is the test."""

    hello = None
    direction = Direction.DIALLED
    address = "mem://x"
    transport = "mem"
    encrypted = True

    def __init__(self):
        self.sent = []
        self.hold = trio.Event()
        self.hold.set()
        self.put, self.take = trio.open_memory_channel(100)
        self.closed = False

    async def send(self, frame):
        await self.hold.wait()
        self.sent.append(frame)

    async def receive(self):
        item = await self.take.receive()
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self):
        self.closed = True


# --- performer -------------------------------------------------------------------------


def test_every_effect_has_its_function():
    recorder = Recorder()
    recorder.performer().perform(
        [
            Dial("mem://a"),
            CloseLink(1, "why"),
            Changed("c", (b"k",)),
            Notice("info", "text"),
            Writable(1),
            Writable(99),
            Persist(7, ()),
            Reply(8, Done()),
            CloseLink(99, "gone"),
        ]
    )
    assert recorder.calls == [
        ("dial", "mem://a"),
        ("close", "why"),
        ("changed", "c"),
        ("notice", "text"),
        ("wake",),
        ("persist", 7),
        ("reply", 8),
    ]


def test_failed_store_tells_who_waits():
    recorder = Recorder()
    recorder.performer().store_failed("EIO")
    assert recorder.calls == [("fail", "the store failed: EIO")]


# --- driver ----------------------------------------------------------------------------


async def drive(nursery, node, recorder):
    put, take = trio.open_memory_channel(100)
    nursery.start_soon(Driver(node, take, recorder.performer()).run)
    return put


async def test_driver_sleeps_until_the_deadline(autojump_clock):
    node = FakeNode()
    start = trio.current_time()
    node.deadline = start + 10

    def advance(now):
        node.deadline = now + 5 if len(node.timeouts) < 3 else None
        return []

    node.answers["timeout"] = advance
    async with trio.open_nursery() as nursery:
        await drive(nursery, node, Recorder())
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert node.timeouts == [start + 10, start + 15, start + 20]


async def test_deadline_in_the_past_starves_no_event(autojump_clock):
    node = FakeNode()
    node.deadline = -1.0
    async with trio.open_nursery() as nursery:
        inbox = await drive(nursery, node, Recorder())
        for number in range(5):
            await inbox.send(FrameReceived(number, b""))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(node.events) == 5
    assert 0 < len(node.timeouts) <= 1_010


async def test_busy_inbox_starves_no_deadline(autojump_clock):
    node = FakeNode()
    node.deadline = trio.current_time()
    node.answers["timeout"] = lambda _now: setattr(node, "deadline", None) or []
    async with trio.open_nursery() as nursery:
        inbox = await drive(nursery, node, Recorder())
        for number in range(99):
            inbox.send_nowait(FrameReceived(number, b""))
        await trio.testing.wait_all_tasks_blocked()
        assert len(node.timeouts) == 1
        assert len(node.events) == 99
        nursery.cancel_scope.cancel()


async def test_instrument_sees_every_event_and_its_effects():
    seen = []

    class Instrument:
        def before_handle(self, event, now):
            seen.append(("before", event))

        def after_handle(self, event, effects, now):
            seen.append(("after", event, list(effects)))

    node, event = FakeNode(), FrameReceived(1, b"")
    node.answers[FrameReceived] = lambda _: [Notice("info", "x")]
    put, take = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        driver = Driver(node, take, Recorder().performer(), instrument=Instrument())
        nursery.start_soon(driver.run)
        await put.send(event)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [("before", event), ("after", event, [Notice("info", "x")])]


async def test_instrument_that_raises_is_dropped_and_breaks_nothing(caplog, autojump_clock):
    calls = []

    class Broken:
        def before_handle(self, event, now):
            calls.append(event)
            raise ValueError("bad instrument")

        def after_handle(self, event, effects, now):
            calls.append("after")

    node = FakeNode()
    node.deadline = 0.0
    node.answers["timeout"] = lambda _now: setattr(node, "deadline", None) or []
    put, take = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        driver = Driver(node, take, Recorder().performer(), instrument=Broken())
        nursery.start_soon(driver.run)
        await trio.sleep(1)
        await put.send(FrameReceived(1, b""))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert calls == [DEADLINE]
    assert len(node.events) == 1
    assert "bad instrument" in caplog.text


# --- requests --------------------------------------------------------------------------


async def ask_and_answer(outcome):
    put, take = trio.open_memory_channel(1)
    requests = Requests(put)
    result = []

    async def ask():
        try:
            result.append(await requests.ask(Drain))
        except Exception as error:
            result.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        command = await take.receive()
        requests.answer(command.request + 1, Done())
        requests.answer(command.request, outcome)
    assert len(requests) == 0
    return result[0]


async def test_request_returns_its_own_outcome():
    assert await ask_and_answer(Done()) == Done()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FailureKind.CAPACITY, CapacityError),
        (FailureKind.STARTING, NotReady),
        (FailureKind.STORE, StoreError),
    ],
)
async def test_failed_outcome_raises_the_error_of_its_kind(kind, error):
    raised = await ask_and_answer(Failed(kind, "the reason"))
    assert type(raised) is error
    assert str(raised) == "the reason"


async def test_cancelled_caller_is_forgotten():
    put, take = trio.open_memory_channel(1)
    requests = Requests(put)
    with trio.move_on_after(0.01):
        await requests.ask(Drain)
    assert len(requests) == 0
    requests.answer(take.receive_nowait().request, Done())


async def test_end_wakes_all_and_refuses_the_rest():
    put, _take = trio.open_memory_channel(5)
    requests = Requests(put)

    async def ask():
        with pytest.raises(ClosedError, match="over"):
            await requests.ask(Drain)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        requests.end(ClosedError("it is over"))
    await ask()


# --- storekeeper -----------------------------------------------------------------------


def persist(watermark, count=1):
    return Persist(watermark, tuple(("t", b"%d-%d" % (watermark, n), b"v") for n in range(count)))


async def test_batches_that_gather_go_in_one_transaction_in_order():
    store = MemoryLog()
    put, take = trio.open_memory_channel(10)
    keeper = Storekeeper(store, put)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        store.gate = trio.Event()
        keeper.enqueue(persist(1))
        await trio.testing.wait_all_tasks_blocked()
        for watermark in (2, 3, 4):
            keeper.enqueue(persist(watermark))
        store.gate.set()
        assert await take.receive() == Persisted(1)
        assert await take.receive() == Persisted(4)
        await keeper.wait_idle()
        nursery.cancel_scope.cancel()
    assert [len(rows) for rows in store.transactions] == [1, 3]
    assert [row[1] for row in store.transactions[1]] == [b"2-0", b"3-0", b"4-0"]


async def test_group_is_bounded_and_batches_stay_whole():
    store = MemoryLog()
    put, take = trio.open_memory_channel(10)
    keeper = Storekeeper(store, put)
    for watermark in (1, 2, 3):
        keeper.enqueue(persist(watermark, GROUP_ROWS_MAX // 2 + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        assert [await take.receive() for _ in range(3)] == [Persisted(n) for n in (1, 2, 3)]
        nursery.cancel_scope.cancel()
    assert len(store.transactions) == 3


@pytest.mark.parametrize("error", [StoreError("EIO"), OSError(5, "EIO")])
async def test_failure_is_told_once_and_nothing_is_written_after(error):
    store = MemoryLog()
    put, take = trio.open_memory_channel(10)
    keeper = Storekeeper(store, put)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        store.error = error
        keeper.enqueue(persist(1))
        event = await take.receive()
        assert isinstance(event, StoreFailed)
        assert "EIO" in event.reason
        store.error = None
        keeper.enqueue(persist(2))
        await keeper.wait_idle()
        await trio.testing.wait_all_tasks_blocked()
    assert store.transactions == []
    with pytest.raises(trio.WouldBlock):
        take.receive_nowait()


# --- pump ------------------------------------------------------------------------------


class Frames:
    """Stands for the queue of a link in the node."""

    def __init__(self, pump, waiting):
        self.pump = pump
        self.waiting = waiting

    def add(self, frame):
        self.waiting.append(frame)
        self.pump.wake()


async def start_pump(nursery, link, **limits):
    put, take = trio.open_memory_channel(100)
    waiting = deque()
    pump = Pump(
        5,
        link,
        limits=Limits(**limits),
        inbox=put,
        next_frame=lambda number: waiting.popleft() if number == 5 and waiting else None,
    )
    nursery.start_soon(pump.run)
    assert isinstance(await take.receive(), LinkOpened)
    return Frames(pump, waiting), take


async def test_pump_moves_frames_both_ways_and_ends_in_order():
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        frames, events = await start_pump(nursery, link)
        frames.add(b"1")
        frames.add(b"2")
        link.put.send_nowait(b"in")
        link.put.send_nowait(LinkClosed("they closed"))
        assert await events.receive() == FrameReceived(5, b"in")
        assert await events.receive() == LinkClosedEvent(5, "they closed")
    assert link.closed
    assert link.sent == [b"1", b"2"]


async def test_a_busy_socket_takes_no_frame_from_the_node():
    link = FakeLink()
    link.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        frames, _ = await start_pump(nursery, link)
        for frame in (b"1", b"2", b"3"):
            frames.add(frame)
            await trio.testing.wait_all_tasks_blocked()
        assert list(frames.waiting) == [b"2", b"3"]
        link.hold.set()
        await trio.testing.wait_all_tasks_blocked()
        assert link.sent == [b"1", b"2", b"3"]
        nursery.cancel_scope.cancel()


async def test_close_sends_what_waits_first():
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        frames, events = await start_pump(nursery, link)
        frames.waiting.extend((b"1", b"2", b"3"))
        frames.pump.close("the node's reason")
        assert await events.receive() == LinkClosedEvent(5, "the node's reason")
    assert link.sent == [b"1", b"2", b"3"]


async def test_close_of_a_stuck_link_is_bounded(autojump_clock):
    link = FakeLink()
    link.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        frames, events = await start_pump(nursery, link)
        frames.add(b"1")
        start = trio.current_time()
        frames.pump.close("bye")
        await events.receive()
    assert trio.current_time() - start == pytest.approx(FLUSH_TIMEOUT_S)
    assert link.closed


async def test_slow_frame_closes_the_link_as_stuck(autojump_clock):
    link = FakeLink()
    link.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        frames, events = await start_pump(nursery, link, send_timeout_s=3.0)
        frames.add(b"x")
        event = await events.receive()
    assert "longer than send_timeout_s=3.0" in event.reason


async def test_broken_send_ends_the_link_with_its_reason():
    link = FakeLink()

    async def broken(_frame):
        raise LinkError("reset by peer")

    link.send = broken
    async with trio.open_nursery() as nursery:
        frames, events = await start_pump(nursery, link)
        frames.add(b"x")
        assert await events.receive() == LinkClosedEvent(5, "reset by peer")
