"""What the dialer works on: addresses to dial, and what it must know of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from attrs import Factory, define, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits

UNANSWERED_CAP_FACTOR = 8
PROMPT_CONFIGURED_MAX = 8
"""So many configured addresses that never answered are tried at the least cap."""


class Seeds(Enum):
    """Whether the configured addresses are needed now."""

    WANTED = "wanted"
    RESTING = "resting"
    """One that nobody ever answered at is still tried, by the whole cluster once a second."""


@define
class Target:
    """One address that may be dialled. `attempts` are start times of unanswered dials."""

    address: str
    due_at: float
    configured: bool = False
    owners: set[PeerId] = Factory(set)
    """Members whose directory record names this address, or who were said to be there."""
    leads_to: PeerId | None = None
    """The peer that answered here last."""
    refused: bool = False
    failures: int = 0
    started_at: float | None = None
    attempts: list[float] = Factory(list)
    reason: str = ""
    untried: bool = True
    """Nothing came of it yet: what an operator names is dialled once at least."""


def _nobody(_: PeerId) -> bool:
    return False


@frozen
class Surroundings:
    """What the dialer must know of the rest.

    `linked` and `wanted` peers; `avoided` ones that turned this node away a moment ago;
    whether the mesh reaches a peer at all; addresses by `hearsay` of wanted peers that have
    no record; and how many members the cluster has.
    """

    linked: frozenset[PeerId] = frozenset()
    wanted: frozenset[PeerId] = frozenset()
    avoided: frozenset[PeerId] = frozenset()
    reaches: Callable[[PeerId], bool] = _nobody
    seeds: Seeds = Seeds.WANTED
    hearsay: Mapping[PeerId, tuple[str, ...]] = Factory(dict)
    members: int = 1


@frozen
class DialerStatistics:
    """Counts over the life of one dialer."""

    targets: int
    in_flight: int
    dials_total: int
    failures_total: int


def cap_s(target: Target, around: Surroundings, limits: Limits, unanswered: int) -> float:
    """Return the longest backoff of a target, in seconds.

    `unanswered` counts the configured addresses that nobody ever answered at.
    """
    short_s = limits.dial_backoff_max_s
    if target.refused:
        return short_s * UNANSWERED_CAP_FACTOR
    missing = (peer for peer in target.owners & around.wanted if not around.reaches(peer))
    if target.leads_to or any(missing) or not around.linked:
        return short_s
    if target.configured and around.seeds is Seeds.RESTING:
        return max(short_s * UNANSWERED_CAP_FACTOR, float(around.members))
    if target.configured:
        # An outage may have begun before this run, so silence says nothing about need.
        crowd = unanswered / PROMPT_CONFIGURED_MAX
        return short_s * min(max(1.0, crowd), UNANSWERED_CAP_FACTOR)
    return short_s * UNANSWERED_CAP_FACTOR


def leads(target: Target, peer: PeerId) -> bool:
    """Return True when the target led to the peer, or the directory says that it does."""
    return target.leads_to == peer or peer in target.owners


def likely_peer(target: Target) -> PeerId | None:
    """Return the one peer that a target most likely leads to, or None."""
    if target.leads_to is not None:
        return target.leads_to
    return next(iter(target.owners)) if len(target.owners) == 1 else None
