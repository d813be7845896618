"""Heartbeats: how a silent link is noticed, for the least traffic.

One end asks (PING), the other answers at once (PONG), so the answer carries the transport's
acknowledgement and both ends have heard each other. Whatever else comes in on a link
proves life as well: only a quiet link is asked. Two ways to choose which:

* LINKS: a link that was quiet for `ping_interval_s`. A silent one is closed `link_silence_s`
  after it was heard last.
* PROBE: a link that was quiet for as many `probe_interval_s` as there are links, up to
  PROBED_MAX: a node hears one neighbour in each such interval, so its cost is the same
  whatever their number. A silent link is closed `link_silence_s` after the first ping that
  brought no answer.

The end that dialled asks a little sooner than the other, so that both seldom ask at once.

In both, a ping without an answer is repeated soon and often, so that a lost frame costs no
link, and the second one says that the peer is in doubt: others are asked for it while the
link still has time. A link that loses pings, and answers later ones, is given as many tries
as make it unlikely that all are lost; one that is cut is not. Each ping carries a prefix of the
sender's roots, so that two nodes which agree pay nothing else to know it. Every event costs
O(1), timers O(log links).
"""

from __future__ import annotations

import heapq
import math
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
ROOT_INTERVALS = 4
"""A busy link too shows a root once in so many intervals, from one end or the other."""
RTT_INTERVALS = 16
"""Either end measures its round trip at least once in so many intervals."""
RETRIES = 4
"""Pings without an answer between the first one and the end of a link."""
RETRY_MIN_S = 0.05
PROBED_MAX = 7
JITTER = 0.03
LOSS_WEIGHT = 0.1
"""Share of the newest ping in what is believed of a link's losses."""
FALSE_END = 1e-6
"""How seldom a link may be closed although its peer lives, by losses alone."""
NOTICED_LOSS = FALSE_END ** (1.0 / (RETRIES + 1))
"""Below this share the tries that there are suffice."""
PATIENCE_MAX = 4.0


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
    leads: bool
    """Whether this end asks first."""
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
    """When a root was last shown on it, ours or the other end's."""
    wakes_at: float = 0.0
    answered: int = 0
    """The number of the last ping that was answered."""
    lost: float = 0.0
    """Share of pings that brought no answer although later ones did."""

    def answer(self, number: int) -> None:
        """Note which ping was answered: those between it and the last one were lost.

        A link that is cut answers none, and so says nothing here: only one that goes on can.
        """
        missed = (number - self.answered - 1) % NUMBERS
        if missed >= NUMBERS // 2:
            return  # an answer that another one overtook
        self.answered = number
        for _ in range(missed):
            self.lost += LOSS_WEIGHT * (1.0 - self.lost)
        self.lost -= LOSS_WEIGHT * self.lost

    @property
    def patience(self) -> float:
        """How many times longer than on a good link silence must last to mean something."""
        if self.lost < NOTICED_LOSS:
            return 1.0
        pings = math.log(FALSE_END) / math.log(min(self.lost, 0.99))
        return min(PATIENCE_MAX, pings / (RETRIES + 1))

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
        beats: The live links.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        dice: Dice,
        detection: Detection,
        root_prefix: Callable[[], bytes],
        beats: Mapping[int, Beat],
    ) -> None:
        self._limits = limits
        self._dice = dice
        self._detection = detection
        self._root_prefix = root_prefix
        self._beats = beats
        self._alarms: list[tuple[float, int]] = []
        asked_s = 0.0 if detection is Detection.PROBE else limits.ping_interval_s
        self._retry_s = max(RETRY_MIN_S, (limits.link_silence_s - asked_s) / RETRIES)

    def losses(self) -> float:
        """Return what a new link is to be believed to lose: what the others do. O(links)."""
        return sum(beat.lost for beat in self._beats.values()) / max(1, len(self._beats))

    def patience(self) -> float:
        """Return how many times longer than on good links anything takes here. O(links)."""
        every = [beat.patience for beat in self._beats.values()]
        return sum(every) / len(every) if every else 1.0

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
        self._arm(beat, now)
        prefix = self._root_prefix()
        return ToLink(beat.link, (PING, beat.number, prefix) if prefix else (PING, beat.number))

    def received(self, beat: Beat, message: BeatMessage, now: float) -> list[TopologyOutput]:
        """Answer a ping, take the time of a pong."""
        if message.prefix:
            beat.shown_at = now
        if self._asks_at(beat) - beat.wakes_at > self._quiet_s() / 4:
            self._arm(beat, now)
        if message.code == PING:
            pong: list[TopologyOutput] = [ToLink(beat.link, (PONG, message.number))]
            if message.prefix:
                pong.append(RootSeen(beat.link, message.prefix))
            return pong
        sent_at = beat.pings.pop(message.number, None)
        if sent_at is not None:
            beat.answer(message.number)
            sample = max(0.0, now - sent_at)
            old = sample if beat.rtt_s is None else beat.rtt_s
            beat.rtt_s = old + RTT_WEIGHT * (sample - old)
            beat.rtt_at = now
        return []

    def due(self, now: float) -> Iterator[tuple[Beat, Action]]:
        """Yield what is due; the caller pings or closes before it asks for the next."""
        while self._alarms and self._alarms[0][0] <= now:
            wakes_at, link = heapq.heappop(self._alarms)
            beat = self._beats.get(link)
            if beat is None or beat.wakes_at != wakes_at:
                continue  # the link is gone, or was armed anew meanwhile
            if now >= self._ends_at(beat):
                yield beat, Action.CLOSE
            elif now >= self._asks_at(beat) - self._slack_s(beat):
                yield beat, Action.ASK_AGAIN if beat.unanswered else Action.ASK
            else:
                self._arm(beat, now + RETRY_MIN_S)

    def next_deadline(self) -> float | None:
        """Return when something may be due, or None. Early at times, never late."""
        while self._alarms:
            wakes_at, link = self._alarms[0]
            beat = self._beats.get(link)
            if beat is not None and beat.wakes_at == wakes_at:
                return wakes_at
            heapq.heappop(self._alarms)
        return None

    def _quiet_s(self) -> float:
        """Return for how long a link may be quiet before it is asked."""
        if self._detection is Detection.LINKS:
            return self._limits.ping_interval_s
        return self._limits.probe_interval_s * min(max(1, len(self._beats)), PROBED_MAX)

    def _ends_at(self, beat: Beat) -> float:
        """Return when a link that stays silent is closed."""
        if self._detection is Detection.LINKS:
            return beat.heard_at + self.silence_s(beat)
        if beat.asked_at is None:
            return math.inf
        return beat.asked_at + self.silence_s(beat)

    def silence_s(self, beat: Beat) -> float:
        """Return for how long a link must be silent to be closed: longer where it loses much."""
        return beat.patience * self._limits.link_silence_s

    def _asks_at(self, beat: Beat) -> float:
        """Return when a link that stays silent is asked next, at the latest."""
        if beat.unanswered:
            return beat.pinged_at + self._retry_s
        quiet_s = self._quiet_s()
        return min(
            beat.heard_at + quiet_s,
            beat.shown_at + ROOT_INTERVALS * quiet_s,
            max(beat.rtt_at, beat.pinged_at) + RTT_INTERVALS * quiet_s,
        )

    def _arm(self, beat: Beat, earliest: float) -> None:
        """Wake for a link when its next ping or its end may be due."""
        # The jitter looks backwards, so that no interval is longer than published.
        asks_at = self._asks_at(beat) - self._dice.uniform(0.5, 1.0) * self._slack_s(beat)
        beat.wakes_at = max(min(asks_at, self._ends_at(beat)), earliest)
        heapq.heappush(self._alarms, (beat.wakes_at, beat.link))

    def _slack_s(self, beat: Beat) -> float:
        """Return how much earlier than due a link may be asked."""
        if beat.unanswered or not beat.leads:
            return 0.0
        return 2 * JITTER * self._quiet_s()
