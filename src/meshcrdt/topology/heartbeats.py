"""Heartbeats: how a silent link is noticed, for the least traffic.

One end asks (PING), the other answers at once (PONG), so the answer carries the transport's
acknowledgement and both ends have heard each other. Whatever else comes in on a link
proves life as well: only a quiet link is asked. Two ways to choose which:

* LINKS: every link that was quiet for `ping_interval_s`. A silent one is closed
  `link_silence_s` after it was heard last.
* PROBE: a link every `probe_interval_s`, the one that was quiet longest, and any that was
  quiet for PROBE_STALE_INTERVALS of these. A silent one is closed `link_silence_s` after
  the first ping that brought no answer. For nodes that many neighbours make expensive.

In both, a ping without an answer is repeated soon and often, so that a lost frame costs no
link, and the second one says that the peer is in doubt: others are asked for it while the
link still has time. Each ping carries a prefix of the sender's roots, so that two nodes
which agree pay nothing else to know it. Every event costs O(1), timers O(log links).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from attrs import define, field, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.outputs import RootSeen, ToLink, TopologyOutput

PING = 0
PONG = 1
ROOT_PREFIX_BYTES = 8
NUMBERS = 128
"""Pings are numbered in a circle: one byte on the wire, and many more than wait at a time."""
PINGS_REMEMBERED_MAX = 8
RTT_WEIGHT = 0.25
"""Share of the newest sample in the smoothed round trip."""
REFRESH_INTERVALS = 4
"""A busy link is asked for its round trip, and shown our roots, once in so many intervals."""
RETRIES = 4
"""Pings without an answer between the first one and the end of a link."""
RETRY_MIN_S = 0.05
PROBE_STALE_INTERVALS = 3.75
JITTER = 0.05


class Detection(Enum):
    """How silence is noticed; the values are those of the command line."""

    LINKS = "links"
    PROBE = "probe"


class Action(Enum):
    """What is due on a link."""

    ASK = "ask"
    ASK_AGAIN = "ask again"
    CLOSE = "close"


@frozen
class BeatMessage:
    """A ping or pong, read from outside; `prefix` is empty when it carries none."""

    code: int
    number: int
    prefix: bytes


@define(kw_only=True)
class Beat:
    """What heartbeats keep of one link. Times in seconds of the machine's clock."""

    link: int
    heard_at: float
    pinged_at: float
    asked_at: float | None = None
    """When the first ping left that nothing came in after; None while nothing is owed."""
    unanswered: int = 0
    number: int = 0
    pings: dict[int, float] = field(factory=dict)
    rtt_s: float | None = None
    rtt_at: float
    shown_at: float = 0.0
    """When our roots were last shown on it."""
    wakes_at: float = 0.0

    def hear(self, now: float) -> None:
        """Note that something came in."""
        self.heard_at = max(self.heard_at, now)
        self.asked_at = None
        self.unanswered = 0

    def forgive(self, stall_s: float) -> None:
        """Count time in which this process stood still as if it had not passed."""
        self.heard_at += stall_s
        if self.asked_at is not None:
            self.asked_at += stall_s


def parse_beat(message: tuple[Tree, ...]) -> BeatMessage:
    """Read a ping or pong from outside; raises MalformedTree naming the field."""
    if len(message) not in (2, 3):
        raise MalformedTree(f"a ping has {len(message)} items: 2 or 3 are expected")
    code, number, *rest = take_tuple(message, "ping")
    return BeatMessage(
        take_int(code, "ping.code", low=PING, high=PONG),
        take_int(number, "ping.number"),
        take_bytes(rest[0], "ping.prefix", size=ROOT_PREFIX_BYTES) if rest else b"",
    )


