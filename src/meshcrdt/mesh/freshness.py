"""How old what is read may be: an estimate for nothing, a bound by asking, and a policy.

State that is held does not say how old it is (finding F26). What this node can say without
asking is an estimate; `read` asks, and then it is a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InMinority, NotFresh, UsageError
from meshcrdt.mesh.arguments import deadline, peers_or_targets, wait_s
from meshcrdt.mesh.requests import Requests
from meshcrdt.node.events import AwaitFresh, Targets
from meshcrdt.node.outcomes import ReceiptMissing
from meshcrdt.topology.outputs import PeerState

if TYPE_CHECKING:
    from meshcrdt.node.node import Node

READ_TIMEOUT_S = 5.0


class Minority(Enum):
    """What a channel does while this node is in a minority; see `status`."""

    ALLOW = "allow"
    """It goes on: what is written converges with the other side's after the heal."""
    REFUSE = "refuse"
    """Reads and writes raise InMinority: who would rather wait than act on one side."""


@frozen
class Freshness:
    """An estimate of how much of a channel may be missing here. Never a bound: see `read`."""

    in_sync_s: float | None
    """Seconds since a linked member showed exactly the state that is held here, in all
    channels; 0.0 while there is no other member, None when none ever did."""
    origins: Mapping[PeerId, PeerState] = field(factory=dict)
    """Who has written to the channel as far as is known, and whether that member is alive."""
    is_estimate: bool = field(default=True, init=False)

    @property
    def silent(self) -> tuple[PeerId, ...]:
        """Those of them that may be writing where this node does not see it."""
        return tuple(peer for peer, state in self.origins.items() if state is not PeerState.ALIVE)


class Access:
    """What handles of a channel share: how old what they read may be, and the policy."""

    def __init__(self, name: str, node: Node, requests: Requests, minority: object) -> None:
        """Make one; raises UsageError for what is no Minority."""
        if not isinstance(minority, Minority):
            raise UsageError(f"minority {minority!r} is not a Minority: ALLOW and REFUSE are")
        self._name = name
        self._node = node
        self._requests = requests
        self._refuses = minority is Minority.REFUSE

    def check(self) -> None:
        """Raise InMinority when the policy says so."""
        if self._refuses and self._node.topology.minority():
            raise InMinority(
                f"channel {self._name!r} is used with Minority.REFUSE, and half or more of the "
                "members are out of reach: wait for the heal, or use Minority.ALLOW"
            )

    def freshness(self) -> Freshness:
        """Return the estimate for now."""
        in_sync_s, origins = self._node.freshness(self._name, trio.current_time())
        return Freshness(in_sync_s, origins)

    async def wait(
        self,
        *,
        max_age: float,
        targets: Targets,
        peers: Iterable[PeerId] | None,
        timeout: float,
    ) -> None:
        """Return once all is held that the others had when they were asked.

        That is now, or `max_age` ago at most for those that an earlier read asked. Raises
        NotFresh, naming who did not answer or whose writes did not come, in time.
        """
        age_s = wait_s(max_age, "max_age")
        asked = peers_or_targets(targets, peers)
        by = deadline(timeout)
        self.check()
        outcome = await self._requests.ask(
            lambda request: AwaitFresh(request, self._name, asked, age_s, by)
        )
        if isinstance(outcome, ReceiptMissing):
            names = tuple(str(peer) for peer in outcome.missing)
            raise NotFresh(
                f"after {timeout} s it is not known what these have written to {self._name!r}: "
                f"{', '.join(names)}",
                names,
            )
        self.check()
