"""What this node says in handshakes: made once, since strangers too make us need it."""

from __future__ import annotations

from attrs import evolve

from meshcrdt.base.ids import Epoch
from meshcrdt.node import messages
from meshcrdt.node.config import NodeConfig
from meshcrdt.trust.hello import Hello
from meshcrdt.wire import HASH_BYTES


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
        self._hello = evolve(fitted, genesis=None, versions=(messages.VERSION,))

    def now(self, *, genesis: bytes | None, epoch: Epoch) -> Hello:
        """Return the Hello with the genesis hash, if there is one yet, and the epoch."""
        if (self._hello.genesis, self._hello.epoch) != (genesis, epoch):
            self._hello = evolve(self._hello, genesis=genesis, epoch=epoch)
        return self._hello
