"""What this node says in handshakes, and whose Hello it refuses.

Its own is made once, since strangers too make us need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from meshcrdt.base.ids import Epoch
from meshcrdt.node.config import NodeConfig
from meshcrdt.topology.directory import Standing
from meshcrdt.trust.hello import PROTOCOL_VERSIONS, Hello
from meshcrdt.wire import HASH_BYTES

if TYPE_CHECKING:
    from meshcrdt.node.node import Node


class OwnHello:
    """The Hello of one node, with as many of its addresses as a handshake carries.

    A host may have more of them than that; the directory holds all. Raises UsageError for
    a name that no peer would accept.
    """

    def __init__(self, config: NodeConfig) -> None:
        # Fitted as a member's, which is the largest: what fits now fits after joining.
        fitted = Hello.of(
            config.identity,
            name=config.name,
            epoch=config.epoch,
            genesis=bytes(HASH_BYTES),
            advertise=config.advertise,
        )
        self._hello = evolve(fitted, genesis=None)

    def now(self, *, genesis: bytes | None, epoch: Epoch) -> Hello:
        """Return the Hello with the genesis hash, if there is one yet, and the epoch."""
        if (self._hello.genesis, self._hello.epoch) != (genesis, epoch):
            self._hello = evolve(self._hello, genesis=genesis, epoch=epoch)
        return self._hello


def judge(node: Node, hello: Hello) -> str | None:
    """Return one line that says why a link with this peer is refused, or None."""
    if hello.peer == node.me:
        if hello.epoch.instance == node.epoch.instance:
            return "the address leads back to this node itself"
        node.alarm(
            "error",
            f"another process runs with this node's identity {node.me}: epochs "
            f"{node.epoch} here and {hello.epoch} there; stop one and give it its own state",
        )
        return f"both ends have the identity {node.me}: one of them is a copy"
    if not set(PROTOCOL_VERSIONS) & set(hello.versions):
        return f"protocol versions {hello.versions} offered, {PROTOCOL_VERSIONS} are spoken here"
    member = node.topology.members().get(hello.peer)
    if member and member.standing is Standing.LEFT and hello.epoch <= member.epoch:
        return f"{hello.peer} has left in epoch {member.epoch}: it must start a new epoch"
    if hello.genesis is None and node.core is None:
        return "neither end has a genesis yet"
    return None
