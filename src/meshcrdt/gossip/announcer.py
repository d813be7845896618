"""What lazy links say, and what becomes of what they said.

A header that goes to a lazy link waits here for a published interval, only the newest of
each stream. In a cluster at rest it is never sent: the next heartbeat shows that the peer
has the same roots, and everything that waited for its link is dropped. Else one message
tells all of it. Who hears of a header gives the tree a moment to bring it, then asks who
announced it, which makes that link a branch of the tree again (GRAFT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from meshcrdt.base.times import earliest
from meshcrdt.errors import InternalError
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.header import Place, Ref, StreamKey
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.tree_messages import ANNOUNCED_MAX, Have, Held

MISSING_MAX = 1_024
ANNOUNCERS_MAX = 4


@define
class _Missing:
    place: Place
    deadline: float
    links: list[int] = field(factory=list)


class Announcer:
    """Tells lazy links what is held, and waits for what they tell."""

    def __init__(
        self,
        context: Context,
        *,
        lacks: Callable[[StreamKey, Place], bool],
        graft: Callable[[StreamKey, list[int]], None],
        compare: Callable[[int], None],
    ) -> None:
        self._context = context
        self._lacks = lacks
        self._graft = graft
        self._compare = compare
        self._untold: dict[int, dict[StreamKey, Ref]] = {}
        self._due: float | None = None
        self._missing: dict[StreamKey, _Missing] = {}

    def __len__(self) -> int:
        return len(self._missing)

    # --- telling ---------------------------------------------------------------------------

    def announce(self, links: Iterable[int], key: StreamKey, ref: Ref) -> None:
        """Tell lazy links of a header, before long and only once."""
        for link in links:
            untold = self._untold.setdefault(link, {})
            if len(untold) <= ANNOUNCED_MAX:  # one more says that roots are to be compared
                untold[key] = ref
            if self._due is None:
                self._due = self._context.now + self._context.limits.lazy_interval_s

    def in_sync(self, link: int) -> None:
        """Forget what was to be told on a link whose peer holds all that we hold."""
        self._untold.pop(link, None)
        if not self._untold:
            self._due = None

    def _tell(self) -> None:
        context = self._context
        untold, self._untold = self._untold, {}
        self._due = None
        for link, refs in untold.items():
            state = context.links[link]
            if len(refs) > ANNOUNCED_MAX:
                self._compare(link)
                continue
            items = tuple(
                Held(key, ref.place)
                for key, ref in refs.items()
                if not context.knows(link, key, ref) and ref.hash not in state.refused
            )
            if items:
                context.counters.announced += len(items)
                context.send(link, Lane.DELTA, Have(items))

    # --- hearing ---------------------------------------------------------------------------

    def received(self, link: int, message: Have) -> None:
        """Take what a peer holds; wait for what we lack of it."""
        state = self._context.links[link]
        for key, place in message.items:
            state.learn(key, place)
            if self._lacks(key, place):
                self.expect(key, place, link)

    def expect(self, key: StreamKey, place: Place, link: int) -> None:
        """Give the tree a moment to bring a header that a link has."""
        missing = self._missing.get(key)
        if missing is None:
            if len(self._missing) >= MISSING_MAX:
                return  # roots still differ, and heartbeats tell
            deadline = self._context.now + self._context.limits.graft_timeout_s
            missing = self._missing[key] = _Missing(place, deadline)
        missing.place = max(missing.place, place)
        if link not in missing.links and len(missing.links) < ANNOUNCERS_MAX:
            missing.links.append(link)

    def arrived(self, key: StreamKey, ref: Ref) -> None:
        """Note that a stream moved."""
        missing = self._missing.get(key)
        if missing is not None and missing.place <= ref.place:
            del self._missing[key]

    def link_closed(self, link: int) -> None:
        """Forget a link; what only it announced is asked for anywhere, when it is due."""
        self.in_sync(link)
        for missing in self._missing.values():
            if link in missing.links:
                missing.links.remove(link)

    # --- time ------------------------------------------------------------------------------

    def handle_timeout(self) -> None:
        """Tell what has waited long enough; ask for what did not come."""
        now = self._context.now
        if self._due is not None and self._due <= now:
            self._tell()
        due = [key for key, missing in self._missing.items() if missing.deadline <= now]
        for key in due:
            missing = self._missing.pop(key)
            if self._lacks(key, missing.place):
                self._graft(key, missing.links)

    def next_deadline(self) -> float | None:
        """Return when something is to be told or asked for."""
        missing = next(iter(self._missing.values()), None)  # all wait equally long
        return earliest(self._due, None if missing is None else missing.deadline)

    def check(self) -> None:
        """Raise InternalError when a bound does not hold."""
        if len(self._missing) > MISSING_MAX:
            raise InternalError("more headers are awaited than the bound allows")
        if any(len(untold) > ANNOUNCED_MAX + 1 for untold in self._untold.values()):
            raise InternalError("a link has more to be told than the bound allows")
        if self._untold.keys() - self._context.links.keys():
            raise InternalError("something is to be told on a link that is gone")
        if (self._due is None) != (not self._untold):
            raise InternalError("headers wait to be told and no time is set for it")
