"""Anti-entropy: compare one root, then descend one Merkle tree (rule R17).

Stateless and symmetric: every message makes sense alone, so loss and repetition only
cost time. Below 65 streams the top of the tree is one leaf, which is the flat digest; a
difference costs O(d log N) bytes and the same tree goes on inside a stream (`fetch`).

Whether there is a difference costs nothing of its own: eight bytes over both roots ride
on the heartbeats of a link. While something is being written roots differ for a moment,
so one mismatch says nothing; the second in a row starts a comparison, and if that does
not end it (a busy cluster), each further one needs twice as many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from meshcrdt.gossip.channels import Kind
from meshcrdt.gossip.context import MISMATCHES_MIN, Context
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.merkle import NO_HASH, Inner
from meshcrdt.gossip.messages import HEADS_MAX, ROOT_BYTES, Head, Heads, NodeAt, Root
from meshcrdt.gossip.outputs import Lane

JITTER = 0.25
PREFIX_BYTES = 8
"""What a heartbeat carries of the two roots."""
MISMATCHES_MAX = 32
"""Heartbeats that differ before roots are compared again in a cluster that never rests."""


class Sync:
    """Finds out which streams differ between two replicas."""

    def __init__(
        self,
        context: Context,
        *,
        want: Callable[[StreamKey, int], None],
        lacks: Callable[[StreamKey, Ref], bool],
        busy: Callable[[], bool],
    ) -> None:
        self._context = context
        self._want = want
        self._lacks = lacks
        self._busy = busy
        self._due: float | None = None
        self.equal_at: float | None = None
        """When a heartbeat last showed that a peer held all that is held here, and no more."""

    def start(self, link: int) -> None:
        """Send the roots on a link."""
        context = self._context
        context.counters.sync_rounds += 1
        context.send(link, Lane.REPAIR, Root(*(self._root(kind) for kind in Kind)))

    def _root(self, kind: Kind) -> bytes:
        return self._context.holdings.trees[kind].root[:ROOT_BYTES]

    def root_prefix(self) -> bytes:
        """Return the eight bytes over both roots that a heartbeat carries."""
        trees = self._context.holdings.trees
        roots = b"".join(trees[kind].root for kind in Kind)
        return hashlib.blake2b(roots, digest_size=PREFIX_BYTES).digest()

    def root_seen(self, link: int, prefix: bytes) -> bool:
        """Compare what a heartbeat of the peer carried with ours; returns whether all is equal."""
        state = self._context.links[link]
        state.shows_root = True
        if prefix == self.root_prefix():
            self.equal_at = self._context.now
            state.mismatches, state.mismatches_needed = 0, MISMATCHES_MIN
            return True
        state.mismatches += 1
        # Both ends see it at about the same time: the one with the lesser id goes first.
        needed = state.mismatches_needed + (self._context.me > state.peer)
        if state.mismatches >= needed and not self._busy():
            state.mismatches = 0
            state.mismatches_needed = min(2 * state.mismatches_needed, MISMATCHES_MAX)
            self.start(link)
        return False

    def link_opened(self, link: int) -> None:
        """Compare roots at once; the end with the lesser id begins."""
        context = self._context
        if context.me <= context.links[link].peer:
            self.start(link)
        due = context.now + self._interval()
        if self._due is None or due < self._due:
            self._due = due

    def _blind(self) -> list[int]:
        """Return the links whose peer shows no root in heartbeats."""
        return sorted(link for link, state in self._context.links.items() if not state.shows_root)

    def _interval(self) -> float:
        limits = self._context.limits
        interval = limits.anti_entropy_interval_s
        if self._blind():
            interval = min(interval, limits.anti_entropy_blind_interval_s)
        return interval * self._context.dice.uniform(1 - JITTER, 1 + JITTER)

    def handle_timeout(self) -> None:
        """Compare roots on one random link when it is time, first where heartbeats show none."""
        context = self._context
        if self._due is None or self._due > context.now:
            return
        self._due = context.now + self._interval() if context.links else None
        links = self._blind() or sorted(context.links)
        if links:
            self.start(context.dice.choice(links))

    def next_deadline(self) -> float | None:
        """Return when the next round is due."""
        return self._due

    def root(self, link: int, message: Root) -> None:
        """Answer each root that differs with the top of our tree."""
        for kind, root in ((Kind.DURABLE, message.durable), (Kind.VOLATILE, message.volatile)):
            if self._root(kind) != root:
                self._send_node(link, kind, b"")

    def _send_node(self, link: int, kind: Kind, path: bytes) -> None:
        tree = self._context.holdings.trees[kind]
        node = tree.node(path)
        if isinstance(node, Inner):
            message = NodeAt(kind, path, node.child_hashes(), ())
        else:
            heads = self._heads_below(kind, path)
            message = NodeAt(kind, path, None, tuple(heads.values()))
        self._context.send(link, Lane.REPAIR, message)

    def _heads_below(self, kind: Kind, path: bytes) -> dict[StreamKey, Head]:
        holdings = self._context.holdings
        heads = {}
        for entry in holdings.trees[kind].below(path):
            stream = holdings.stream(entry.value)
            if stream is not None:
                heads[entry.value] = Head(entry.value, stream.state.ref)
        return heads

    def node(self, link: int, message: NodeAt) -> None:
        """Compare a node of the peer's tree with ours and go one step down."""
        kind, path = message.kind, message.path
        if message.children is None:
            self._compare(link, message)
            return
        mine = self._context.holdings.trees[kind].node(path)
        if not isinstance(mine, Inner):
            # Ours is small here: one list of heads lets the peer do the comparing.
            heads = tuple(self._heads_below(kind, path).values())
            self._context.send(link, Lane.REPAIR, NodeAt(kind, path, None, heads))
            return
        for i, (ours, theirs) in enumerate(zip(mine.child_hashes(), message.children, strict=True)):
            if ours == theirs:
                continue
            if theirs == NO_HASH:
                self._send_heads(link, self._heads_below(kind, path + bytes([i])))
            else:
                self._send_node(link, kind, path + bytes([i]))

    def _compare(self, link: int, message: NodeAt) -> None:
        theirs = {head.stream: head.ref for head in message.heads}
        mine = self._heads_below(message.kind, message.path)
        ahead = {
            key: head for key, head in mine.items() if key not in theirs or theirs[key] < head.ref
        }
        self._send_heads(link, ahead)
        self.heads(link, Heads(message.heads))

    def _send_heads(self, link: int, heads: dict[StreamKey, Head]) -> None:
        context = self._context
        refused = context.links[link].refused
        offered = [head for head in heads.values() if head.ref.hash not in refused]
        for start in range(0, len(offered), HEADS_MAX):
            context.send(link, Lane.REPAIR, Heads(tuple(offered[start : start + HEADS_MAX])))

    def heads(self, link: int, message: Heads) -> None:
        """Ask for every stream that the peer has newer."""
        context = self._context
        state = context.links[link]
        for head in message.heads:
            state.learn(head.stream, head.ref.place)
            rule = context.quarantine.rule(head.ref.hash)
            if rule is not None:
                context.refuse(head.stream, head.ref.hash, rule, link)
            elif self._lacks(head.stream, head.ref):
                self._want(head.stream, link)

    def offer(self, link: int, key: StreamKey) -> None:
        """Tell a peer that showed an outranked header which one we hold."""
        stream = self._context.holdings.stream(key)
        if stream is not None:
            self._send_heads(link, {key: Head(key, stream.state.ref)})
