"""The queues of all links of one node, and which of them the shell has yet to hear of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from attrs import frozen

from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.messages import Get, Want
from meshcrdt.node.link_queue import (
    ONE_FLOW,
    Lane,
    LinkQueue,
    LinkQueueStatistics,
    Source,
)


class Nothing:
    """Makes no messages: before there is a genesis there are no streams."""

    def render(self, _link: int, _stream: StreamKey, _since: Ref | None) -> bytes | None:
        """Return None."""
        return None

    def serve(self, _link: int, _request: Want | Get) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())


NOTHING = Nothing()


@frozen
class QueueStatistics:
    """All links of a node: what waits now, and what left since the node started."""

    waiting_bytes: int
    frames: int
    messages: int
    message_bytes: int
    coalesced: int
    """Messages that a newer one made needless before they left."""
    dropped: int
    """Messages that found no room in their lane."""


NO_QUEUES = QueueStatistics(0, 0, 0, 0, 0, 0)


class LinkQueues:
    """The queues of all links, and which of them the shell has yet to hear of."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: dict[int, LinkQueue] = {}
        self._news: list[int] = []
        self._past = Counter[str]()

    def opened(self, link: int) -> None:
        """Begin an empty queue for a new link."""
        self._queues[link] = LinkQueue(link, self._limits)

    def closing(self, link: int) -> None:
        """Take nothing more for a link; what waits can still be pulled."""
        queue = self._queues.get(link)
        if queue is not None:
            queue.close()

    def closed(self, link: int) -> None:
        """Forget a link and what waited for it."""
        queue = self._queues.pop(link, None)
        if queue is not None:
            self._past.update(_totals(queue.statistics()))

    def put(
        self,
        link: int,
        lane: Lane,
        message: bytes,
        *,
        flow: bytes = ONE_FLOW,
        name: int | None = None,
    ) -> bool:
        """Let a message wait; False when its lane is full. What is for a closed link is lost."""
        queue = self._queues.get(link)
        if queue is None:
            return True
        has_room = queue.put(lane, message, flow=flow, name=name)
        self._tell(link, queue)
        return has_room

    def push(self, link: int, stream: StreamKey, since: Ref | None) -> None:
        """Note that a stream moved; see `LinkQueue.push`."""
        queue = self._queues.get(link)
        if queue is not None:
            queue.push(stream, since)
            self._tell(link, queue)

    def _tell(self, link: int, queue: LinkQueue) -> None:
        if not queue.is_told and queue.waiting:
            queue.is_told = True
            self._news.append(link)

    def news(self) -> list[int]:
        """Return the links that have frames since the last call and had none before."""
        news, self._news = self._news, []
        return news

    def serve(self, link: int, request: Want | Get) -> None:
        """Note a request; see `LinkQueue.serve`."""
        queue = self._queues.get(link)
        if queue is not None:
            queue.serve(request)
            self._tell(link, queue)

    def next_frame(self, link: int, source: Source) -> bytes | None:
        """Return the next frame of a link; see `LinkQueue.next_frame`."""
        queue = self._queues.get(link)
        return None if queue is None else queue.next_frame(source)

    def queue(self, link: int) -> LinkQueue | None:
        """Return the queue of an open link."""
        return self._queues.get(link)

    def check(self, links: Collection[int]) -> None:
        """Raise InternalError when a queue is not as it should be, or not that of an open link."""
        if self._queues.keys() != set(links):
            raise InternalError(f"queues of {sorted(self._queues)}, links {sorted(links)}")
        for queue in self._queues.values():
            queue.check()
            if queue.waiting and not queue.is_told:
                raise InternalError("messages wait, and the shell does not know")

    def statistics(self) -> QueueStatistics:
        """Return the sums over all links, those that are closed included."""
        sums = Counter[str](self._past)
        for queue in self._queues.values():
            sums.update(_totals(queue.statistics()))
        waiting_bytes = sum(queue.waiting_bytes for queue in self._queues.values())
        return QueueStatistics(
            waiting_bytes,
            sums["frames"],
            sums["messages"],
            sums["message_bytes"],
            sums["coalesced"],
            sums["dropped"],
        )


def _totals(link: LinkQueueStatistics) -> dict[str, int]:
    lanes = (link.liveness, link.unicast, link.delta, link.repair)
    return {
        "frames": link.frames,
        "messages": sum(lane.sent for lane in lanes),
        "message_bytes": sum(lane.sent_bytes for lane in lanes),
        "coalesced": sum(lane.coalesced for lane in lanes),
        "dropped": sum(lane.dropped for lane in lanes),
    }
