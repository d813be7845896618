"""Getting what we lack: one request a stream at a time, retried on other links.

`want` is cheap to call from anywhere; it deduplicates, bounds how many streams are on
their way at once, and forgets a stream after a few silent links, because anti-entropy
will bring it up again. What is on its way on one link is bounded too: all its answers
together stay below the queue of that link, which is closed when it overflows. Whatever
finds no room waits for its turn and keeps what it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import define

from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.fetch import BrokenRule, Fetch
from meshcrdt.gossip.header import Envelope, StreamKey
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.messages import ANSWER_MESSAGES_MAX, Absent, Ending, Nodes, Part, Want
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State
from meshcrdt.gossip.tree_messages import Branch, Turn, Wish

ACTIVE_MAX = 64
ASKED_PER_LINK_MAX = 24
"""Wants without an answer on one link; each may bring one message."""
ASKED_BESIDE_FETCHES_MAX = 8
"""The same while something is to be fetched on the link."""
FETCHES_PER_LINK_MAX = 4
"""Gets without an answer on one link; each may bring four messages."""
STAGED_PER_LINK_MAX = 16
"""Fetches of one link, those that wait for their turn included: it must leave room to others."""
MESSAGES_PER_LINK_MAX = 28
"""What all of them may bring on one link: 3.5 MiB, below the queue of a link."""
QUEUE_MAX = 4_096
TRIES_MAX = 4
PATIENCE = 8
"""Timeouts that one request may take while its link brings answers: it is slow, not silent."""


@define
class _Asked:
    link: int
    asked_at: float
    deadline: float
    tries: int = 0
    announcers: tuple[int, ...] = ()
    """Links that said that they hold what is asked for; they are asked first."""


class Repair:
    """The requests that one replica has under way."""

    def __init__(self, context: Context, *, grafting: Callable[[int], None]) -> None:
        self._context = context
        self._grafting = grafting
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
        elif key not in self._asked:
            self._ask(key, link, tries=0)

    def graft(self, key: StreamKey, announcers: list[int]) -> None:
        """Ask who announced a header that the tree did not bring, and make that link a branch."""
        fetched = key in self._fetches
        if not announcers or fetched or key in self._asked or key in self._queue:
            self.want(key, None)
            return
        self._graft(key, announcers[0], tuple(announcers[1:]), tries=0)

    def _graft(self, key: StreamKey, link: int, others: tuple[int, ...], *, tries: int) -> None:
        if self._is_full() or link in self._full_links():
            self._enqueue(key, link)
            return
        context = self._context
        now = context.now
        due = now + context.limits.fetch_timeout_s
        self._asked[key] = _Asked(link, now, due, tries, others)
        self._grafting(link)
        wish = Wish(key, context.holdings.ref(key))
        context.send(link, Lane.DELTA, Turn(Branch.EAGER, (wish,)))

    def _ask(self, key: StreamKey, link: int | None, *, tries: int) -> None:
        context = self._context
        if link is None or link not in context.links:
            if not context.links:
                return
            link = context.dice.choice(sorted(context.links))
        if self._is_full() or link in self._full_links():
            self._enqueue(key, link)
            return
        self._queue.pop(key, None)  # it may have waited for a link that was full
        now = context.now
        self._asked[key] = _Asked(link, now, now + context.limits.fetch_timeout_s, tries)
        context.send(link, Lane.REPAIR, Want(key, context.holdings.ref(key)))

    def _is_full(self) -> bool:
        return len(self._asked) + len(self._fetches) >= ACTIVE_MAX

    def _full_links(self) -> set[int]:
        """Return the links on which nothing more may be wanted."""
        staged = Counter(fetch.link for fetch in self._fetches.values())
        beside = dict.fromkeys(staged, ASKED_BESIDE_FETCHES_MAX)
        asked = Counter(asked.link for asked in self._asked.values())
        full = {n for n, count in asked.items() if count >= beside.get(n, ASKED_PER_LINK_MAX)}
        return full.union(n for n, count in staged.items() if count >= STAGED_PER_LINK_MAX)

    def _load(self, link: int) -> tuple[int, int]:
        """Return how many fetches are under way on a link, and how many messages may come."""
        fetches = [f for f in self._fetches.values() if f.deadline is not None and f.link == link]
        asked = sum(asked.link == link for asked in self._asked.values())
        return len(fetches), asked + ANSWER_MESSAGES_MAX * len(fetches)

    def _enqueue(self, key: StreamKey, link: int) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._queue[key] = link

    def arrived(self, key: StreamKey) -> None:
        """Note that a stream moved: whatever was asked for has come or is outdated."""
        self._asked.pop(key, None)
        fetch = self._fetches.get(key)
        held = self._context.holdings.ref(key)
        if fetch is not None and held is not None and held >= fetch.envelope.header.ref:
            del self._fetches[key]
        self._pump()

    def _pump(self) -> None:
        """Go on with whatever waits, as far as the links have room."""
        for fetch in self._fetches.values():
            if fetch.deadline is None:
                self._proceed(fetch)
        while (key := self._next_queued()) is not None:
            self.want(key, self._queue.pop(key))

    def _next_queued(self) -> StreamKey | None:
        """Return the first queued stream whose link has room, or is gone, or None."""
        links = self._context.links
        if not self._queue or not links or self._is_full():
            return None
        full = self._full_links()
        if full.issuperset(links):
            return None
        return next((key for key, link in self._queue.items() if link not in full), None)

    def _proceed(self, fetch: Fetch) -> None:
        """Ask for what a fetch misses, or let it wait when its link has enough to do."""
        context = self._context
        fetch.deadline = None
        if fetch.link not in context.links:
            if not context.links:
                return
            fetch.move_to(context.dice.choice(sorted(context.links)))
        fetches, messages = self._load(fetch.link)
        if (
            fetches < FETCHES_PER_LINK_MAX
            and messages + ANSWER_MESSAGES_MAX <= MESSAGES_PER_LINK_MAX
        ):
            fetch.asked_at = context.now
            fetch.deadline = context.now + context.limits.fetch_timeout_s
            context.send(fetch.link, Lane.REPAIR, fetch.request())

    def absent(self, link: int, message: Absent) -> None:
        """Take an Absent: the link has nothing newer."""
        asked = self._asked.get(message.stream)
        if asked is not None and asked.link == link:
            del self._asked[message.stream]
            self._pump()
        fetch = self._fetches.get(message.stream)
        if fetch is not None and fetch.link == link:
            self._retry(message.stream, fetch)

    def start(self, envelope: Envelope, link: int, parts: tuple[Part, ...]) -> State | None:
        """Begin to fetch the state of a verified header; returns it when it is complete."""
        key = envelope.header.stream
        self._bear_with(link)
        self._asked.pop(key, None)
        self._queue.pop(key, None)
        state = self._started(key, envelope, link, parts)
        self._pump()
        return state

    def _started(
        self, key: StreamKey, envelope: Envelope, link: int, parts: tuple[Part, ...]
    ) -> State | None:
        held_state = self._context.holdings.state(key)
        held: MerkleMap[Record] = MerkleMap() if held_state is None else held_state.tree
        fetch = self._fetches.get(key)
        staged = sum(fetch.link == link for fetch in self._fetches.values())
        if fetch is None and (
            len(self._fetches) >= ACTIVE_MAX or staged >= STAGED_PER_LINK_MAX
        ):  # Each may stage as much as a stream holds: who announces more of them waits.
            self._enqueue(key, link)
            return None
        if fetch is None:
            fetch = self._fetches[key] = Fetch(envelope, link, held)
        elif fetch.envelope.header.ref == envelope.header.ref and fetch.deadline is not None:
            return None  # it is under way
        elif fetch.envelope.header.ref < envelope.header.ref or fetch.link == link:
            # Also when it is older: the link that we count on has nothing newer to serve.
            fetch.resume(envelope, held)
        else:
            return None
        fetch.move_to(link)
        fetch.newer_seen = False
        tries = fetch.tries
        state = self._take(key, fetch, parts)
        if state is None and self._fetches.get(key) is fetch and fetch.tries == tries:
            self._proceed(fetch)
        return state

    def nodes(self, link: int, message: Nodes) -> State | None:
        """Take an answer to Get from the link that was asked; returns the state when complete."""
        context = self._context
        key = message.stream
        self._bear_with(link)
        fetch = self._fetches.get(key)
        if fetch is None or fetch.link != link:
            return None
        before, tries = fetch.taken, fetch.tries
        state = self._take(key, fetch, message.parts)
        if state is not None or self._fetches.get(key) is not fetch or fetch.tries != tries:
            return state
        if fetch.taken > before:
            fetch.tries = 0  # the link is slow, not silent: what came stays, and more will
        if fetch.deadline is None:
            return None  # an answer that came late; its turn comes again
        if message.ending is Ending.MOVED:
            context.send(link, Lane.REPAIR, Want(key, context.holdings.ref(key)))
        elif message.ending is Ending.DONE and fetch.taken == before:
            self._retry(key, fetch)
        elif message.ending is Ending.DONE:
            self._proceed(fetch)
        return None

    def _bear_with(self, link: int) -> None:
        """Put off what is due on a link that brings something, up to a bound."""
        now, timeout_s = self._context.now, self._context.limits.fetch_timeout_s
        for asked in self._asked.values():
            if asked.link == link:
                asked.deadline = min(now + timeout_s, asked.asked_at + PATIENCE * timeout_s)
        for fetch in self._fetches.values():
            if fetch.link == link and fetch.deadline is not None:
                fetch.deadline = min(now + timeout_s, fetch.asked_at + PATIENCE * timeout_s)

    def _take(self, key: StreamKey, fetch: Fetch, parts: tuple[Part, ...]) -> State | None:
        context = self._context
        link = fetch.link
        try:
            fetch.take(parts)
            tree = None if fetch.missing() else fetch.assemble()
        except MalformedTree as lie:
            fetch.forget_parts()
            context.waste(key, str(lie), link)
            self._retry(key, fetch)
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

    def _retry(self, key: StreamKey, fetch: Fetch) -> None:
        fetch.tries += 1
        if fetch.tries > TRIES_MAX:
            del self._fetches[key]
        else:
            self._elsewhere(fetch)
        self._pump()

    def _elsewhere(self, fetch: Fetch) -> None:
        others = sorted(link for link in self._context.links if link != fetch.link)
        if others:
            fetch.move_to(self._context.dice.choice(others))
        self._proceed(fetch)

    def link_opened(self) -> None:
        """Go on with what waited for a link."""
        self._pump()

    def link_closed(self, link: int) -> None:
        """Ask elsewhere for what was expected from a link; without any, keep what is staged."""
        for key, asked in list(self._asked.items()):
            if asked.link == link:
                self._again(key, asked)
        for fetch in self._fetches.values():
            if fetch.link == link:
                self._elsewhere(fetch)
        self._pump()

    def _again(self, key: StreamKey, asked: _Asked) -> None:
        del self._asked[key]
        announcers = tuple(link for link in asked.announcers if link in self._context.links)
        if announcers:
            self._graft(key, announcers[0], announcers[1:], tries=asked.tries + 1)
            return
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
            if fetch.deadline is not None and fetch.deadline <= now:
                self._retry(key, fetch)
        self._pump()

    def next_deadline(self) -> float | None:
        """Return when the oldest request is due."""
        deadlines = [asked.deadline for asked in self._asked.values()]
        fetches = self._fetches.values()
        deadlines += [fetch.deadline for fetch in fetches if fetch.deadline is not None]
        return min(deadlines, default=None)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._fetches) > ACTIVE_MAX:
            raise InternalError("more states are being fetched than the bound allows")
        if len(self._queue) > QUEUE_MAX:
            raise InternalError("the queue of wanted streams has outgrown its bound")
        if self._asked.keys() & self._fetches.keys():
            raise InternalError("a stream is asked for and fetched at once")
        if self._queue.keys() & (self._asked.keys() | self._fetches.keys()):
            raise InternalError("a stream waits in the queue and is under way at once")
        links = {asked.link for asked in self._asked.values()}
        for link in links.union(fetch.link for fetch in self._fetches.values()):
            fetches, messages = self._load(link)
            if fetches > FETCHES_PER_LINK_MAX or messages > MESSAGES_PER_LINK_MAX:
                raise InternalError("more is under way on one link than the bounds allow")
