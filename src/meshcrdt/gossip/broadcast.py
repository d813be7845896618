"""Where an eager delta goes next: one broadcast tree over the links of the active view.

Plumtree (Leitao, Pereira, Rodrigues, SRDS 2007). A link begins lazy, unless an end has no
branch yet, and is eager once it is ripe: a cluster that starts at once would else send
everything over each of its links. Who gets by an
eager link what another eager link already brought makes that link lazy at both ends
(PRUNE), so that the eager links become a spanning tree which all origins share; lazy links
only say what is held (`announcer`), and a header that was announced and did not come is
asked for there, which makes the link eager again (GRAFT). "Seen" is "held or outranked":
no id cache is kept (F27), and only a second *eager* copy prunes, since else whatever
anti-entropy was quicker to bring would cut the tree to pieces.

Where all neighbours of an origin are linked to each other, which is every cluster of up to
eight, one hop is the best tree: the origin sends to all of them and says so, by a negative
hop count, and whoever passes the delta on leaves out the neighbours of the origin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.times import earliest
from meshcrdt.errors import InternalError
from meshcrdt.gossip.compact import HOPS_MAX
from meshcrdt.gossip.context import Context, LinkState
from meshcrdt.gossip.header import Place, Ref, StreamKey
from meshcrdt.gossip.outputs import Lane
from meshcrdt.gossip.stream import Stream
from meshcrdt.gossip.tree_messages import Branch, Spread, Turn

Adjacent: TypeAlias = Callable[[PeerId, PeerId], bool]
"""Whether two peers have a link of their own, as far as is known."""

Flood: TypeAlias = tuple[bytes, Place]
"""One header on its way: its stream and its place in it."""

CLIQUE_MAX = 8
"""Members, this one included, up to which an origin reaches all of them in one hop."""
RIPE_S = 5.0
"""So long a link only tells what is held: longer than the rush of a start. Then the next
flood shows whether it is a shorter way than the branches there are."""
PRUNE_AFTER_S = 0.3
"""Duplicates within this time are judged together: longer than a flood takes."""


def nobody_adjacent(_first: PeerId, _second: PeerId) -> bool:
    """Say that no two peers are known to be linked: every delta goes by the tree."""
    return False


@frozen
class Route:
    """The links of one delta: sent at once, or told later; and the hop count that it carries."""

    eager: tuple[int, ...]
    lazy: tuple[int, ...]
    hops: int


class Broadcast:
    """Keeps the tree of one replica and chooses the links of each delta."""

    def __init__(self, context: Context, adjacent: Adjacent) -> None:
        self._context = context
        self._adjacent = adjacent
        self._doubled: dict[int, Flood] = {}
        """Links that brought duplicates in this window: the least header of each."""
        self._window: tuple[float, Flood | None] = (-PRUNE_AFTER_S, None)
        """Since when floods are judged together, and the least header among them."""
        self._due: float | None = None
        self._ripe_at: dict[int, float] = {}
        """Young links, in the order in which they ripen."""

    def route(self, key: StreamKey, ref: Ref, link: int | None, hops: int) -> Route:
        """Return where a header goes that came on `link` with `hops` (both of an own one: none).

        Never back, never to the origin, never to who is known to hold it.
        """
        context = self._context
        came_from = context.peer_of(link)
        self._heard(key, ref)
        own = key.origin == context.me
        tree = context.spread is Spread.TREE
        direct = hops < 0 or (own and tree and self._is_clique())
        eager: dict[PeerId, int] = {}
        lazy: dict[PeerId, int] = {}
        for number, state in context.links.items():
            peer = state.peer
            if peer in (key.origin, came_from, context.me) or context.knows(number, key, ref):
                continue
            if own and direct:
                self._turn(state, Branch.EAGER)
            elif direct and self._adjacent(key.origin, peer):
                continue
            is_eager = state.branch is Branch.EAGER or not tree
            (eager if is_eager else lazy)[peer] = number  # one link a peer
        return Route(
            tuple(eager.values()),
            tuple(number for peer, number in lazy.items() if peer not in eager),
            max(hops - 1, -HOPS_MAX) if direct else min(hops + 1, HOPS_MAX),
        )

    def _is_clique(self) -> bool:
        peers = sorted({state.peer for state in self._context.links.values()})
        return len(peers) < CLIQUE_MAX and all(
            self._adjacent(one, other) for i, one in enumerate(peers) for other in peers[:i]
        )

    # --- what makes a link eager or lazy ---------------------------------------------------

    def _turn(self, state: LinkState, branch: Branch) -> None:
        """Change how we send on a link; one that wastes our time stays lazy."""
        state.branch = Branch.LAZY if state.is_sour else branch

    def first(self, link: int, hops: int) -> None:
        """Note that an eager delta brought news: its link is a branch of the tree."""
        counters = self._context.counters
        counters.eager_news += 1
        counters.hops_max = max(counters.hops_max, abs(hops))
        self._turn(self._context.links[link], Branch.EAGER)

    def duplicate(self, link: int, hops: int, held: Stream) -> None:
        """Note a delta that brought nothing; its link goes when another branch was first.

        Not when it is an answer, when what we hold came as one, when the same link brought
        that too, or when the origin itself sends to all of its neighbours.
        """
        context = self._context
        if hops == 0:
            return
        context.counters.redundant += 1
        first_by_push = held.came_by_push and held.from_peer != context.links[link].peer
        if context.spread is Spread.FLOOD or not first_by_push or hops == -1:
            return
        flood = self._heard(held.state.header.stream, held.state.ref)
        self._doubled[link] = min(self._doubled.get(link, flood), flood)
        if self._due is None:
            self._due = context.now + PRUNE_AFTER_S

    def _heard(self, key: StreamKey, ref: Ref) -> Flood:
        """Note a header on its way, in the window that is open or in a new one."""
        flood = (key.raw, ref.place)
        opened, least = self._window
        if least is None or (not self._doubled and self._context.now >= opened + PRUNE_AFTER_S):
            self._window = (self._context.now, flood)
        elif flood < least:
            self._window = (opened, flood)
        return flood

    def handle_timeout(self) -> None:
        """Prune what lately brought duplicates of one header: the least that was on its way.

        Floods cross, in a rollout or after a heal. If each pruned by itself, what is left of
        all their trees together is no tree, or a deep one; here all nodes go by the same one.
        """
        context = self._context
        self._ripen()
        if self._due is None or self._due > context.now:
            return
        self._due = None
        doubled, self._doubled = self._doubled, {}
        for link, flood in doubled.items():
            if flood == self._window[1]:
                context.counters.prunes += 1
                context.send(link, Lane.DELTA, Turn(Branch.LAZY, ()))
                self._ripe_at.pop(link, None)
                self._turn(context.links[link], Branch.LAZY)

    def next_deadline(self) -> float | None:
        """Return when links are to be pruned, or ripe, or None."""
        return earliest(self._due, next(iter(self._ripe_at.values()), None))

    def turned(self, link: int, branch: Branch) -> None:
        """Take the word of a peer that pruned or grafted the link."""
        self._ripe_at.pop(link, None)
        self._turn(self._context.links[link], branch)

    def grafting(self, link: int) -> None:
        """Note that we ask for something on a link that only announced it."""
        self._context.counters.grafts += 1
        self._turn(self._context.links[link], Branch.EAGER)

    def link_opened(self, link: int) -> None:
        """Make a new link a branch when this node has none; else it only tells what is held.

        Who is on the tree already needs no second way to it at once. Where two trees meet, the
        first header that one of them lacks grafts the link.
        """
        context = self._context
        if context.spread is Spread.FLOOD:
            self._turn(context.links[link], Branch.EAGER)
        elif any(state.branch is Branch.EAGER for state in context.links.values()):
            self._ripe_at[link] = context.now + RIPE_S
        else:
            self._graft(link)

    def _ripen(self) -> None:
        while self._ripe_at:
            link, at = next(iter(self._ripe_at.items()))
            if at > self._context.now:
                break
            del self._ripe_at[link]
            self._turn(self._context.links[link], Branch.EAGER)

    def _graft(self, link: int) -> None:
        self._turn(self._context.links[link], Branch.EAGER)
        self._context.send(link, Lane.DELTA, Turn(Branch.EAGER, ()))

    def link_closed(self, link: int, state: LinkState, *, agreed: bool) -> list[int]:
        """Let lazy links take the place of a branch that is gone; returns where to compare roots.

        Whatever was under way on the lost branch is missing here and below. When the ends
        agreed to part, one link takes its place: the rest of the tree stands.
        """
        context = self._context
        self._doubled.pop(link, None)
        self._ripe_at.pop(link, None)
        if not self._doubled:
            self._due = None
        if state.branch is Branch.LAZY or not context.links:
            return []
        lazy = [link for link, other in context.links.items() if other.branch is Branch.LAZY]
        same = [link for link in lazy if context.links[link].peer == state.peer]
        lazy = same or (lazy[:1] if agreed else lazy)
        for link in lazy:
            self._graft(link)
        return [] if same else lazy

    def check(self) -> None:
        """Raise InternalError when something is kept about a link that is gone."""
        if (self._doubled.keys() | self._ripe_at.keys()) - self._context.links.keys():
            raise InternalError("a link that is gone is to be pruned, or to ripen")
        if (self._due is None) != (not self._doubled):
            raise InternalError("links are to be pruned and no time is set for it")
