"""Anti-entropy: compare one root, then descend one Merkle tree (rule R17).

Stateless and symmetric: every message makes sense alone, so loss and repetition only
cost time. Below 65 streams the top of the tree is one leaf, which is the flat digest; a
difference costs O(d log N) bytes and the same tree goes on inside a stream (`fetch`).
"""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.gossip.channels import Kind
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.merkle import NO_HASH, Inner
from meshcrdt.gossip.messages import HEADS_MAX, Head, Heads, NodeAt, Root
from meshcrdt.gossip.outputs import Lane

JITTER = 0.25


class Sync:
    """Finds out which streams differ between two replicas."""

    def __init__(
        self,
        context: Context,
        *,
        want: Callable[[StreamKey, int | None], None],
        lacks: Callable[[StreamKey, Ref], bool],
    ) -> None:
        self._context = context
        self._want = want
        self._lacks = lacks
        self._due: float | None = None

    def start(self, link: int) -> None:
        """Send the roots on a link."""
        context = self._context
        context.counters.sync_rounds += 1
        for kind in Kind:
            context.send(link, Lane.REPAIR, Root(kind, context.holdings.trees[kind].root))

    def link_opened(self, link: int) -> None:
        """Compare roots at once; the end with the lesser id begins."""
        context = self._context
        if context.me <= context.links[link].peer:
            self.start(link)
        if self._due is None:
            self._due = context.now + self._interval()

    def _interval(self) -> float:
        interval = self._context.limits.anti_entropy_interval_s
        return interval * self._context.dice.uniform(1 - JITTER, 1 + JITTER)

    def handle_timeout(self) -> bool:
        """Compare roots on one random link when it is time; returns whether it was."""
        context = self._context
        if self._due is None or self._due > context.now:
            return False
        self._due = context.now + self._interval() if context.links else None
        if context.links:
            self.start(context.dice.choice(sorted(context.links)))
        return True

    def next_deadline(self) -> float | None:
        """Return when the next round is due."""
        return self._due

    def root(self, link: int, message: Root) -> None:
        """Answer a root that differs with the top of our tree."""
        if self._context.holdings.trees[message.kind].root != message.root:
            self._send_node(link, message.kind, b"")

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
        for head in message.heads:
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
