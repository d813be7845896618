"""Receipts: targets fixed at the call, two levels, a deadline that always ends them (F25)."""

from __future__ import annotations

import pytest
from gossip_world import identity_of

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.gossip import Missing, Reached, ToPeer
from meshcrdt.gossip.receipts import QUESTIONS_MAX, ReceiptLevel, ReceiptTracker

EPOCH = Epoch(1, b"instance")
A, B, C = (identity_of(n).peer for n in range(3))


class Holder:
    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.merged = self.durable = 0

    def holds(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        return self.merged >= seq

    def held_durably(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        return self.durable >= seq


class Net:
    def __init__(self) -> None:
        self.holders = {peer: Holder(peer) for peer in (A, B, C)}
        self.trackers = {peer: ReceiptTracker(holder) for peer, holder in self.holders.items()}
        self.done: list[object] = []
        self.cut: set[PeerId] = set()

    def carry(self, source: PeerId, outputs: list, now: float = 0.0) -> None:
        for output in outputs:
            if not isinstance(output, ToPeer):
                self.done.append(output)
            elif output.peer not in self.cut and source not in self.cut:
                tracker = self.trackers[output.peer]
                self.carry(output.peer, tracker.received(source, output.payload, now), now)
        for tracker in self.trackers.values():
            tracker.check()

    def ask(self, targets: tuple[PeerId, ...] = (B, C), level: str = "merged") -> None:
        outputs = self.trackers[A].ask(
            1, "c", EPOCH, 5, targets=targets, level=level, now=0.0, deadline=10.0
        )
        self.carry(A, outputs)


def test_a_receipt_is_reached_when_the_last_target_has_it() -> None:
    net = Net()
    net.holders[B].merged = 5
    net.ask()
    assert net.done == []
    net.holders[C].merged = 5
    net.carry(C, net.trackers[C].changed("c", A))
    assert net.done == [Reached(1)]
    assert net.trackers[A].statistics().receipts == 0
    assert net.trackers[C].statistics().questions == 0


def test_durable_is_more_than_merged() -> None:
    net = Net()
    for holder in net.holders.values():
        holder.merged = 5
    net.ask(level="durable")
    assert net.done == []
    for peer in (B, C):
        net.holders[peer].durable = 5
        net.carry(peer, net.trackers[peer].changed("c", A))
    assert net.done == [Reached(1)]


def test_the_deadline_names_who_is_missing() -> None:
    net = Net()
    net.cut = {C}
    net.holders[B].merged = 5
    net.ask()
    assert net.trackers[A].handle_timeout(9.9)[-1:] != [Missing(1, (C,))]
    net.carry(A, net.trackers[A].handle_timeout(10.0), 10.0)
    assert net.done == [Missing(1, (C,))]
    assert net.trackers[A].next_deadline() is None


def test_questions_are_repeated_until_the_partition_heals() -> None:
    net = Net()
    net.cut = {B, C}
    net.ask()
    net.cut = set()
    for holder in net.holders.values():
        holder.merged = 5
    now = net.trackers[A].next_deadline()
    assert now is not None
    assert now < 1.0
    net.carry(A, net.trackers[A].handle_timeout(now), now)
    assert net.done == [Reached(1)]


def test_no_target_is_reached_at_once_and_oneself_counts_only_with_the_write() -> None:
    net = Net()
    net.ask(targets=())
    assert net.done == [Reached(1)]
    net.done = []
    net.ask(targets=(A,))
    assert net.done == []
    net.holders[A].merged = 5
    net.carry(A, net.trackers[A].changed("c", A))
    assert net.done == [Reached(1)]


def test_misuse_and_bounds() -> None:
    net = Net()
    net.cut = {B}
    net.ask(targets=(B,))
    with pytest.raises(UsageError, match="already"):
        net.ask()
    with pytest.raises(UsageError, match="not a receipt level"):
        net.trackers[B].ask(2, "c", EPOCH, 5, targets=(), level="soon", now=0.0, deadline=1.0)
    tracker = ReceiptTracker(net.holders[A], limits=Limits(write_queue_max=1))
    ask = {"targets": (B,), "level": ReceiptLevel.MERGED, "now": 0.0, "deadline": 1.0}
    tracker.ask(1, "c", EPOCH, 5, **ask)
    with pytest.raises(CapacityError, match="write_queue_max"):
        tracker.ask(2, "c", EPOCH, 5, **ask)


@pytest.mark.parametrize(
    "payload",
    [(), (64,), (65,), (65, -1), (70, 1), (64, 1, "", (1, b"instance"), 5, 0, 1), (64, "x")],
)
def test_payloads_that_make_no_sense_are_dropped(payload: tuple) -> None:
    net = Net()
    assert net.trackers[A].received(B, payload, 0.0) == []


def test_open_questions_are_bounded_and_forgotten_in_time() -> None:
    net = Net()
    tracker = net.trackers[A]
    for request in range(QUESTIONS_MAX + 10):
        ask = (64, request, "c", (1, b"instance"), 5, 0, 1_000)
        assert tracker.received(B, ask, 0.0) == []
    assert tracker.statistics().questions == QUESTIONS_MAX
    tracker.check()
    assert tracker.handle_timeout(1.0) == []
    assert tracker.statistics().questions == 0


def test_an_answer_to_a_question_of_an_earlier_run_confirms_nothing() -> None:
    net = Net()
    net.ask((B,))
    net.holders[B].merged = 5
    (late,) = net.trackers[B].changed("c", A)
    # A restarts; its first receipt has the number of the lost one, but means another write.
    tracker = net.trackers[A] = ReceiptTracker(net.holders[A])
    tracker.ask(
        1, "c", Epoch(2, b"instance"), 1, targets=(B,), level="merged", now=0.0, deadline=9.0
    )
    assert tracker.received(B, late.payload, 0.0) == []
    assert tracker.statistics().receipts == 1


@pytest.mark.parametrize(
    ("fraction", "enough"), [(0.1, 0), (0.34, 1), (0.5, 1), (0.67, 2), (1.0, 2)]
)
def test_a_fraction_counts_this_node_and_rounds_up(fraction: float, enough: int) -> None:
    """Of three members: `enough` others are to hold it."""
    net = Net()
    net.holders[A].merged = 5
    for number, peer in enumerate((B, C, None)):
        net.done = []
        outputs = net.trackers[A].ask(
            10 + number, "c", EPOCH, 5, targets=(B, C), level="merged", now=0.0, deadline=10.0,
            fraction=fraction,
        )  # fmt: skip
        net.carry(A, outputs)
        assert (net.done == [Reached(10 + number)]) is (number >= enough)
        if peer is not None:
            net.holders[peer].merged = 5


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.01, float("nan")])
def test_a_fraction_of_nobody_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction"):
        ReceiptTracker(Holder(A)).ask(
            1, "c", EPOCH, 5, targets=(B,), level="merged", now=0.0, deadline=1.0,
            fraction=fraction,
        )  # fmt: skip
