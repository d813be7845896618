"""What a write gives back: its name, and a way to ask who holds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import NotReached, UsageError
from meshcrdt.mesh.arguments import deadline, peers_or_targets
from meshcrdt.node.events import AwaitReceipt, Durability, Targets
from meshcrdt.node.outcomes import ReceiptMissing, Written

if TYPE_CHECKING:
    from meshcrdt.mesh.requests import Requests

RECEIPT_TIMEOUT_S = 5.0


class Receipt:
    """A write that is durable here; (channel, epoch, seq) names the flush that carries it."""

    def __init__(self, requests: Requests, written: Written) -> None:
        self._requests = requests
        self._written = written

    @property
    def channel(self) -> str:
        """The channel that was written to."""
        return self._written.channel

    @property
    def epoch(self) -> Epoch:
        """The epoch of this node at the write."""
        return self._written.epoch

    @property
    def seq(self) -> int:
        """The number of the flush in its channel and epoch."""
        return self._written.seq

    async def reached(
        self,
        *,
        targets: Targets = Targets.ALL,
        peers: Iterable[PeerId] | None = None,
        everyone: Literal[True] | None = None,
        fraction: float = 1.0,
        level: Durability = Durability.DURABLE,
        timeout: float = RECEIPT_TIMEOUT_S,
    ) -> None:
        """Return when all targets hold the write.

        Asked are `peers` where given, else the `targets`: every member of the directory, dead
        ones included, or with Targets.LIVE the members that are alive; `everyone=True` says
        Targets.ALL in words. Who that is, is fixed at this call. `fraction` is the share of
        them, this node counted, that is enough: 0.5 is half or more. Raises NotReached, naming
        who is missing, when `timeout` seconds have passed; the write stands all the same.
        """
        asked = _asked(targets, peers, everyone)
        share = _share(fraction, everyone)
        if not isinstance(level, Durability):
            raise UsageError(f"level {level!r} is not a Durability")
        by = deadline(timeout)
        outcome = await self._requests.ask(
            lambda request: AwaitReceipt(
                request,
                self.channel,
                self.epoch.counter,
                self.epoch.instance,
                self.seq,
                asked,
                level,
                by,
                share,
            )
        )
        if isinstance(outcome, ReceiptMissing):
            names = tuple(str(peer) for peer in outcome.missing)
            raise NotReached(
                f"after {timeout} s the write {self} is not {level.value} at {', '.join(names)}",
                names,
            )

    def __repr__(self) -> str:
        return f"Receipt({self})"

    def __str__(self) -> str:
        return f"{self.channel}@{self.epoch}:{self.seq}"


def _asked(
    targets: Targets, peers: Iterable[PeerId] | None, everyone: bool | None
) -> tuple[PeerId, ...] | Targets:
    """Return whom to ask; raises UsageError for what names nobody, or two sets at once."""
    if everyone not in (None, True):
        raise UsageError(f"everyone={everyone!r} asks nobody: name the peers, or Targets.LIVE")
    if everyone and (peers is not None or targets is not Targets.ALL):
        raise UsageError("everyone=True is given, and peers or other targets beside it")
    return peers_or_targets(targets, peers)


def _share(fraction: float, everyone: bool | None) -> float:
    is_number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not (is_number and 0 < fraction <= 1):
        raise UsageError(f"fraction is {fraction!r}: a share above 0 and at most 1 is accepted")
    if everyone and fraction != 1:
        raise UsageError(f"everyone=True is given, and fraction={fraction} beside it")
    return float(fraction)
