"""Streams that are asked for: many in one message, each once, retried on other links.

What is wanted in one turn goes out at its end, up to 256 streams a message, so a newcomer
that lacks a thousand small streams asks four times and not a thousand. The answers to one
message are bounded like those to one Get; what found no room in them is asked for again.
A stream is forgotten after a few silent links: anti-entropy brings it up again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from attrs import define, field

from meshcrdt.errors import InternalError
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.header import StreamKey
from meshcrdt.gossip.messages import ANSWER_MESSAGES_MAX, Want
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.tree_messages import WANTED_MAX, Branch, Turn, Wish

ASKED_MESSAGES_MAX = 24
"""Messages that wants without an answer may bring on one link."""
ASKED_BESIDE_FETCHES_MAX = 8
"""The same while something is to be fetched on the link."""
QUEUE_MAX = 4_096
TRIES_MAX = 4
PATIENCE = 8
"""Timeouts that one request may take while its link brings answers: it is slow, not silent."""


@define(eq=False)
class _Wanted:
    link: int | None
    branch: Branch | None = None
    """What the link becomes by asking; None leaves it as it is."""
    tries: int = 0
    announcers: tuple[int, ...] = ()
    """Links that said that they hold what is asked for; they are asked next."""


@define(eq=False)
class _Batch:
    link: int
    asked_at: float
    deadline: float
    wanted: dict[StreamKey, _Wanted] = field(factory=dict)

    @property
    def messages(self) -> int:
        """How many messages may yet come."""
        return min(len(self.wanted), ANSWER_MESSAGES_MAX)


class Wants:
    """The streams that one replica asks for."""

    def __init__(
        self,
        context: Context,
        *,
        grafting: Callable[[int], None],
        is_fetching: Callable[[int], bool],
    ) -> None:
        self._context = context
        self._grafting = grafting
        self._is_fetching = is_fetching
        self._asked: dict[StreamKey, _Batch] = {}
        self._batches: dict[_Batch, None] = {}
        self._queue: dict[StreamKey, _Wanted] = {}

    def __len__(self) -> int:
        return len(self._asked) + len(self._queue)

    def __contains__(self, key: StreamKey) -> bool:
        return key in self._asked or key in self._queue

    def add(self, key: StreamKey, link: int | None) -> None:
        """Ask for a stream at the end of this turn, on this link where it is open."""
        if key not in self._asked and key not in self._queue:
            self._enqueue(key, _Wanted(link))

    def graft(self, key: StreamKey, announcers: list[int]) -> None:
        """Ask who announced a stream, and make that link a branch of the tree."""
        if key not in self:
            first, *others = announcers
            self._enqueue(key, _Wanted(first, Branch.EAGER, announcers=tuple(others)))

    def _enqueue(self, key: StreamKey, wanted: _Wanted) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._queue[key] = wanted

    def done(self, key: StreamKey) -> None:
        """Note that a stream came, or goes another way."""
        self._queue.pop(key, None)
        self._answered(key)

    def _answered(self, key: StreamKey) -> _Wanted | None:
        batch = self._asked.pop(key, None)
        if batch is None:
            return None
        wanted = batch.wanted.pop(key)
        if not batch.wanted:
            del self._batches[batch]
        return wanted

    def absent(self, link: int, key: StreamKey) -> None:
        """Take word that a link has nothing newer of a stream."""
        batch = self._asked.get(key)
        if batch is not None and batch.link == link:
            self._answered(key)

    def later(self, link: int, key: StreamKey) -> None:
        """Take word that a link had no room for a stream in its answer: ask it again."""
        batch = self._asked.get(key)
        if batch is not None and batch.link == link:
            wanted = self._answered(key)
            self._enqueue(key, wanted or _Wanted(link))

    def messages(self, link: int) -> int:
        """Return how many messages may yet come on a link."""
        return sum(batch.messages for batch in self._batches if batch.link == link)

    # --- asking ----------------------------------------------------------------------------

    def send(self) -> None:
        """Ask for what is queued, as far as the links have room for the answers."""
        context = self._context
        if not self._queue or not context.links:
            return
        room = {link: self._room(link) for link in context.links}
        if max(room.values()) <= 0:
            return
        chosen: dict[tuple[int, Branch | None], dict[StreamKey, _Wanted]] = {}
        for key, wanted in self._queue.items():
            if wanted.link is None or wanted.link not in context.links:
                wanted.link, wanted.branch = context.dice.choice(sorted(context.links)), None
            if room[wanted.link] > 0:
                chosen.setdefault((wanted.link, wanted.branch), {})[key] = wanted
        for (link, branch), found in chosen.items():
            items = iter(found.items())
            while (batch := dict(islice(items, WANTED_MAX))) and (
                room[link] >= min(len(batch), ANSWER_MESSAGES_MAX)
            ):
                room[link] -= min(len(batch), ANSWER_MESSAGES_MAX)
                self._ask(link, branch, batch)

    def _room(self, link: int) -> int:
        most = ASKED_BESIDE_FETCHES_MAX if self._is_fetching(link) else ASKED_MESSAGES_MAX
        return most - self.messages(link)

    def _ask(self, link: int, branch: Branch | None, wanted: dict[StreamKey, _Wanted]) -> None:
        context = self._context
        now = context.now
        batch = _Batch(link, now, now + context.limits.fetch_timeout_s, wanted)
        self._batches[batch] = None
        for key in wanted:
            del self._queue[key]
            self._asked[key] = batch
        wishes = tuple(Wish(key, context.holdings.ref(key)) for key in wanted)
        if branch is None:
            context.send(link, Lane.REPAIR, Want(wishes))
        else:
            self._grafting(link)
            context.send(link, Lane.DELTA, Turn(branch, wishes))

    # --- asking again ------------------------------------------------------------------------

    def bear_with(self, link: int) -> None:
        """Put off what is due on a link that brings something, up to a bound."""
        now, timeout_s = self._context.now, self._context.limits.fetch_timeout_s
        for batch in self._batches:
            if batch.link == link:
                batch.deadline = min(now + timeout_s, batch.asked_at + PATIENCE * timeout_s)

    def link_closed(self, link: int) -> None:
        """Ask elsewhere for what was expected from a link."""
        for batch in [batch for batch in self._batches if batch.link == link]:
            self._again(batch)

    def handle_timeout(self) -> None:
        """Ask elsewhere for what took too long."""
        now = self._context.now
        for batch in [batch for batch in self._batches if batch.deadline <= now]:
            self._again(batch)

    def _again(self, batch: _Batch) -> None:
        links = self._context.links
        others = sorted(link for link in links if link != batch.link)
        for key in list(batch.wanted):
            wanted = self._answered(key)
            if wanted is None or wanted.tries >= TRIES_MAX or not links:
                continue
            wanted.tries += 1
            announcers = [link for link in wanted.announcers if link in links]
            if announcers:
                wanted.link, *rest = announcers
                wanted.announcers = tuple(rest)
            else:
                wanted.branch = None
                wanted.link = self._context.dice.choice(others) if others else batch.link
            self._enqueue(key, wanted)

    def next_deadline(self) -> float | None:
        """Return when the oldest question is due."""
        return min(batch.deadline for batch in self._batches) if self._batches else None

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._queue) > QUEUE_MAX:
            raise InternalError("the queue of wanted streams has outgrown its bound")
        if self._queue.keys() & self._asked.keys():
            raise InternalError("a stream waits in the queue and is asked for at once")
        counted = {key: batch for batch in self._batches for key in batch.wanted}
        if counted != self._asked or any(not batch.wanted for batch in self._batches):
            raise InternalError("what is asked for is not what the messages asked for")
        for link in {batch.link for batch in self._batches}:
            if self.messages(link) > ASKED_MESSAGES_MAX:
                raise InternalError("more is asked for on one link than the bounds allow")
