"""How a node shows itself to the others: its directory record and its advert."""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.base.ids import Epoch
from meshcrdt.gossip.outputs import Committed
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.core import member_value
from meshcrdt.node.views import ADJACENCY, DIRECTORY
from meshcrdt.node.wiring import Wiring
from meshcrdt.topology.adverts import ADVERT_KEY, Advert
from meshcrdt.topology.directory import DOMAIN_ROLE, MemberRecord, Standing
from meshcrdt.wire import encode


class Presence:
    """What this node says about itself in the replicated state."""

    def __init__(self, config: NodeConfig, wiring: Wiring) -> None:
        self._config = config
        self._wiring = wiring
        self._advert: Advert | None = None
        self._standing = Standing.IN

    def leave(self, epoch: Epoch, committed: Callable[[Committed, float], None]) -> None:
        """Say goodbye for the rest of this run, also where it goes on under another epoch."""
        self._standing = Standing.LEFT
        self.write_advert()
        self.write_member(epoch, committed)

    def write_member(
        self, epoch: Epoch, committed: Callable[[Committed, float], None] | None = None
    ) -> None:
        """Stage the directory record; `committed` is called once it is durable."""
        config = self._config
        record = MemberRecord(
            peer=config.identity.peer,
            public=config.identity.public,
            name=config.name,
            addresses=config.advertise,
            epoch=epoch,
            standing=self._standing,
            trusted=config.trusted,
            underlay=config.underlay,
            roles=(DOMAIN_ROLE + config.failure_domain,) if config.failure_domain else (),
            store=config.store_nonce,
        )
        key = bytes(config.identity.peer)
        self._wiring.write_own(DIRECTORY, {key: member_value(record)}, committed)

    def advertise(self, advert: Advert | None) -> None:
        """Say this of our neighbourhood from now on; it is told once there is a cluster."""
        self._advert = advert
        self.write_advert()

    def write_advert(self) -> None:
        """Stage what was to be said last: volatile channels open empty in a new epoch."""
        core = self._wiring.core
        if core is None:
            return
        advert = self._advert if self._standing is Standing.IN else None
        if advert is not None:
            self._wiring.write_own(ADJACENCY, {ADVERT_KEY: encode(advert.to_tree())})
        elif core.replica.own_value(ADJACENCY, ADVERT_KEY) is not None:
            self._wiring.write_own(ADJACENCY, {ADVERT_KEY: None})
