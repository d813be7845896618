"""Reads with a bound: what was acknowledged before the question is held at the answer (F26)."""

from __future__ import annotations

from typing import Any

import pytest
from gossip_world import identity_of
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.gossip import Missing, Reached, ToPeer
from meshcrdt.gossip.fresh_reads import ASK, ASK_AGAIN_MIN_S, CONFIRMED_MAX, HEAD, FreshReads
from meshcrdt.gossip.header import Ref

EPOCH = Epoch(1, b"instance")
A, B, C = (identity_of(n).peer for n in range(3))
PEERS = (A, B, C)


class Holder:
    """What one node holds of each origin: the number of its last write."""

    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.epoch = EPOCH
        self.held = dict.fromkeys(PEERS, 0)

    def head(self, channel: str, origin: PeerId) -> Ref | None:
        seq = self.held[origin]
        return Ref(EPOCH, seq, b"h" * 32) if seq else None

    def holds(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        return (EPOCH, self.held[origin]) >= (epoch, seq)


class Net:
    """Three nodes; messages wait on `wire` until they are delivered, or lost."""

    def __init__(self) -> None:
        self.holders = {peer: Holder(peer) for peer in PEERS}
        self.reads = {peer: FreshReads(holder) for peer, holder in self.holders.items()}
        self.wire: list[tuple[PeerId, PeerId, Any]] = []
        self.done: list[object] = []
        self.now = 0.0

    def take(self, source: PeerId, outputs: list) -> None:
        for output in outputs:
            if isinstance(output, ToPeer):
                self.wire.append((source, output.peer, output.payload))
            else:
                self.done.append(output)
        for reads in self.reads.values():
            reads.check()

    def ask(self, request: int = 1, max_age_s: float = 0.0, origins=(B, C)) -> None:
        outputs = self.reads[A].ask(
            request, "c", origins=origins, max_age_s=max_age_s, now=self.now,
            deadline=self.now + 10.0,
        )  # fmt: skip
        self.take(A, outputs)

    def deliver(self, index: int = 0) -> None:
        source, dest, payload = self.wire.pop(index)
        self.take(dest, self.reads[dest].received(source, payload, self.now))

    def deliver_all(self) -> None:
        while self.wire:
            self.deliver()

    def spread(self, origin: PeerId) -> None:
        """Let A hold all that an origin wrote."""
        self.holders[A].held[origin] = self.holders[origin].held[origin]
        self.take(A, self.reads[A].changed("c", origin))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.take(A, self.reads[A].handle_timeout(self.now))


def test_a_read_waits_until_all_that_was_written_is_held() -> None:
    net = Net()
    net.holders[B].held[B] = 5
    net.ask()
    net.deliver_all()
    assert net.done == []
    net.holders[A].held[B] = 4
    net.take(A, net.reads[A].changed("c", B))
    assert net.done == []
    net.spread(B)
    assert net.done == [Reached(1)]


def test_who_does_not_answer_is_asked_again_and_named_at_the_deadline() -> None:
    net = Net()
    net.ask()
    net.wire = [item for item in net.wire if item[1] == B]
    net.deliver_all()
    net.tick(ASK_AGAIN_MIN_S)
    assert [(dest, payload[0]) for _, dest, payload in net.wire] == [(C, ASK)]
    net.wire = []
    net.tick(10.0)
    assert net.done == [Missing(1, (C,))]
    assert net.reads[A].next_deadline() is None


def test_an_answer_that_is_young_enough_serves_later_reads() -> None:
    net = Net()
    net.ask()
    net.deliver_all()
    net.now = 2.9
    net.ask(2, max_age_s=3.0)
    assert net.done == [Reached(1), Reached(2)]
    net.now = 3.0
    net.ask(3, max_age_s=3.0)
    assert net.wire, "both are asked again"


def test_an_answer_to_an_earlier_run_of_this_node_says_nothing() -> None:
    """Numbers of requests begin anew at a restart, and what was true then is too old."""
    net = Net()
    net.ask(origins=(B,))
    net.deliver()
    late = net.wire.pop()
    net.reads[A] = FreshReads(net.holders[A])
    net.holders[A].epoch = Epoch(2, b"instance")
    net.holders[B].held[B] = 9
    net.ask(origins=(B,))
    net.take(A, net.reads[A].received(late[0], late[2], net.now))
    assert net.done == []


@pytest.mark.parametrize(
    "payload",
    [
        (),
        (ASK,),
        (ASK, 1, 2, "c"),
        (ASK, 1, (1, b"instance"), 7),
        (HEAD, 1, (1, b"instance"), "c", 5),
        (HEAD, 1, (1, b"instance"), "c", ((1, b"instance"), 0)),
        (HEAD, -1, (1, b"instance"), "c", None),
        (HEAD, 1, (1, b"instance"), "other", None),
    ],
)
def test_what_is_malformed_or_of_another_channel_changes_nothing(payload: tuple) -> None:
    net = Net()
    net.ask(origins=(B,))
    assert net.reads[A].received(B, payload, 0.0) == []
    assert net.reads[A].statistics().reads == 1


def test_only_who_was_asked_can_answer() -> None:
    net = Net()
    net.ask(origins=(B,))
    net.deliver()
    ((_, _, payload),) = net.wire
    net.take(A, net.reads[A].received(C, payload, 0.0))
    assert net.done == []


def test_bounds() -> None:
    reads = FreshReads(Holder(A), limits=Limits(write_queue_max=1))
    given_ = {"origins": (B,), "max_age_s": 0.0, "now": 0.0, "deadline": 1.0}
    reads.ask(1, "c", **given_)
    with pytest.raises(UsageError, match="request 1"):
        reads.ask(1, "c", **given_)
    with pytest.raises(CapacityError, match="write_queue_max"):
        reads.ask(2, "c", **given_)
    wide = FreshReads(Holder(A))
    for number in range(CONFIRMED_MAX + 3):
        ((question),) = wide.ask(number, f"c{number}", **given_)
        wide.received(B, (HEAD, number, question.payload[2], f"c{number}", None), 0.0)
    wide.check()
    assert wide.statistics().confirmed == CONFIRMED_MAX


# --- the promise -----------------------------------------------------------------------------

steps = st.lists(
    st.sampled_from(["write B", "write C", "spread B", "spread C", "ask", "old", "deliver",
                     "lose", "last", "tick"]),
    max_size=60,
)  # fmt: skip


def history(moves: list[str]) -> None:
    """Run a history; whatever a read promises is held when it ends."""
    net = Net()
    owed: dict[int, dict[PeerId, int]] = {}
    written: list[tuple[float, dict[PeerId, int]]] = []
    request = 0
    peers = {"B": B, "C": C}
    for move in moves:
        verb, _, name = move.partition(" ")
        written.append((net.now, {peer: net.holders[peer].held[peer] for peer in (B, C)}))
        if verb == "write":
            net.holders[peers[name]].held[peers[name]] += 1
        elif verb == "spread":
            net.spread(peers[name])
        elif verb in ("ask", "old"):
            request += 1
            age_s = 2.0 if verb == "old" else 0.0
            before = [held for at, held in written if at <= net.now - age_s]
            owed[request] = before[-1] if before else {B: 0, C: 0}
            net.ask(request, age_s)
        elif verb in ("deliver", "last") and net.wire:
            net.deliver(0 if verb == "deliver" else -1)
        elif verb == "lose" and net.wire:
            net.wire.pop()
        elif verb == "tick":
            net.tick(1.0)
        for done in net.done:
            if isinstance(done, Reached):
                for peer, seq in owed[done.request].items():
                    assert net.holders[A].held[peer] >= seq
        net.done = []


@given(steps)
def test_what_was_acknowledged_before_the_question_is_held_at_the_answer(moves: list[str]) -> None:
    history(moves)


@pytest.mark.parametrize("mutation", ["answered is held", "never too old"])
def test_a_read_that_promises_too_much_is_caught(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = ["ask", *["deliver"] * 4, "tick", "write B", "ask", *["deliver"] * 4]
    history(moves)
    if mutation == "answered is held":
        monkeypatch.setattr(Holder, "holds", lambda *_: True)
    else:
        monkeypatch.setattr(FreshReads, "_is_fresh", lambda self, channel, origin, since: True)
    with pytest.raises(AssertionError):
        history(moves)
