"""One lane of a link: what waits in it, in which order it leaves, and how much of it there may be.

Whoever speaks in a lane is a flow: an origin among deltas, a sender among unicast messages.
Flows share the lane by bytes (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996):
each message starts where the last one of its flow ended, and the earliest start leaves
first. So a flow that says little waits for one message of each other flow at most, whatever
those hold, and the size of a message need not be known before it is made.

A full lane gives up the newest message of the flow that fills it most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

from attrs import define, field, frozen

from meshcrdt.errors import InternalError

Item = TypeVar("Item")

FINISHED_MIN = 64
"""Ends of flows with nothing to send are looked through only above so many."""


@frozen
class LaneStatistics:
    """What waits in a lane now, and what became of messages since its link opened."""

    waiting: int
    waiting_bytes: int
    sent: int
    sent_bytes: int
    coalesced: int
    """Messages that another one made needless before they left."""
    dropped: int
    """Messages that found no room; whoever needs them asks again."""


@define
class _Flow(Generic[Item]):
    start: int
    items: OrderedDict[Hashable, tuple[Item, int]] = field(factory=OrderedDict)
    waiting_bytes: int = 0


@define
class FairLane(Generic[Item]):
    """Messages that wait, by flow; at most `bytes_max` bytes of them."""

    bytes_max: int
    waiting: int = 0
    waiting_bytes: int = 0
    _sent: int = 0
    _sent_bytes: int = 0
    _coalesced: int = 0
    _dropped: int = 0
    _flows: dict[bytes, _Flow[Item]] = field(factory=dict)
    _order: list[tuple[int, int, bytes]] = field(factory=list)
    _finished: dict[bytes, int] = field(factory=dict)
    _finished_max: int = FINISHED_MIN
    _virtual: int = 0
    _count: int = 0

    def put(
        self, flow: bytes, item: Item, size_bytes: int, *, name: Hashable | None = None
    ) -> bool:
        """Let an item wait, in the place of the one of the same name in its flow, if there is one.

        Returns False when it finds no room; its flow holds most of the lane then.
        """
        self._count += 1
        key = self._count if name is None else (name,)
        held = self._flows.get(flow)
        old_bytes = 0
        if held is not None and key in held.items:
            self._coalesced += 1
            self.waiting -= 1
            old_bytes = held.items[key][1]
        grown_bytes = size_bytes - old_bytes
        if self.waiting_bytes + grown_bytes > self.bytes_max and not self._make_room(
            held, grown_bytes
        ):
            self._dropped += 1
            self.waiting += old_bytes > 0
            return False
        if held is None:
            held = self._flows[flow] = _Flow(max(self._virtual, self._finished.pop(flow, 0)))
            heappush(self._order, (held.start, self._count, flow))
        held.items[key] = (item, size_bytes)
        self.waiting += 1
        self._resize(held, grown_bytes)
        return True

    def says_already(self, flow: bytes, name: Hashable) -> bool:
        """Return whether an item of this name waits, and count that it makes another needless."""
        held = self._flows.get(flow)
        says = held is not None and (name,) in held.items
        self._coalesced += says
        return says

    def head(self) -> Item:
        """Return the item that leaves next; the lane must not be empty."""
        item, _ = next(iter(self._first().items.values()))
        return item

    def sent(self, cost_bytes: int) -> None:
        """Take the head out: it left as so many bytes."""
        self._sent += 1
        self._sent_bytes += cost_bytes
        self._take(cost_bytes)

    def sent_part(self, cost_bytes: int) -> None:
        """Charge the flow of the head for a part of it that left; the head stays."""
        self._sent += 1
        self._sent_bytes += cost_bytes
        flow = self._first()
        start, _, name = self._order[0]
        self._virtual = start
        flow.start = start + cost_bytes
        self._count += 1
        heapreplace(self._order, (flow.start, self._count, name))

    def done(self) -> None:
        """Take the head out: all its parts have left."""
        self._take(0)

    def skip(self) -> None:
        """Take the head out: there is nothing left to say of it."""
        self._coalesced += 1
        self._take(0)

    def drop(self) -> None:
        """Take the head out unsent."""
        self._dropped += 1
        self._take(0)

    def dropped_part(self) -> None:
        """Count a part of the head that cannot be sent; the head stays."""
        self._dropped += 1

    def _take(self, cost_bytes: int) -> None:
        flow = self._first()
        start, _, name = self._order[0]
        _, (_, size_bytes) = flow.items.popitem(last=False)
        self.waiting -= 1
        self._resize(flow, -size_bytes)
        self._virtual = start
        flow.start = start + cost_bytes
        if flow.items:
            self._count += 1
            heapreplace(self._order, (flow.start, self._count, name))
            return
        heappop(self._order)
        del self._flows[name]
        if self.waiting:
            self._finish(name, flow.start)
        else:
            self._order.clear()  # with nobody left, nobody owes anybody anything
            self._flows.clear()
            self._finished.clear()
            self._virtual = 0

    def _finish(self, name: bytes, end: int) -> None:
        self._finished[name] = end
        if len(self._finished) > self._finished_max:
            self._finished = {n: at for n, at in self._finished.items() if at > self._virtual}
            self._finished_max = max(FINISHED_MIN, 2 * len(self._finished))

    def _first(self) -> _Flow[Item]:
        """Return the flow that is next; flows that lost all they had to others go first."""
        while True:
            name = self._order[0][2]
            flow = self._flows[name]
            if flow.items:
                return flow
            heappop(self._order)
            del self._flows[name]

    def _make_room(self, arriving: _Flow[Item] | None, size_bytes: int) -> bool:
        """Drop newest items of the flows that hold most; False when the arriving one does."""
        own_bytes = size_bytes + (0 if arriving is None else arriving.waiting_bytes)
        while self.waiting_bytes + size_bytes > self.bytes_max:
            longest = max(self._flows.values(), key=_waiting_bytes, default=None)
            if longest is None or longest.waiting_bytes <= own_bytes:
                return False
            _, (_, freed_bytes) = longest.items.popitem()
            self.waiting -= 1
            self._dropped += 1
            self._resize(longest, -freed_bytes)
        return True

    def _resize(self, flow: _Flow[Item], by: int) -> None:
        flow.waiting_bytes += by
        self.waiting_bytes += by

    def check(self) -> None:
        """Raise InternalError when the counts are not those of what waits, or above the bound."""
        flows = self._flows.values()
        sizes = [sum(size for _, size in flow.items.values()) for flow in flows]
        if sizes != [flow.waiting_bytes for flow in flows] or sum(sizes) != self.waiting_bytes:
            raise InternalError(f"a lane counts {self.waiting_bytes} waiting bytes: {sizes}")
        if self.waiting != sum(len(flow.items) for flow in flows):
            raise InternalError(f"a lane counts {self.waiting} waiting messages")
        if self.waiting_bytes > self.bytes_max:
            raise InternalError(f"{self.waiting_bytes} bytes wait in a lane for {self.bytes_max}")
        if sorted(name for _, _, name in self._order) != sorted(self._flows):
            raise InternalError("a flow of a lane is out of turn")

    def statistics(self) -> LaneStatistics:
        """Return the counts."""
        return LaneStatistics(
            waiting=self.waiting,
            waiting_bytes=self.waiting_bytes,
            sent=self._sent,
            sent_bytes=self._sent_bytes,
            coalesced=self._coalesced,
            dropped=self._dropped,
        )


def _waiting_bytes(flow: _Flow[Item]) -> int:
    return flow.waiting_bytes
