"""Whom to leave alone for a while: peers that did not answer, refused, or keep falling off.

Each further disappointment doubles the pause. The table is bounded: it forgets the oldest,
which costs a dial too early and nothing else. A node without any neighbour asks nobody here.
"""

from __future__ import annotations

from attrs import define

from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError

PEERS_MAX = 256
PAUSE_S = 1.0
"""After the first disappointment; the second costs twice that."""
DOUBLINGS_MAX = 16


@define
class _Penalty:
    count: int
    until: float


class Damping:
    """The pauses of one node.

    Args:
        limits: `overlay_penalty_max_s` is used.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._penalties: dict[PeerId, _Penalty] = {}

    def disappointed(self, peer: PeerId, now: float, *, pause_s: float = PAUSE_S) -> None:
        """Leave a peer alone for `pause_s`, doubled for each time before."""
        old = self._penalties.pop(peer, None)
        count = min(old.count + 1, DOUBLINGS_MAX) if old else 0
        wait_s = min(pause_s * 2.0**count, self._limits.overlay_penalty_max_s)
        self._penalties[peer] = _Penalty(count, now + wait_s)
        while len(self._penalties) > PEERS_MAX:
            del self._penalties[next(iter(self._penalties))]

    def forgive(self, peer: PeerId) -> None:
        """Forget all about a peer: it is a good neighbour."""
        self._penalties.pop(peer, None)

    def forgive_all(self) -> None:
        """Forget everything: the network of this host changed."""
        self._penalties.clear()

    def allows(self, peer: PeerId, now: float) -> bool:
        """Return True unless the peer is to be left alone."""
        penalty = self._penalties.get(peer)
        return penalty is None or now >= penalty.until

    def expire(self, now: float) -> None:
        """Forget pauses that are over, and with them how often there was one."""
        for peer in [peer for peer, p in self._penalties.items() if now >= p.until]:
            del self._penalties[peer]

    def peers(self) -> frozenset[PeerId]:
        """Return the peers that have, or had and were not forgiven, a pause."""
        return frozenset(self._penalties)

    def next_deadline(self) -> float | None:
        """Return when the first pause ends, or None."""
        return min((p.until for p in self._penalties.values()), default=None)

    def check(self) -> None:
        """Raise InternalError when the bound is broken."""
        if len(self._penalties) > PEERS_MAX:
            raise InternalError(f"{len(self._penalties)} peers have a penalty")
