"""What waits for one link, and what leaves next: lanes, shares and bounds (finding F28).

The backlog of a link lives here and not in the shell, because here it shrinks: a stream that
moves while its link is busy is noted once, and told in its newest state when the link has
room; a request is answered piece by piece at the pace of the link, and once, however often
it is repeated. The shell pulls a frame when its socket is free; nothing here waits for a socket.

Four lanes. Liveness and unicast leave first, but while something else waits they take no
more than 5 and 15 % of the link. Deltas and repair share the rest by deficit round robin,
three to one, so that under any load repair keeps a fifth of the link. Inside, lanes are fair
between flows: see `fair_lane`. Every lane has a bound in bytes, so a link holds no more than
their sum, whatever peers do.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias

from attrs import define, field, frozen

from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.messages import Get, Want
from meshcrdt.node.fair_lane import FairLane, LaneStatistics
from meshcrdt.wire import join_frame
from meshcrdt.wire.frames import FRAME_MESSAGES_MAX, SEAL_BYTES

FRAME_HEAD_BYTES = 8
"""Version and count of messages, generously."""


class Lane(IntEnum):
    """Where a message waits; the two control lanes come first."""

    LIVENESS = 0
    UNICAST = 1
    DELTA = 2
    REPAIR = 3


SHARES = {Lane.LIVENESS: 0.05, Lane.UNICAST: 0.15}
"""What a control lane may take of a link while other lanes wait: 20 % together."""
BULK_SHARE = 1 - sum(SHARES.values())
QUANTA = {Lane.DELTA: 12 * 1024, Lane.REPAIR: 4 * 1024}
"""Bytes of one turn of the others."""
OTHER = {Lane.DELTA: Lane.REPAIR, Lane.REPAIR: Lane.DELTA}
PUSH_BYTES = 256
"""What one noted stream counts in its lane: about what it takes in memory."""
REQUEST_BYTES, ITEM_BYTES = 512, 128
"""The same of a request that waits to be answered, and of each node that it asks for."""
ONE_FLOW = b""
ANSWERS = b"answers"
"""The flow of repair that answers; what this node asks itself must not wait behind it."""


class Noted(NamedTuple):
    """A stream that is to be told in its newest state, to who holds the header `since`."""

    stream: StreamKey
    since: Ref | None


class Source(Protocol):
    """Makes messages when a link has room for them; `gossip.Replica` is one."""

    def render(self, link: int, stream: StreamKey, since: Ref | None) -> bytes | None:
        """Return the message of a noted stream; None when there is nothing left to say."""

    def serve(self, link: int, request: Want | Get) -> Iterator[bytes]:
        """Yield the messages that answer a request."""


class Answer:
    """A request of the other end, and how far it is answered.

    A message that fits no more into a frame is kept for the next one: it cannot be made twice.
    """

    def __init__(self, request: Want | Get) -> None:
        self._request = request
        self._messages: Iterator[bytes] | None = None
        self._made: bytes | None = None

    def next_message(self, link: int, source: Source) -> bytes | None:
        """Return the message that is next, the same until `left` is called, or None at the end."""
        if self._messages is None:
            self._messages = source.serve(link, self._request)
        if self._made is None:
            self._made = next(self._messages, None)
        return self._made

    def left(self) -> None:
        """Go on to the message after the one that is next."""
        self._made = None


Waiting: TypeAlias = bytes | Noted | Answer


@frozen
class LinkQueueStatistics:
    """The lanes of one link, and how many frames left."""

    frames: int
    liveness: LaneStatistics
    unicast: LaneStatistics
    delta: LaneStatistics
    repair: LaneStatistics

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in all lanes."""
        lanes = (self.liveness, self.unicast, self.delta, self.repair)
        return sum(lane.waiting_bytes for lane in lanes)


@define
class _Credit:
    """How many bytes a control lane may send before the others had their share."""

    share: float
    bytes_max: float
    bytes_left: float

    def spend(self, size_bytes: int) -> None:
        self.bytes_left -= size_bytes

    def earn(self, size_bytes: int) -> None:
        """Take the share that goes with what another lane sent."""
        grown = self.bytes_left + size_bytes * self.share / BULK_SHARE
        self.bytes_left = min(self.bytes_max, grown)