class Heartbeats:
    """Decides which link is asked when.

    Args:
        limits: `ping_interval_s`, `link_silence_s` and `probe_interval_s` are used.
        dice: Jitter, so that many links do not beat in step.
        detection: LINKS or PROBE.
        root_prefix: Gives what a ping carries of this node's roots; nothing when empty.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        dice: Dice,
        detection: Detection,
        root_prefix: Callable[[], bytes],
    ) -> None:
        self._limits = limits
        self._dice = dice
        self._detection = detection
        self._root_prefix = root_prefix
        self._alarms: list[tuple[float, int]] = []
        self._probe_at: float | None = None
        asked_s = 0.0 if detection is Detection.PROBE else limits.ping_interval_s
        self._retry_s = max(RETRY_MIN_S, (limits.link_silence_s - asked_s) / RETRIES)
        self._quiet_s = limits.ping_interval_s
        if detection is Detection.PROBE:
            self._quiet_s = PROBE_STALE_INTERVALS * limits.probe_interval_s

    def opened(self, beat: Beat, now: float) -> None:
        """Begin to watch a link, which the caller pings at once."""
        if self._detection is Detection.PROBE and self._probe_at is None:
            self._probe_at = now + self._jittered(self._limits.probe_interval_s)

    def ping(self, beat: Beat, now: float) -> ToLink:
        """Return a ping, and expect its answer."""
        beat.number = (beat.number + 1) % NUMBERS
        beat.pings.pop(beat.number, None)
        beat.pings[beat.number] = now
        while len(beat.pings) > PINGS_REMEMBERED_MAX:
            del beat.pings[next(iter(beat.pings))]
        beat.pinged_at = beat.shown_at = now
        beat.unanswered += 1
        if beat.asked_at is None:
            beat.asked_at = now
        self._arm(beat, now + self._retry_s)
        prefix = self._root_prefix()
        return ToLink(beat.link, (PING, beat.number, prefix) if prefix else (PING, beat.number))

    def received(self, beat: Beat, message: BeatMessage, now: float) -> list[TopologyOutput]:
        """Answer a ping, take the time of a pong."""
        if self._asks_at(beat) - beat.wakes_at > self._quiet_s / 4:
            self._arm(beat, now)
        if message.code == PING:
            pong: list[TopologyOutput] = [ToLink(beat.link, (PONG, message.number))]
            if message.prefix:
                pong.append(RootSeen(beat.link, message.prefix))
            return pong
        sent_at = beat.pings.pop(message.number, None)
        if sent_at is not None:
            sample = max(0.0, now - sent_at)
            old = sample if beat.rtt_s is None else beat.rtt_s
            beat.rtt_s = old + RTT_WEIGHT * (sample - old)
            beat.rtt_at = now
        return []

    def due(self, beats: Mapping[int, Beat], now: float) -> Iterator[tuple[Beat, Action]]:
        """Yield what is due; the caller pings or closes before it asks for the next."""
        while self._alarms and self._alarms[0][0] <= now:
            wakes_at, link = heapq.heappop(self._alarms)
            beat = beats.get(link)
            if beat is None or beat.wakes_at != wakes_at:
                continue  # the link is gone, or was armed anew meanwhile
            if now >= self._ends_at(beat):
                yield beat, Action.CLOSE
            elif now >= self._asks_at(beat) - self._slack_s(beat):
                yield beat, Action.ASK_AGAIN if beat.unanswered else Action.ASK
            else:
                self._arm(beat, now + RETRY_MIN_S)
        if self._probe_at is not None and now >= self._probe_at:
            self._probe_at = None
            if beats:
                self._probe_at = now + self._jittered(self._limits.probe_interval_s)
                stalest = min(beats.values(), key=lambda beat: (beat.heard_at, beat.link))
                fresh = now - stalest.heard_at < self._limits.probe_interval_s
                if not fresh and not stalest.unanswered:
                    yield stalest, Action.ASK

    def next_deadline(self, beats: Mapping[int, Beat]) -> float | None:
        """Return when something may be due, or None. Early at times, never late."""
        while self._alarms:
            wakes_at, link = self._alarms[0]
            beat = beats.get(link)
            if beat is not None and beat.wakes_at == wakes_at:
                break
            heapq.heappop(self._alarms)
        alarm = self._alarms[0][0] if self._alarms else None
        if self._probe_at is None or not beats:
            return alarm
        return self._probe_at if alarm is None else min(alarm, self._probe_at)

    def _ends_at(self, beat: Beat) -> float:
        """Return when a link that stays silent is closed."""
        if self._detection is Detection.LINKS:
            return beat.heard_at + self._limits.link_silence_s
        if beat.asked_at is None:
            return beat.heard_at + self._quiet_s + self._limits.link_silence_s
        return beat.asked_at + self._limits.link_silence_s

    def _asks_at(self, beat: Beat) -> float:
        """Return when a link that stays silent is asked next."""
        if beat.unanswered:
            return beat.pinged_at + self._retry_s
        quiet_at = beat.heard_at + self._quiet_s
        return min(quiet_at, beat.shown_at + REFRESH_INTERVALS * self._quiet_s)

    def _arm(self, beat: Beat, earliest: float) -> None:
        """Wake for a link when its next ping or its end may be due."""
        # The jitter looks backwards, so that no interval is longer than published.
        asks_at = self._asks_at(beat) - self._dice.uniform(0.0, self._slack_s(beat))
        beat.wakes_at = max(min(asks_at, self._ends_at(beat)), earliest)
        heapq.heappush(self._alarms, (beat.wakes_at, beat.link))

    def _slack_s(self, beat: Beat) -> float:
        """Return how much earlier than due a link may be asked."""
        return 0.0 if beat.unanswered else JITTER * self._quiet_s

    def _jittered(self, interval_s: float) -> float:
        return interval_s * self._dice.uniform(1.0 - JITTER, 1.0)
