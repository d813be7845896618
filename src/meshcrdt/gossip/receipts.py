"""Receipts on demand: who holds a write of ours, merged or on disk (rule R18, finding F25).

The targets are fixed at the call, so `everyone` is never vacuously true for an isolated
node. Each target is asked end to end and answers when it holds the write; questions are
repeated until the deadline, so a partition that heals in time costs nothing. Gathering
the answers along the broadcast tree would send fewer questions; it has its place behind `ask`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from attrs import define, frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import Tree, epoch_tree, take_epoch, take_int, take_tuple
from meshcrdt.errors import CapacityError, InternalError, MalformedTree, UsageError
from meshcrdt.gossip.header import StreamKey, take_channel
from meshcrdt.gossip.outputs import Missing, Reached, ReceiptOutput, ToPeer

ASK = 64
CONFIRM = 65
ASK_AGAIN_MIN_S = 0.25
ASK_AGAIN_MAX_S = 2.0
QUESTIONS_MAX = 4_096
WAIT_MS_MAX = 3_600_000


class ReceiptLevel(StrEnum):
    """How far a target must have the write."""

    MERGED = "merged"
    DURABLE = "durable"


_LEVELS = (ReceiptLevel.MERGED, ReceiptLevel.DURABLE)


class Holder(Protocol):
    """What a tracker asks its replica."""

    @property
    def me(self) -> PeerId:
        """Our own peer id."""
        ...

    def holds(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        """Return whether a write is part of what is held."""
        ...

    def held_durably(self, channel: str, origin: PeerId, epoch: Epoch, seq: int) -> bool:
        """Return whether a write is part of what is on disk."""
        ...


@frozen
class _Write:
    stream: StreamKey
    epoch: Epoch
    seq: int
    level: ReceiptLevel


@define
class _Receipt:
    write: _Write
    missing: set[PeerId]
    deadline: float
    ask_again_at: float
    pause_s: float = ASK_AGAIN_MIN_S
    spare: int = 0
    """So many may be missing."""


@frozen
class _Question:
    write: _Write
    until: float


@frozen
class ReceiptStatistics:
    """How many receipts and questions are open."""

    receipts: int
    questions: int


def _write_tree(write: _Write) -> tuple[Tree, ...]:
    level = _LEVELS.index(write.level)
    return (write.stream.channel, epoch_tree(write.epoch), write.seq, level)


def _take_write(origin: PeerId, channel: Tree, epoch: Tree, seq: Tree, level: Tree) -> _Write:
    return _Write(
        StreamKey(take_channel(channel), origin),
        take_epoch(epoch, "epoch"),
        take_int(seq, "seq"),
        _LEVELS[take_int(level, "level", high=1)],
    )


def _confirmation(place: tuple[PeerId, int], write: _Write) -> ToPeer:
    """Return the answer to a question. It names the write: numbers begin anew at a restart."""
    return ToPeer(place[0], (CONFIRM, place[1], *_write_tree(write)))


class ReceiptTracker:
    """Asks for receipts of own writes, and answers those of others."""

    def __init__(self, holder: Holder, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._me = holder.me
        self._holder = holder
        self._receipts_max = limits.write_queue_max
        self._receipts: dict[int, _Receipt] = {}
        self._questions: OrderedDict[tuple[PeerId, int], _Question] = OrderedDict()

    def ask(
        self,
        request: int,
        channel: str,
        epoch: Epoch,
        seq: int,
        *,
        targets: Iterable[PeerId],
        level: str,
        now: float,
        deadline: float,
        fraction: float = 1.0,
    ) -> list[ReceiptOutput]:
        """Begin a receipt for a write of this node; ends with Reached or Missing.

        `level` is a ReceiptLevel or its value; a share `fraction` of all members that are
        meant, this node with them, is enough. Raises UsageError for another level or share and
        for a request number that is in use, CapacityError when write_queue_max receipts are open.
        """
        if not 0 < fraction <= 1:
            raise UsageError(f"fraction {fraction!r} is not above 0 and at most 1")
        if level not in _LEVELS:
            raise UsageError(f"{level!r} is not a receipt level: merged and durable are accepted")
        if request in self._receipts:
            raise UsageError(f"request {request} is already waiting for a receipt")
        if len(self._receipts) >= self._receipts_max:
            raise CapacityError(f"write_queue_max is reached: {self._receipts_max} receipts")
        write = _Write(StreamKey(channel, self._me), epoch, seq, ReceiptLevel(level))
        missing = set(targets)
        everyone = len(missing | {self._me})
        receipt = _Receipt(write, missing, deadline, now + ASK_AGAIN_MIN_S)
        receipt.spare = everyone - math.ceil(round(fraction * everyone, 9))
        self._receipts[request] = receipt
        out = self._settle(request, receipt)
        return out if out else self._questions_of(request, receipt, now)

    def _questions_of(self, request: int, receipt: _Receipt, now: float) -> list[ReceiptOutput]:
        write = receipt.write
        wait_ms = min(max(0, int((receipt.deadline - now) * 1_000)), WAIT_MS_MAX)
        payload = (ASK, request, *_write_tree(write), wait_ms)
        return [ToPeer(peer, payload) for peer in sorted(receipt.missing - {self._me})]

    def _settle(self, request: int, receipt: _Receipt) -> list[ReceiptOutput]:
        if self._me in receipt.missing and self._has(receipt.write):
            receipt.missing.discard(self._me)
        if len(receipt.missing) > receipt.spare:
            return []
        del self._receipts[request]
        return [Reached(request)]

    def _has(self, write: _Write) -> bool:
        holder = self._holder
        has = holder.holds if write.level is ReceiptLevel.MERGED else holder.held_durably
        return has(write.stream.channel, write.stream.origin, write.epoch, write.seq)

    def received(
        self, source: PeerId, payload: tuple[Tree, ...], now: float
    ) -> list[ReceiptOutput]:
        """Take a payload of codes 64 to 79; one that is malformed is dropped."""
        try:
            code = take_int(payload[0] if payload else None, "code")
            if code == ASK:
                return self._asked(source, payload, now)
            if code == CONFIRM:
                _, request, *write = take_tuple(payload, "confirm", size=6)
                written = _take_write(self._me, *write)
                return self._confirmed(source, take_int(request, "request"), written)
        except MalformedTree:
            return []
        return []

    def _asked(self, source: PeerId, payload: tuple[Tree, ...], now: float) -> list[ReceiptOutput]:
        _, request, channel, epoch, seq, level, wait_ms = take_tuple(payload, "ask", size=7)
        write = _take_write(source, channel, epoch, seq, level)
        place = (source, take_int(request, "request"))
        wait_s = take_int(wait_ms, "wait_ms", high=WAIT_MS_MAX) / 1_000
        if self._has(write):
            self._questions.pop(place, None)
            return [_confirmation(place, write)]
        self._questions[place] = _Question(write, now + wait_s)
        if len(self._questions) > QUESTIONS_MAX:
            self._questions.popitem(last=False)
        return []

    def _confirmed(self, source: PeerId, request: int, write: _Write) -> list[ReceiptOutput]:
        receipt = self._receipts.get(request)
        if receipt is None or receipt.write != write:
            return []  # of a question that an earlier run of this node asked under this number
        receipt.missing.discard(source)
        return self._settle(request, receipt)

    def changed(self, channel: str, origin: PeerId) -> list[ReceiptOutput]:
        """Note that a stream moved or reached the disk: answer who waited for it."""
        return self._answered(StreamKey(channel, origin))

    def _answered(self, stream: StreamKey | None) -> list[ReceiptOutput]:
        """Answer what asks about a stream (None: about any) and is held by now."""
        out: list[ReceiptOutput] = []
        for place, question in list(self._questions.items()):
            if stream in (None, question.write.stream) and self._has(question.write):
                del self._questions[place]
                out.append(_confirmation(place, question.write))
        for request, receipt in list(self._receipts.items()):
            if stream in (None, receipt.write.stream):
                out += self._settle(request, receipt)
        return out

    def recheck(self) -> list[ReceiptOutput]:
        """Answer whatever can be answered by now: something reached the disk."""
        return self._answered(None)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        if not self._receipts and not self._questions:
            return None
        due = [min(r.deadline, r.ask_again_at) for r in self._receipts.values()]
        due += [question.until for question in self._questions.values()]
        return min(due, default=None)

    def handle_timeout(self, now: float) -> list[ReceiptOutput]:
        """End receipts whose deadline passed, repeat questions, forget old ones."""
        out: list[ReceiptOutput] = []
        for request, receipt in list(self._receipts.items()):
            if receipt.deadline <= now:
                del self._receipts[request]
                out.append(Missing(request, tuple(sorted(receipt.missing))))
            elif receipt.ask_again_at <= now:
                receipt.pause_s = min(receipt.pause_s * 2, ASK_AGAIN_MAX_S)
                receipt.ask_again_at = now + receipt.pause_s
                done = self._settle(request, receipt)
                if done:
                    out += done
                    continue
                out += self._questions_of(request, receipt, now)
        for place, question in list(self._questions.items()):
            if question.until <= now:
                del self._questions[place]
        return out

    def check(self) -> None:
        """Raise InternalError when a bound does not hold or a finished receipt is kept."""
        if len(self._questions) > QUESTIONS_MAX:
            raise InternalError("the open questions have outgrown their bound")
        if any(len(each.missing) <= each.spare for each in self._receipts.values()):
            raise InternalError("a receipt that is complete still waits")

    def statistics(self) -> ReceiptStatistics:
        """Return how many receipts and questions are open."""
        return ReceiptStatistics(len(self._receipts), len(self._questions))