@define(eq=False)
class LinkQueue:
    """The four lanes of one link."""

    link: int
    limits: Limits
    lanes: tuple[FairLane[Waiting], ...] = field(init=False)
    is_told: bool = False
    """Whether the shell knows that frames can be pulled."""
    _is_closing: bool = False
    _frames: int = 0
    _credits: dict[Lane, _Credit] = field(init=False)
    _balances: dict[Lane, int] = field(init=False)
    _turn: Lane = Lane.REPAIR
    _is_shared: bool = False

    def __attrs_post_init__(self) -> None:
        limits = self.limits
        bounds = (
            limits.link_liveness_bytes_max,
            limits.link_unicast_bytes_max,
            limits.link_delta_bytes_max,
            limits.link_repair_bytes_max,
        )
        self.lanes = tuple(FairLane(bytes_max) for bytes_max in bounds)
        window = limits.link_share_window_bytes
        self._credits = {
            lane: _Credit(share, share * window, share * window) for lane, share in SHARES.items()
        }
        self._balances = dict.fromkeys(QUANTA, 0)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        liveness, unicast, delta, repair = self.lanes
        return liveness.waiting + unicast.waiting + delta.waiting + repair.waiting

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait."""
        return sum(lane.waiting_bytes for lane in self.lanes)

    # --- in ------------------------------------------------------------------------------

    def put(
        self, lane: Lane, message: bytes, *, flow: bytes = ONE_FLOW, name: int | None = None
    ) -> bool:
        """Let an encoded message wait, in the place of an unsent one of the same name.

        Returns False when it was dropped: its lane is full.
        """
        if self._is_closing:
            return True
        return self.lanes[lane].put(flow, message, len(message), name=name)

    def push(self, stream: StreamKey, since: Ref | None) -> None:
        """Note that a stream moved; the oldest `since` of those that wait stands (rule R3)."""
        lane = self.lanes[Lane.DELTA]
        if not self._is_closing and not lane.says_already(stream.origin, stream):
            lane.put(stream.origin, Noted(stream, since), PUSH_BYTES, name=stream)

    def serve(self, request: Want | Get) -> None:
        """Note a request, in the place of an older one of its kind for the same streams.

        Who asks again has not seen our answer yet, or wants other parts of it by now.
        """
        if not self._is_closing:
            streams: tuple[StreamKey, ...]
            if isinstance(request, Get):
                items, streams = len(request.items), (request.stream,)
            else:
                streams = tuple(wish.stream for wish in request.wishes)
                items = len(streams)
            size_bytes = REQUEST_BYTES + ITEM_BYTES * items
            name = (type(request), streams)
            self.lanes[Lane.REPAIR].put(ANSWERS, Answer(request), size_bytes, name=name)

    def close(self) -> None:
        """Take nothing more; what waits can still be pulled."""
        self._is_closing = True

    # --- out -----------------------------------------------------------------------------

    def next_frame(self, source: Source) -> bytes | None:
        """Return the next frame, of as many messages as fit, or None when nothing waits.

        A message that fits no frame is left out: only one to pass on can be so large, from
        a peer whose seal is smaller than ours, and its sender hears of no acknowledgement.
        """
        if not self.waiting:
            self.is_told = False
            return None
        room_bytes = self.limits.frame_bytes_max - SEAL_BYTES - FRAME_HEAD_BYTES
        fill_bytes = min(self.limits.frame_fill_bytes, room_bytes)
        batch: list[bytes] = []
        size_bytes = 0
        while len(batch) < FRAME_MESSAGES_MAX and size_bytes < fill_bytes:
            number = self._next_lane()
            if number is None:
                break
            lane = self.lanes[number]
            message = self._made(lane, source)
            if message is None:
                continue
            if len(message) > room_bytes:
                self._leave_out(lane)
            elif batch and size_bytes + len(message) > fill_bytes:
                break  # it begins the next frame, a noted stream in what is newest then
            else:
                self._charge(number, len(message))
                self._take_out(lane, len(message))
                batch.append(message)
                size_bytes += len(message)
        if not batch:
            self.is_told = False
            return None
        self._frames += 1
        return join_frame(batch)

    def _made(self, lane: FairLane[Waiting], source: Source) -> bytes | None:
        """Return the next message of a lane, or None after taking out what has none."""
        head = lane.head()
        if isinstance(head, bytes):
            return head
        if isinstance(head, Noted):
            message = source.render(self.link, *head)
            if message is None:
                lane.skip()
        else:
            message = head.next_message(self.link, source)
            if message is None:
                lane.done()
        return message

    def _take_out(self, lane: FairLane[Waiting], size_bytes: int) -> None:
        head = lane.head()
        if isinstance(head, Answer):
            head.left()
            lane.sent_part(size_bytes)
        else:
            lane.sent(size_bytes)

    def _leave_out(self, lane: FairLane[Waiting]) -> None:
        head = lane.head()
        if isinstance(head, Answer):
            head.left()
            lane.dropped_part()
        else:
            lane.drop()

    def _next_lane(self) -> Lane | None:
        liveness, unicast, delta, repair = self.lanes
        bulk = Lane.REPAIR if repair.waiting else None
        if not delta.waiting:
            self._is_shared = False
        elif bulk is None:
            bulk, self._is_shared = Lane.DELTA, False
        else:
            bulk = self._next_bulk()
        if liveness.waiting and (bulk is None or self._credits[Lane.LIVENESS].bytes_left > 0):
            return Lane.LIVENESS
        if unicast.waiting and (bulk is None or self._credits[Lane.UNICAST].bytes_left > 0):
            return Lane.UNICAST
        return bulk

    def _next_bulk(self) -> Lane:
        """Return whose turn it is of the lanes that share by deficit round robin."""
        if not self._is_shared:  # who was alone until now owes nothing
            self._balances = dict.fromkeys(QUANTA, 0)
            self._is_shared = True
        while self._balances[self._turn] <= 0:
            self._turn = OTHER[self._turn]
            self._balances[self._turn] += QUANTA[self._turn]
        return self._turn

    def _charge(self, lane: Lane, size_bytes: int) -> None:
        """Count what leaves against its lane, where another lane had to wait for it."""
        credit = self._credits.get(lane)
        if credit is not None:
            if self.lanes[Lane.DELTA].waiting or self.lanes[Lane.REPAIR].waiting:
                credit.spend(size_bytes)
            return
        for each in self._credits.values():
            if each.bytes_left < each.bytes_max:
                each.earn(size_bytes)
        if self._is_shared:
            self._balances[lane] -= size_bytes

    # --- about ---------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InternalError when a lane or a balance is not as it should be."""
        for lane in self.lanes:
            lane.check()
        if any(self._balances[lane] > quantum for lane, quantum in QUANTA.items()):
            raise InternalError(f"a lane saved up more than its turn: {self._balances}")
        if any(credit.bytes_left > credit.bytes_max for credit in self._credits.values()):
            raise InternalError("a control lane has more credit than its window gives")

    def statistics(self) -> LinkQueueStatistics:
        """Return the counts of this link."""
        return LinkQueueStatistics(self._frames, *(lane.statistics() for lane in self.lanes))
