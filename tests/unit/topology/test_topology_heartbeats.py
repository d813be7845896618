"""Silence: how soon it is noticed, in both ways of detection, and what quiet links cost."""

from __future__ import annotations

import heapq

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.errors import MalformedTree
from meshcrdt.topology import heartbeats
from meshcrdt.topology.heartbeats import (
    NUMBERS,
    PATIENCE_MAX,
    PING,
    PONG,
    Beat,
    Detection,
    parse_beat,
)
from meshcrdt.topology.links import Direction, Links
from meshcrdt.topology.outputs import CloseLink, RootSeen, ToLink
from meshcrdt.wire import encode_frame

from .conftest import peer_id

ROOT = b"8 bytes!"
NETWORK_BYTES = 66
"""Ethernet, IPv4 and TCP with timestamps: what a segment costs on the wire."""
SEAL_BYTES = 4 + 16
"""Length prefix and tag."""
LINKS_BUDGET = 700
PROBE_BUDGET = 157


class Mesh:
    """Link machines of a regular graph on a wire that carries everything in `delay_s`."""

    def __init__(self, size: int, degree: int, detection: Detection, *, delay_s: float = 0.005):
        self.now = 0.0
        self.delay_s = delay_s
        self.bytes = 0
        self.dark: set[int] = set()
        self.loss = 0.0
        self.dice = Dice(b"losses")
        self.closed: list[tuple[float, int, int]] = []
        self.seen: list[RootSeen] = []
        self._queue: list[tuple[float, int, int, int, tuple]] = []
        self._count = 0
        self.nodes = [
            Links(
                me=peer_id(n + 1), limits=Limits(), dice=Dice(b"%d" % n), detection=detection,
                root_prefix=lambda: ROOT,
            )
            for n in range(size)
        ]  # fmt: skip
        self.ends: dict[tuple[int, int], int] = {}
        for n in range(size):
            for step in range(1, degree // 2 + 1):
                self._join(n, (n + step) % size)
            if degree % 2 and n < size // 2:
                self._join(n, n + size // 2)

    def _join(self, a: int, b: int) -> None:
        self._count += 1
        link = self._count
        self.ends[a, link], self.ends[b, link] = b, a
        for here, there, how in ((a, b, Direction.DIALLED), (b, a, Direction.ACCEPTED)):
            opened = self.nodes[here].opened(
                link, peer_id(there + 1), direction=how, address=f"mem://{there}",
                transport="mem", encrypted=True, now=self.now,
            )  # fmt: skip
            self._do(here, opened)

    def _do(self, here: int, outputs: list) -> None:
        for output in outputs:
            if isinstance(output, ToLink):
                if self.dice.chance(self.loss):
                    continue
                # A pong carries the acknowledgement of its ping and is acknowledged itself.
                frame = len(encode_frame([output.message])) + SEAL_BYTES + NETWORK_BYTES
                self.bytes += frame + (NETWORK_BYTES if output.message[0] == PONG else 0)
                there = self.ends[here, output.link]
                self._count += 1
                heapq.heappush(
                    self._queue,
                    (self.now + self.delay_s, self._count, there, output.link, output.message),
                )
            elif isinstance(output, CloseLink):
                self.closed.append((self.now, here, output.link))
            elif isinstance(output, RootSeen):
                self.seen.append(output)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timers = [(n.next_deadline(), i) for i, n in enumerate(self.nodes)]
            at, index = min(((t, i) for t, i in timers if t is not None), default=(end + 1, 0))
            event_at = self._queue[0][0] if self._queue else end + 1
            if min(at, event_at) > end:
                self.now = end
                return
            if event_at <= at:
                self.now, _, there, link, message = heapq.heappop(self._queue)
                here = self.ends[there, link]
                if not {here, there} & self.dark:
                    self._do(there, self.nodes[there].received(link, message, self.now)[1])
            else:
                self.now = max(self.now, at)
                self._do(index, self.nodes[index].handle_timeout(self.now)[1])

    def bytes_per_s(self, seconds: float) -> float:
        """Return what one node's share of the idle traffic is."""
        before = self.bytes
        self.run(seconds)
        return (self.bytes - before) / seconds / len(self.nodes)


@pytest.mark.parametrize(
    ("detection", "budget"), [(Detection.LINKS, LINKS_BUDGET), (Detection.PROBE, PROBE_BUDGET)]
)
def test_quiet_links_cost_no_more_than_published(
    detection: Detection, budget: int, record_property
):
    mesh = Mesh(16, 7, detection)
    mesh.run(20.0)
    cost = mesh.bytes_per_s(120.0)
    record_property("idle_bytes_per_s", cost)
    print(f"{detection.value}: {cost:.0f} B/s a node with 7 links")
    assert cost <= budget
    assert not mesh.closed


@pytest.mark.parametrize(("detection", "bound_s"), [(Detection.LINKS, 3.0), (Detection.PROBE, 9.0)])
@pytest.mark.parametrize("degree", [2, 5, 7])
def test_a_black_hole_is_noticed_on_every_link_in_time(
    detection: Detection, bound_s: float, degree: int
):
    for start in (20.0, 20.7, 21.9):
        mesh = Mesh(16, degree, detection)
        mesh.run(start)
        mesh.dark = {0}
        mesh.run(bound_s)
        lost = {link for _, here, link in mesh.closed if here != 0}
        assert lost == {link for here, link in mesh.ends if here == 0}
        assert len(lost) == degree


def test_two_pings_that_are_lost_cost_no_link():
    mesh = Mesh(2, 1, Detection.LINKS)
    mesh.run(10.0)
    mesh.dark = {0}
    mesh.run(0.8)
    mesh.dark = set()
    mesh.run(30.0)
    assert not mesh.closed


@pytest.mark.parametrize(
    ("detection", "early", "later"), [(Detection.LINKS, 2, 0), (Detection.PROBE, 12, 10)]
)
def test_links_that_lose_half_of_all_are_kept_and_one_that_is_cut_then_ends(
    detection: Detection, early: int, later: int
):
    """Three in four round trips fail: a link is given more tries. Without, all 32 ends are lost."""
    mesh = Mesh(8, 4, detection)
    mesh.run(20.0)
    for loss in (0.1, 0.2, 0.3, 0.4, 0.5):
        mesh.loss = loss
        mesh.run(60.0)
    assert len(mesh.closed) <= early
    mesh.run(600.0)
    assert len(mesh.closed) <= early + later
    mesh.closed.clear()
    mesh.dark = {3}
    mesh.run(PATIENCE_MAX * Limits().link_silence_s + 8.0)
    ends = {here for here, link in mesh.ends if link in mesh.nodes[here]._entries}
    assert 3 not in ends
    assert mesh.closed


def test_not_being_patient_with_losses_is_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeats, "PATIENCE_MAX", 1.0)
    with pytest.raises(AssertionError):
        test_links_that_lose_half_of_all_are_kept_and_one_that_is_cut_then_ends(
            Detection.LINKS, 2, 0
        )


def beat() -> Beat:
    return Beat(link=1, leads=True, heard_at=0.0, pinged_at=0.0, rtt_at=0.0)


def test_a_link_that_answers_everything_gets_no_more_time():
    one = beat()
    for number in range(1, 1_000):
        one.answer(number % NUMBERS)
    assert (one.lost, one.patience) == (0.0, 1.0)
    for number in (5, 4, 7, 6, 8):  # some overtaken by others
        one.answer((1_000 + number) % NUMBERS)
    assert one.patience < PATIENCE_MAX


def test_what_a_peer_can_win_by_answering_seldom_is_bounded():
    one = beat()
    for number in range(0, 100_000, 40):
        one.answer(number % NUMBERS)
    assert one.patience == PATIENCE_MAX
    assert one.lost < 1.0


def test_roots_ride_on_heartbeats_also_when_traffic_proves_life():
    mesh = Mesh(2, 1, Detection.LINKS)
    mesh.run(10.0)
    assert {seen.prefix for seen in mesh.seen} == {ROOT}
    mesh.seen.clear()
    for _ in range(200):
        mesh.run(0.1)
        for node in mesh.nodes:
            node.heard(1, mesh.now)
    assert 2 <= len(mesh.seen) <= 12, "20 s of traffic: pings are rare, and still show roots"


def test_traffic_without_end_is_life_and_needs_no_heartbeat_regression_chitchat_119():
    """One chatty node delayed everybody else's heartbeats; here whatever comes in is one."""
    links = Links(me=peer_id(1), limits=Limits(), dice=Dice(b"l"))
    links.opened(
        1, peer_id(2), direction=Direction.DIALLED, address="mem://2", transport="mem",
        encrypted=True, now=0.0,
    )  # fmt: skip
    now, pings, closed = 0.0, 0, 0
    while now < 60.0:
        now += 0.2
        links.heard(1, now)
        if (links.next_deadline() or now) <= now:
            outputs = links.handle_timeout(now)[1]
            pings += sum(isinstance(output, ToLink) for output in outputs)
            closed += sum(isinstance(output, CloseLink) for output in outputs)
    assert not closed
    assert pings <= 60.0 / 5.0, "only to measure the round trip and to show roots"


def test_a_peer_that_reads_nothing_costs_its_own_link_alone_regression_weave_3795():
    """A write that blocked for ten minutes stopped everything; here each link has its time."""
    mesh = Mesh(4, 3, Detection.LINKS)
    mesh.run(10.0)
    mesh.dark = {3}
    mesh.run(60.0)
    assert {here for _, here, _ in mesh.closed} == {0, 1, 2, 3}
    assert len([1 for _, here, _ in mesh.closed if here != 3]) == 3
    assert all(len(node.peers()) == 2 for node in mesh.nodes[:3])


def test_what_is_kept_of_a_link_does_not_grow_with_floods():
    links = Links(me=peer_id(1), limits=Limits(), dice=Dice(b"l"))
    links.opened(
        1, peer_id(2), direction=Direction.DIALLED, address="mem://2", transport="mem",
        encrypted=True, now=0.0,
    )  # fmt: skip
    for step in range(5_000):
        links.received(1, (PING, step % 128, ROOT), step * 1e-4)
        links.received(1, (PONG, step % 128), step * 1e-4)
    assert len(links._heartbeats._alarms) < 20
    entry = links.entry(1)
    assert entry is not None
    assert len(entry.pings) <= 8


@pytest.mark.parametrize(
    "message", [(), (PING,), (PING, "x"), (PING, 1, b"short"), (PING, 1, ROOT, 2), (2, 1)]
)
def test_a_malformed_heartbeat_is_told(message: tuple):
    with pytest.raises(MalformedTree):
        parse_beat(message)
