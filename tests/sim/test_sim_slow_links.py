"""Links of a given width: what is urgent passes what is large, what is outdated never leaves."""

from __future__ import annotations

import pytest

from meshcrdt.node import events
from meshcrdt.node.link_queue import ANSWERS, Lane, LinkQueue, Noted
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.host import Host

WIDTH_BYTES_S = 30_000.0
LARGE, LARGE_KEYS = b"x" * 40_000, 25
"""A million bytes, for which the link takes more than half a minute."""
FRESH_S = 10.0


class Story:
    """A large first host, and a second one that joins over a narrow link."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(
            Scenario(seed=seed, nodes=2, duration_s=200.0, bandwidth_bytes_s=WIDTH_BYTES_S)
        )
        self.first, self.second = self.world.hosts
        self._requests = 10_000
        for host in self.world.hosts:
            host.on_reply = lambda _host, _reply: None
            host.on_step = lambda _host, _step: None

    def put(self, host: Host, channel: str, key: bytes, value: bytes) -> None:
        self._requests += 1
        host.command(events.Put(self._requests, channel, key, value))

    def until(self, seconds: float) -> None:
        self.world.clock.run_until(seconds)

    def begin(self) -> None:
        """Fill the first host, then let the second one join and begin to fetch."""
        self.first.start()
        self.until(1.0)
        for number in range(LARGE_KEYS):
            self.put(self.first, "large", b"k%d" % number, LARGE + b"%d" % number)
            self.until(1.0 + number * 0.1)
        self.second.start()
        self.until(20.0)

    def seen(self, host: Host, channel: str, key: bytes) -> bytes | None:
        assert host.node is not None
        return host.node.get(channel, key)

    def fresh_after_s(self) -> float:
        """Write something small in the midst of it; return when it arrives."""
        self.put(self.first, "fresh", b"k", b"v")
        for tenths in range(1_000):
            self.until(20.0 + tenths / 10)
            if self.seen(self.second, "fresh", b"k") == b"v":
                return tenths / 10
        raise AssertionError("it never arrives")


def test_a_fresh_write_passes_a_large_repair_and_the_link_stays_alive() -> None:
    story = Story()
    story.begin()
    assert story.second.node is not None
    links = set(story.second.node.links)
    assert len(links) == 1
    assert story.fresh_after_s() < FRESH_S
    assert story.seen(story.second, "large", b"k0") is None, "the repair was over already"
    story.until(120.0)
    assert story.seen(story.second, "large", b"k0") == LARGE + b"0"
    assert set(story.second.node.links) == links, "a busy link was taken for a dead one"


def test_one_queue_for_all_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = LinkQueue.put

    def one_lane(self: LinkQueue, lane: Lane, message: bytes, **options: object) -> bool:
        return honest(self, Lane.REPAIR, message, flow=ANSWERS)

    def pushed(self: LinkQueue, stream: object, since: object) -> None:
        self.lanes[Lane.REPAIR].put(ANSWERS, Noted(stream, since), 256)

    monkeypatch.setattr(LinkQueue, "put", one_lane)
    monkeypatch.setattr(LinkQueue, "push", pushed)
    story = Story()
    story.begin()
    with pytest.raises(AssertionError):
        assert story.fresh_after_s() < FRESH_S


def test_a_narrow_link_tells_the_newest_of_what_moved_and_not_each_step() -> None:
    story = Story()
    story.first.start()
    story.second.start()
    story.until(20.0)
    before = story.world.network.bytes_sent
    for number in range(2_000):
        story.put(story.first, "hot", b"k%d" % (number % 3), b"v" * 300 + b"%d" % number)
        story.until(20.0 + number / 100)
    story.until(42.0)
    assert story.seen(story.second, "hot", b"k0") == b"v" * 300 + b"1998"
    node = story.first.node
    assert node is not None
    counts = node.statistics().queues
    assert counts.coalesced > 100
    assert counts.dropped == 0
    assert story.world.network.bytes_sent - before < 22 * 2 * WIDTH_BYTES_S
    node.check()


def test_everything_holds_on_narrow_links_too() -> None:
    scenario = Scenario(
        seed=3, nodes=4, duration_s=150.0, command_every_s=0.5, bandwidth_bytes_s=20_000.0
    )
    report = World(scenario).run()
    assert not report.violations, report
    assert report.converged_after_s is not None
