"""Getting what we lack: streams that are asked for (`wants`) and states fetched by tree.

`want` is cheap to call from anywhere. What is on its way on one link is bounded: all
its answers together stay below the queue of that link, which is closed when it overflows.
Whatever finds no room waits for its turn and keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.base.times import earliest
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.fetch import BrokenRule, Fetch
from meshcrdt.gossip.header import Envelope, StreamKey
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.messages import ANSWER_MESSAGES_MAX, Absent, Ending, Nodes, Part, Want
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State
from meshcrdt.gossip.tree_messages import Branch, Wish
from meshcrdt.gossip.wants import PATIENCE, TRIES_MAX, Wants

ACTIVE_MAX = 64
FETCHES_PER_LINK_MAX = 4
"""Gets without an answer on one link; each may bring four messages."""
STAGED_PER_LINK_MAX = 16
"""Fetches of one link, those that wait for their turn included: it must leave room to others."""
MESSAGES_PER_LINK_MAX = 28
"""What wants and gets may bring on one link: 3.5 MiB, below the queue of a link."""


class Repair:
    """The requests that one replica has under way."""

    def __init__(self, context: Context, *, grafting: Callable[[int], None]) -> None:
        self._context = context
        self._wants = Wants(context, grafting=grafting, is_fetching=self._is_fetching)
        self._fetches: dict[StreamKey, Fetch] = {}

    def __len__(self) -> int:
        return len(self._wants) + len(self._fetches)

    def want(self, key: StreamKey, link: int | None) -> None:
        """Ask for the newest header of a stream, on this link where it is open."""
        fetch = self._fetches.get(key)
        if fetch is not None:
            fetch.newer_seen = True
        else:
            self._wants.add(key, link)

    def graft(self, key: StreamKey, announcers: list[int]) -> None:
        """Ask who announced a header that the tree did not bring, and make that link a branch."""
        if announcers and key not in self._fetches:
            self._wants.graft(key, announcers)
        else:
            self.want(key, None)

    def want_found(self, key: StreamKey, link: int) -> None:
        """Ask for what a comparison of roots found; a lazy link that has it is grafted.

        Else comparisons would go on to do the work of a tree that has lost a branch.
        """
        if self._context.links[link].branch is Branch.LAZY:
            self.graft(key, [link])
        else:
            self.want(key, link)

    def send(self) -> None:
        """Ask for what was wanted in this turn; call at its end."""
        self._wants.send()

    def _is_fetching(self, link: int) -> bool:
        return any(fetch.link == link for fetch in self._fetches.values())

    def _load(self, link: int) -> tuple[int, int]:
        """Return how many fetches are under way on a link, and how many messages may come."""
        fetches = [f for f in self._fetches.values() if f.deadline is not None and f.link == link]
        return len(fetches), self._wants.messages(link) + ANSWER_MESSAGES_MAX * len(fetches)

    def arrived(self, key: StreamKey) -> None:
        """Note that a stream moved: whatever was asked for has come or is outdated."""
        self._wants.done(key)
        fetch = self._fetches.get(key)
        held = self._context.holdings.ref(key)
        if fetch is not None and held is not None and held >= fetch.envelope.header.ref:
            del self._fetches[key]
        self._pump()

    def _pump(self) -> None:
        """Go on with fetches that wait, as far as the links have room."""
        for fetch in self._fetches.values():
            if fetch.deadline is None:
                self._proceed(fetch)

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
        """Take an Absent: the link has nothing newer of some streams, no room now for others."""
        for key in message.streams:
            self._wants.absent(link, key)
            fetch = self._fetches.get(key)
            if fetch is not None and fetch.link == link:
                self._retry(key, fetch)
        for key in message.later:
            self._wants.later(link, key)
        self._pump()

    def start(self, envelope: Envelope, link: int, parts: tuple[Part, ...]) -> State | None:
        """Begin to fetch the state of a verified header; returns it when it is complete."""
        key = envelope.header.stream
        self._bear_with(link)
        self._wants.done(key)
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
            self._wants.add(key, link)
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
            context.send(link, Lane.REPAIR, Want((Wish(key, context.holdings.ref(key)),)))
        elif message.ending is Ending.DONE and fetch.taken == before:
            self._retry(key, fetch)
        elif message.ending is Ending.DONE:
            self._proceed(fetch)
        return None

    def _bear_with(self, link: int) -> None:
        """Put off what is due on a link that brings something, up to a bound."""
        self._wants.bear_with(link)
        now, timeout_s = self._context.now, self._context.limits.fetch_timeout_s
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
        self._wants.link_closed(link)
        for fetch in self._fetches.values():
            if fetch.link == link:
                self._elsewhere(fetch)
        self._pump()

    def handle_timeout(self) -> None:
        """Retry what took too long."""
        now = self._context.now
        self._wants.handle_timeout()
        for key, fetch in list(self._fetches.items()):
            if fetch.deadline is not None and fetch.deadline <= now:
                self._retry(key, fetch)
        self._pump()

    def next_deadline(self) -> float | None:
        """Return when the oldest request is due."""
        fetches = (fetch.deadline for fetch in self._fetches.values())
        return earliest(self._wants.next_deadline(), *fetches)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._fetches) > ACTIVE_MAX:
            raise InternalError("more states are being fetched than the bound allows")
        self._wants.check()
        if any(key in self._wants for key in self._fetches):
            raise InternalError("a stream is asked for and fetched at once")
        for link in {fetch.link for fetch in self._fetches.values()}:
            fetches, messages = self._load(link)
            if fetches > FETCHES_PER_LINK_MAX or messages > MESSAGES_PER_LINK_MAX:
                raise InternalError("more is under way on one link than the bounds allow")
