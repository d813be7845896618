"""How a node without a genesis gets one: it asks over its first link, and enters the cluster.

A link whose handshake named a genesis that this node does not have yet serves for nothing
else. Once the genesis is on disk, all links are made anew, so that each binds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node import durable, messages
from meshcrdt.node.events import LinkOpened
from meshcrdt.node.link_queue import Lane
from meshcrdt.node.outbox import Message

if TYPE_CHECKING:
    from meshcrdt.node.node import Node


class Entry:
    """One genesis, never a second one."""

    codes = frozenset({messages.GENESIS_ASK, messages.GENESIS})

    def __init__(self, node: Node) -> None:
        self._node = node
        self._joining: Genesis | None = None

    def received(self, opened: LinkOpened, message: Message) -> None:
        """Take a message of one of the codes."""
        if message[0] == messages.GENESIS:
            self._taken(opened, message)
        elif self._node.core is not None:
            tree = self._node.core.genesis.to_tree()
            self._node.outbox.message(opened.link, Lane.LIVENESS, (messages.GENESIS, tree))

    def _taken(self, opened: LinkOpened, message: Message) -> None:
        node = self._node
        if node.core is not None or self._joining is not None:
            return
        try:
            genesis = Genesis.from_tree(message[1] if len(message) > 1 else None)
        except MalformedTree as error:
            node.outbox.close(opened.link, f"malformed genesis: {error}")
            return
        if genesis.hash != opened.hello.genesis:
            node.outbox.close(opened.link, "the genesis is not the one of the handshake")
            return
        self._joining = genesis
        node.outbox.rows.append(durable.genesis_row(genesis))
        node.barrier.when_durable(lambda later: self._join(genesis, later))

    def _join(self, genesis: Genesis, now: float) -> None:
        node = self._node
        if node.core is not None:
            return
        node.enter(genesis)
        node.present(now)
        node.outbox.notice("info", f"joined cluster {genesis.cluster}")
        # Handshakes so far knew no genesis, perhaps not even the same: the next ones bind it.
        for link in node.links:
            node.outbox.close(link, "joined: dialling again with the genesis")
