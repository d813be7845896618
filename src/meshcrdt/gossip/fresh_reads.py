"""Reads with a bound on their age: who may have written is asked (finding F26).

What is held says nothing about how old it is, for an origin that writes nothing and one
that is cut off look alike. So a read that needs a bound asks origins for the head of their
stream, end to end, and waits until that much is held: all that they had acknowledged when
they were asked is part of what is read then. An answer is good for later reads too, until
it is older than they accept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from attrs import define, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import Tree, epoch_tree, take_epoch, take_int, take_tuple
from meshcrdt.errors import CapacityError, InternalError, MalformedTree, UsageError
from meshcrdt.gossip.header import Ref, StreamKey, take_channel
from meshcrdt.gossip.outputs import Missing, Reached, ReceiptOutput, ToPeer

ASK = 112
HEAD = 113
ASK_AGAIN_MIN_S = 0.25
ASK_AGAIN_MAX_S = 2.0
CONFIRMED_MAX = 4_096


class Holder(Protocol):
    """What fresh reads ask their replica."""

    @property
    def me(self) -> PeerId:
        """Our own peer id."""
        ...

    @property
    def epoch(self) -> Epoch:
        """The epoch of this process."""
        ...

    def head(self, channel: str, origin: PeerId) -> Ref | None:
        """Return which header is held of a stream, or None."""
        ...

    def holds(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        """Return whether a write is part of what is held."""
        ...


@define
class _Read:
    channel: str
    waiting: dict[PeerId, tuple[Epoch, int] | None]
    """Who is still to be heard of: None has not answered, else the head that is awaited."""
    asked_at: float
    deadline: float
    ask_again_at: float
    pause_s: float = ASK_AGAIN_MIN_S


@frozen
class FreshReadStatistics:
    """How many reads wait, and of how many streams it is remembered when they were asked of."""

    reads: int
    confirmed: int


class FreshReads:
    """Asks origins for the heads of their streams, and answers those who ask."""

    def __init__(self, holder: Holder, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._holder = holder
        self._reads_max = limits.write_queue_max
        self._reads: dict[int, _Read] = {}
        self._confirmed: OrderedDict[StreamKey, float] = OrderedDict()
        """When a stream was asked of last, of which all that was said then is held."""

    def ask(
        self,
        request: int,
        channel: str,
        *,
        origins: Iterable[PeerId],
        max_age_s: float,
        now: float,
        deadline: float,
    ) -> list[ReceiptOutput]:
        """Begin a read of a channel; ends with Reached, or with Missing at the deadline.

        Origins that were asked less than `max_age_s` ago, by an earlier read, are not asked
        again. Raises UsageError for a request number that is in use, CapacityError when
        write_queue_max reads wait.
        """
        if request in self._reads:
            raise UsageError(f"request {request} is already waiting for a read")
        if len(self._reads) >= self._reads_max:
            raise CapacityError(f"write_queue_max is reached: {self._reads_max} reads wait")
        stale: dict[PeerId, tuple[Epoch, int] | None] = {
            origin: None
            for origin in sorted(origins)
            if origin != self._holder.me and not self._is_fresh(channel, origin, now - max_age_s)
        }
        if not stale:
            return [Reached(request)]
        self._reads[request] = _Read(channel, stale, now, deadline, now + ASK_AGAIN_MIN_S)
        return self._questions(request)

    def _is_fresh(self, channel: str, origin: PeerId, since: float) -> bool:
        asked_at = self._confirmed.get(StreamKey(channel, origin))
        # Not at the very moment: a write may be younger than a question of the same instant.
        return asked_at is not None and asked_at > since

    def _questions(self, request: int) -> list[ReceiptOutput]:
        read = self._reads[request]
        payload = (ASK, request, epoch_tree(self._holder.epoch), read.channel)
        silent = (peer for peer, head in read.waiting.items() if head is None)
        return [ToPeer(peer, payload) for peer in silent]

    def received(
        self, source: PeerId, payload: tuple[Tree, ...], now: float
    ) -> list[ReceiptOutput]:
        """Take a payload of codes 112 to 119; one that is malformed is dropped."""
        try:
            code = take_int(payload[0] if payload else None, "code")
            if code == ASK:
                return self._asked(source, payload)
            if code == HEAD:
                return self._answered(source, payload)
        except MalformedTree:
            return []
        return []

    def _asked(self, source: PeerId, payload: tuple[Tree, ...]) -> list[ReceiptOutput]:
        _, request, epoch, channel = take_tuple(payload, "ask", size=4)
        name = take_channel(channel)
        number = take_int(request, "request")
        head = self._holder.head(name, self._holder.me)
        shown = None if head is None else (epoch_tree(head.epoch), head.seq)
        asker = epoch_tree(take_epoch(epoch, "epoch"))
        return [ToPeer(source, (HEAD, number, asker, name, shown))]

    def _answered(self, source: PeerId, payload: tuple[Tree, ...]) -> list[ReceiptOutput]:
        _, request, epoch, channel, shown = take_tuple(payload, "head", size=5)
        number = take_int(request, "request")
        read = self._reads.get(number)
        if (
            read is None
            or read.channel != take_channel(channel)
            or source not in read.waiting
            # Of an earlier run of this node: what was true then is older than the question.
            or take_epoch(epoch, "epoch") != self._holder.epoch
        ):
            return []
        if shown is None:
            return self._heard_of(number, source)
        head_epoch, seq = take_tuple(shown, "head.place", size=2)
        place = (take_epoch(head_epoch, "head.epoch"), take_int(seq, "head.seq", low=1))
        read.waiting[source] = place
        if self._holder.holds(read.channel, source, *place):
            return self._heard_of(number, source)
        return []

    def _heard_of(self, request: int, origin: PeerId) -> list[ReceiptOutput]:
        """Note that all that an origin said it had is held."""
        read = self._reads[request]
        del read.waiting[origin]
        key = StreamKey(read.channel, origin)
        self._confirmed[key] = max(read.asked_at, self._confirmed.pop(key, read.asked_at))
        if len(self._confirmed) > CONFIRMED_MAX:
            self._confirmed.popitem(last=False)
        if read.waiting:
            return []
        del self._reads[request]
        return [Reached(request)]

    def changed(self, channel: str, origin: PeerId) -> list[ReceiptOutput]:
        """Note that a stream moved: reads may have waited for that."""
        out: list[ReceiptOutput] = []
        for request, read in list(self._reads.items()):
            place = read.waiting.get(origin) if read.channel == channel else None
            if place is not None and self._holder.holds(channel, origin, *place):
                out += self._heard_of(request, origin)
        return out

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        due = (min(read.deadline, read.ask_again_at) for read in self._reads.values())
        return min(due, default=None)

    def handle_timeout(self, now: float) -> list[ReceiptOutput]:
        """End reads whose deadline passed, and repeat questions."""
        out: list[ReceiptOutput] = []
        for request, read in list(self._reads.items()):
            if read.deadline <= now:
                del self._reads[request]
                out.append(Missing(request, tuple(read.waiting)))
            elif read.ask_again_at <= now:
                read.pause_s = min(2 * read.pause_s, ASK_AGAIN_MAX_S)
                read.ask_again_at = now + read.pause_s
                out += self._questions(request)
        return out

    def check(self) -> None:
        """Raise InternalError when a bound does not hold or a finished read is kept."""
        if len(self._confirmed) > CONFIRMED_MAX:
            raise InternalError("more streams are remembered as fresh than the bound allows")
        if any(not read.waiting for read in self._reads.values()):
            raise InternalError("a read that waits for nobody is still there")

    def statistics(self) -> FreshReadStatistics:
        """Return how many reads wait, and how many streams were asked of."""
        return FreshReadStatistics(len(self._reads), len(self._confirmed))
