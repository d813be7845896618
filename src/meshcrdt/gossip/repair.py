"""Getting what we lack: one request a stream at a time, retried on other links.

`want` is cheap to call from anywhere; it deduplicates, bounds how many streams are on
their way at once, and forgets a stream after a few silent links, because anti-entropy
will bring it up again.
"""

from __future__ import annotations

from attrs import define

from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.fetch import BrokenRule, Fetch
from meshcrdt.gossip.header import Envelope, Ref, StreamKey
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.messages import Absent, Ending, Nodes, Part, Want
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State

ACTIVE_MAX = 64
QUEUE_MAX = 4_096
TRIES_MAX = 4


@define
class _Asked:
    link: int
    deadline: float
    tries: int = 0


class Repair:
    """The requests that one replica has under way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[StreamKey, _Asked] = {}
        self._fetches: dict[StreamKey, Fetch] = {}
        self._queue: dict[StreamKey, int | None] = {}

    def __len__(self) -> int:
        return len(self._asked) + len(self._fetches) + len(self._queue)

    def want(self, key: StreamKey, link: int | None) -> None:
        """Ask for the newest header of a stream, on this link where it is open."""
        fetch = self._fetches.get(key)
        if fetch is not None:
            fetch.newer_seen = True
            return
        if key in self._asked:
            return
        if len(self._asked) + len(self._fetches) >= ACTIVE_MAX:
            if len(self._queue) < QUEUE_MAX:
                self._queue[key] = link
            return
        self._ask(key, link, tries=0)

    def _ask(self, key: StreamKey, link: int | None, *, tries: int) -> None:
        context = self._context
        if link is None or link not in context.links:
            if not context.links:
                return
            link = context.dice.choice(sorted(context.links))
        self._asked[key] = _Asked(link, context.now + context.limits.fetch_timeout_s, tries)
        context.send(link, Lane.REPAIR, Want(key, self._held_ref(key)))

    def arrived(self, key: StreamKey) -> None:
        """Note that a stream moved: whatever was asked for has come or is outdated."""
        self._asked.pop(key, None)
        fetch = self._fetches.get(key)
        stream = self._context.holdings.stream(key)
        if (
            fetch is not None
            and stream is not None
            and stream.state.ref >= fetch.envelope.header.ref
        ):
            del self._fetches[key]
        self._pump()

    def _pump(self) -> None:
        while self._queue and len(self._asked) + len(self._fetches) < ACTIVE_MAX:
            key = next(iter(self._queue))
            self._ask(key, self._queue.pop(key), tries=0)

    def absent(self, link: int, message: Absent) -> None:
        """Take an Absent: the link has nothing newer."""
        asked = self._asked.get(message.stream)
        if asked is not None and asked.link == link:
            del self._asked[message.stream]
            self._pump()
        fetch = self._fetches.get(message.stream)
        if fetch is not None and fetch.link == link:
            self._retry(message.stream, fetch, link)

    def start(self, envelope: Envelope, link: int, parts: tuple[Part, ...]) -> State | None:
        """Begin to fetch the state of a verified header; returns it when it is complete."""
        context = self._context
        key = envelope.header.stream
        self._asked.pop(key, None)
        stream = context.holdings.stream(key)
        held: MerkleMap[Record] = MerkleMap() if stream is None else stream.state.tree
        deadline = context.now + context.limits.fetch_timeout_s
        fetch = self._fetches.get(key)
        if fetch is None and len(self._fetches) >= ACTIVE_MAX:
            # Each may stage as much as a stream holds: who announces more of them waits.
            if len(self._queue) < QUEUE_MAX:
                self._queue[key] = link
            return None
        if fetch is None:
            fetch = self._fetches[key] = Fetch(envelope, link, deadline, held)
        elif fetch.envelope.header.ref < envelope.header.ref or fetch.link == link:
            # Also when it is older: the link that we count on has nothing newer to serve.
            fetch.resume(envelope, held)
        else:
            return None
        fetch.link, fetch.deadline, fetch.newer_seen = link, deadline, False
        state = self._take(key, fetch, parts, link)
        if state is None and self._fetches.get(key) is fetch and fetch.link == link:
            context.send(link, Lane.REPAIR, fetch.request())
        return state

    def nodes(self, link: int, message: Nodes) -> State | None:
        """Take an answer to Get; returns the state when it is complete."""
        context = self._context
        key = message.stream
        fetch = self._fetches.get(key)
        if fetch is None:
            return None
        before = fetch.taken
        state = self._take(key, fetch, message.parts, link)
        if state is not None or self._fetches.get(key) is not fetch or fetch.link != link:
            return state
        if message.ending is Ending.MORE:
            return None
        if message.ending is Ending.MOVED:
            fetch.deadline = context.now + context.limits.fetch_timeout_s
            context.send(link, Lane.REPAIR, Want(key, self._held_ref(key)))
        elif fetch.taken == before:
            self._retry(key, fetch, link)
        else:
            fetch.deadline = context.now + context.limits.fetch_timeout_s
            context.send(link, Lane.REPAIR, fetch.request())
        return None

    def _held_ref(self, key: StreamKey) -> Ref | None:
        stream = self._context.holdings.stream(key)
        return None if stream is None else stream.state.ref

    def _take(
        self, key: StreamKey, fetch: Fetch, parts: tuple[Part, ...], link: int
    ) -> State | None:
        context = self._context
        try:
            fetch.take(parts)
            tree = None if fetch.missing() else fetch.assemble()
        except MalformedTree as lie:
            context.waste(key, str(lie), link)
            self._retry(key, fetch, link)
            return None
        except BrokenRule as broken:
            del self._fetches[key]
            context.offend(key, fetch.envelope.header.hash, broken.rule, link)
            self._pump()
            return None
        if tree is None:
            return None
        del self._fetches[key]
        context.counters.trees_fetched += 1
        if fetch.newer_seen:
            self.want(key, link)
        self._pump()
        return State(fetch.envelope, tree)

    def _retry(self, key: StreamKey, fetch: Fetch, bad_link: int) -> None:
        context = self._context
        fetch.tries += 1
        others = sorted(link for link in context.links if link != bad_link)
        if fetch.tries > TRIES_MAX or not context.links:
            del self._fetches[key]
            self._pump()
            return
        fetch.link = context.dice.choice(others) if others else bad_link
        fetch.deadline = context.now + context.limits.fetch_timeout_s
        context.send(fetch.link, Lane.REPAIR, fetch.request())

    def link_closed(self, link: int) -> None:
        """Ask elsewhere for what was expected from a link."""
        for key, asked in list(self._asked.items()):
            if asked.link == link:
                self._again(key, asked)
        for key, fetch in list(self._fetches.items()):
            if fetch.link == link:
                self._retry(key, fetch, link)

    def _again(self, key: StreamKey, asked: _Asked) -> None:
        del self._asked[key]
        others = sorted(link for link in self._context.links if link != asked.link)
        if asked.tries < TRIES_MAX and self._context.links:
            link = self._context.dice.choice(others) if others else asked.link
            self._ask(key, link, tries=asked.tries + 1)

    def handle_timeout(self) -> None:
        """Retry what took too long."""
        now = self._context.now
        for key, asked in list(self._asked.items()):
            if asked.deadline <= now:
                self._again(key, asked)
        for key, fetch in list(self._fetches.items()):
            if fetch.deadline <= now:
                self._retry(key, fetch, fetch.link)
        self._pump()

    def next_deadline(self) -> float | None:
        """Return when the oldest request is due."""
        deadlines = [asked.deadline for asked in self._asked.values()]
        deadlines += [fetch.deadline for fetch in self._fetches.values()]
        return min(deadlines, default=None)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._fetches) > ACTIVE_MAX:
            raise InternalError("more states are being fetched than the bound allows")
        if len(self._queue) > QUEUE_MAX:
            raise InternalError("the queue of wanted streams has outgrown its bound")
        if self._asked.keys() & self._fetches.keys():
            raise InternalError("a stream is asked for and fetched at once")
