"""What a write gives back: its name, and a way to ask who holds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import NotReached, UsageError
from meshcrdt.mesh.arguments import deadline
from meshcrdt.node.events import AwaitReceipt, Durability
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
        peers: Iterable[PeerId] | None = None,
        everyone: bool = True,
        level: Durability = Durability.DURABLE,
        timeout: float = RECEIPT_TIMEOUT_S,
    ) -> None:
        """Return when all targets hold the write.

        The targets are `peers` where given, else every member of the directory at the time
        of this call, dead ones included. Raises NotReached, naming who is missing, when
        `timeout` seconds have passed; the write stands all the same.
        """
        if not everyone and peers is None:
            await trio.lowlevel.checkpoint()
            return
        targets = None if peers is None else tuple(peers)
        if not all(isinstance(peer, PeerId) for peer in targets or ()):
            raise UsageError("peers of a receipt are peer ids")
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
                targets,
                level,
                by,
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
