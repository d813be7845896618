"""Asking others whether they reach a peer that fell silent: SWIM's indirect probes.

A node that loses a link asks up to HELPERS_MAX of the peer's other neighbours, who ping it
on their own links and say whether anything came back. With partial views those are seldom
neighbours of the asker as well, so question and answer are passed on along the known
routes. One yes ends the doubt; silence until the time is up confirms it. The time grows
with the asker's own score (`local_health`): helpers say no when they cannot reach the peer,
so when a helper says nothing at all, the asker blames itself (Lifeguard's nack).

    (ASK, nonce, asker, helper, subject, hops left)
    (TOLD, nonce, asker, helper, verdict, hops left)    verdict 1: the subject lives

Remote input is bounded: hops, questions under way, and messages per link and second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import Tree, take_int, take_peer, take_tuple
from meshcrdt.errors import InternalError
from meshcrdt.topology.local_health import LocalHealth

ASK = 10
TOLD = 11
PROBE_CODES = (ASK, TOLD)
HELPERS_MAX = 3
HOPS_MAX = 8
NONCE_MAX = 1 << 31
ROUNDS_MAX = 512
QUESTIONS_MAX = 128
"""Questions of others under way here; more of them are answered with no."""
PER_LINK_S_MAX = 64
"""Probe messages taken from one peer in a second; the rest are lost."""
FRESH_S = 0.3
"""A helper that heard the subject so lately need not ask it again."""
ASKS = 3
"""How often a question is repeated within its time."""


class Verdict(Enum):
    """How an inquiry ended."""

    LIVES = "lives"
    SILENT = "silent"


@frozen
class Pass:
    """Send a probe message towards a peer, or lose it when no way is known."""

    towards: PeerId
    message: tuple[Tree, ...]


@frozen
class Knock:
    """Ping a linked peer now."""

    peer: PeerId


@frozen
class Ended:
    """An inquiry about a peer came to an end."""

    subject: PeerId
    verdict: Verdict


SwimOutput = Pass | Knock | Ended


@define
class _Round:
    nonce: int
    waiting: set[PeerId]
    asks_left: int
    ask_at: float
    ends_at: float
    denied: bool = False


@define
class _Question:
    asker: PeerId
    nonce: int
    subject: PeerId
    asked_at: float
    ends_at: float


@frozen
class SwimStatistics:
    """Counts over the life of one `Swim`."""

    inquiries: int
    questions: int
    confirmed_total: int
    cleared_total: int
    dropped_total: int


@define
class _Budget:
    second: float = 0.0
    spent: int = 0


class Swim:
    """The inquiries of one node, and those that it helps others with.

    Args:
        me: This node.
        limits: `link_silence_s` and `ping_interval_s` set the time of an inquiry.
        dice: Nonces, and which helpers are asked.
        health: This node's own score.
        heard_at: When a linked peer was heard last; None when it is not linked.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        limits: Limits,
        dice: Dice,
        health: LocalHealth,
        heard_at: Callable[[PeerId], float | None],
    ) -> None:
        self._me = me
        self._dice = dice
        self._health = health
        self._heard_at = heard_at
        self._time_s = max(0.1, 0.75 * (limits.link_silence_s - limits.ping_interval_s))
        self._rounds: dict[PeerId, _Round] = {}
        self._questions: dict[tuple[PeerId, int], _Question] = {}
        self._spent: dict[PeerId, _Budget] = {}
        self._confirmed_total = 0
        self._cleared_total = 0
        self._dropped_total = 0

    # --- asking --------------------------------------------------------------------------

    def asking(self, subject: PeerId) -> bool:
        """Return whether an inquiry about a peer is under way."""
        return subject in self._rounds

    def begin(self, subject: PeerId, helpers: Iterable[PeerId], now: float) -> list[SwimOutput]:
        """Ask for a peer, unless that is under way; with no helper only time is given."""
        if subject in self._rounds or len(self._rounds) >= ROUNDS_MAX:
            return []
        chosen = self._dice.sample(sorted(set(helpers) - {subject, self._me}), HELPERS_MAX)
        self._rounds[subject] = _Round(
            nonce=self._dice.integer(1, NONCE_MAX),
            waiting=set(chosen),
            asks_left=ASKS if chosen else 0,
            ask_at=now,
            ends_at=now + self._time_s * self._health.multiplier,
        )
        return self._ask(subject, now)

    def drop(self, subject: PeerId) -> None:
        """End an inquiry without a word: nobody wants to know any more."""
        self._rounds.pop(subject, None)

    def heard(self, peer: PeerId) -> list[SwimOutput]:
        """Note that a linked peer was heard: who asked for it is told. O(questions about it)."""
        if not self._questions:
            return []
        told: list[SwimOutput] = []
        for key, question in list(self._questions.items()):
            if question.subject == peer:
                del self._questions[key]
                told.append(self._tell(question.asker, question.nonce, lives=True))
        return told

    # --- messages ------------------------------------------------------------------------

    def received(self, source: PeerId, message: tuple[Tree, ...], now: float) -> list[SwimOutput]:
        """Take a question or an answer, for us or to pass on; raises MalformedTree."""
        code, nonce, asker, helper, last, hops = take_tuple(message, "probe", size=6)
        take_int(code, "probe.code", low=ASK, high=TOLD)
        number = take_int(nonce, "probe.nonce", high=NONCE_MAX)
        hops_left = take_int(hops, "probe.hops", high=HOPS_MAX)
        asker, helper = take_peer(asker, "probe.asker"), take_peer(helper, "probe.helper")
        dest = helper if code == ASK else asker
        if code == ASK:
            subject = take_peer(last, "probe.subject")
        else:
            lives = take_int(last, "probe.verdict", high=1) == 1
        if not self._affords(source, now):
            return []
        if dest != self._me:
            if not hops_left:
                return []
            return [Pass(dest, (*message[:5], hops_left - 1))]
        if code == ASK:
            return self._help(asker, number, subject, now)
        return self._told(helper, number, lives=lives)

    def _help(self, asker: PeerId, nonce: int, subject: PeerId, now: float) -> list[SwimOutput]:
        heard_at = self._heard_at(subject)
        if subject == self._me or (heard_at is not None and now - heard_at <= FRESH_S):
            return [self._tell(asker, nonce, lives=True)]
        if heard_at is None or len(self._questions) >= QUESTIONS_MAX:
            return [self._tell(asker, nonce, lives=False)]
        question = self._questions.get((asker, nonce))
        if question is None:
            self._questions[asker, nonce] = _Question(
                asker, nonce, subject, now, now + 0.75 * self._time_s
            )
        return [Knock(subject)]

    def _told(self, helper: PeerId, nonce: int, *, lives: bool) -> list[SwimOutput]:
        for subject, inquiry in self._rounds.items():
            if inquiry.nonce == nonce and helper in inquiry.waiting:
                if lives:
                    return self._end(subject, Verdict.LIVES)
                inquiry.waiting.discard(helper)
                inquiry.denied = True
                break
        return []

    def _tell(self, asker: PeerId, nonce: int, *, lives: bool) -> SwimOutput:
        return Pass(asker, (TOLD, nonce, bytes(asker), bytes(self._me), int(lives), HOPS_MAX))

    # --- time ----------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> list[SwimOutput]:
        """Repeat questions, end inquiries whose time is up, say no for the silent."""
        outputs: list[SwimOutput] = []
        if not self._rounds and not self._questions:
            return outputs
        for key, question in list(self._questions.items()):
            if now >= question.ends_at:
                del self._questions[key]
                outputs.append(self._tell(question.asker, question.nonce, lives=False))
        for subject, inquiry in list(self._rounds.items()):
            if now >= inquiry.ends_at:
                outputs.extend(self._end(subject, Verdict.SILENT))
            else:
                outputs.extend(self._ask(subject, now))
        return outputs

    def next_deadline(self) -> float | None:
        """Return when the next question is due or given up, or None. O(those under way)."""
        if not self._rounds and not self._questions:
            return None
        times = [question.ends_at for question in self._questions.values()]
        for inquiry in self._rounds.values():
            times.append(inquiry.ends_at)
            if inquiry.asks_left:
                times.append(inquiry.ask_at)
        return min(times, default=None)

    def forgive(self, stall_s: float) -> None:
        """Give answers the time in which this process did not run."""
        for inquiry in self._rounds.values():
            inquiry.ends_at += stall_s

    def check(self) -> None:
        """Raise InternalError when a bound is broken."""
        if len(self._rounds) > ROUNDS_MAX or len(self._questions) > QUESTIONS_MAX:
            raise InternalError(
                f"{len(self._rounds)} inquiries and {len(self._questions)} questions are under way"
            )
        self._health.check()

    def statistics(self) -> SwimStatistics:
        """Return the current counts."""
        return SwimStatistics(
            inquiries=len(self._rounds),
            questions=len(self._questions),
            confirmed_total=self._confirmed_total,
            cleared_total=self._cleared_total,
            dropped_total=self._dropped_total,
        )

    # --- inside --------------------------------------------------------------------------

    def _ask(self, subject: PeerId, now: float) -> list[SwimOutput]:
        inquiry = self._rounds[subject]
        if not inquiry.asks_left or now < inquiry.ask_at:
            return []
        inquiry.asks_left -= 1
        inquiry.ask_at = now + (inquiry.ends_at - now) / (inquiry.asks_left + 1)
        return [
            Pass(
                helper,
                (ASK, inquiry.nonce, bytes(self._me), bytes(helper), bytes(subject), HOPS_MAX),
            )
            for helper in sorted(inquiry.waiting)
        ]

    def _end(self, subject: PeerId, verdict: Verdict) -> list[SwimOutput]:
        inquiry = self._rounds.pop(subject)
        if verdict is Verdict.LIVES:
            self._cleared_total += 1
            self._health.better()
        else:
            self._confirmed_total += 1
            if inquiry.waiting and not inquiry.denied:
                self._health.worse()  # not one helper said anything: it may be this node
        return [Ended(subject, verdict)]

    def _affords(self, source: PeerId, now: float) -> bool:
        budget = self._spent.get(source)
        if budget is None or now >= budget.second + 1.0:
            if len(self._spent) >= ROUNDS_MAX:
                self._spent.clear()
            budget = self._spent[source] = _Budget(now)
        budget.spent += 1
        if budget.spent > PER_LINK_S_MAX:
            self._dropped_total += 1
            return False
        return True
