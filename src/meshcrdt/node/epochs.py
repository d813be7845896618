"""Under which epoch a node writes, and when it has to go on under a later one.

Three things end an epoch before its process does. Peers hold more of this node than it wrote:
its store was rolled back, or a copy of it runs. It was evicted, and is back. Or its host stood
still (a suspend, or a snapshot of a running machine that was resumed), which may have happened
to a copy of this very process too: that counts as a restart (finding F14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch
from meshcrdt.node import durable
from meshcrdt.node.events import Resumed
from meshcrdt.node.wiring import Wiring

if TYPE_CHECKING:
    from meshcrdt.node.node import Node


class Epochs:
    """The epoch of one node, and the one that is on its way to the disk."""

    def __init__(self, node: Node, wiring: Wiring, dice: Dice) -> None:
        self._node = node
        self._wiring = wiring
        self._dice = dice
        self._next = node.epoch
        self._resumed: Epoch | None = None

    @property
    def waits(self) -> bool:
        """Whether nothing may be signed before the next epoch is open.

        Under the present one a copy of this process may sign too, with the same numbers.
        """
        return self._resumed is not None and self._node.epoch < self._resumed

    def distrusted(self, above: Epoch, now: float) -> None:
        """Take an epoch above one that was seen of this very identity (finding F14)."""
        self._node.rollbacks_seen += 1
        core = self._node.core
        if core is not None:
            self._wiring.run(core.ipam.distrust(), now)
        self.rise(above)

    def rise(self, above: Epoch) -> None:
        """Go on under an epoch above another, once its boot counter is on disk."""
        if self._next > above:
            return  # one that is on its way to the disk is above this one too
        self._begin(above.counter, self._dice.raw(INSTANCE_BYTES))

    def resumed(self, event: Resumed, now: float) -> None:
        """Go on as after a restart: other epoch, other ballots, new links, asked again."""
        reason = f"its host stood still for {event.gap_s:.0f} s"
        node = self._node
        node.outbox.notice("warning", f"{reason}: this node goes on as after a restart", node.me)
        for link in node.links:
            node.outbox.close(link, reason)
        node.unicast.copied()
        self._resumed = self._begin(self._next.counter, event.instance)
        core = node.core
        if core is not None:
            core.registers.restarted(event.instance, now)
            self._wiring.run(core.ipam.nudge(now), now)

    def _begin(self, counter: int, instance: bytes) -> Epoch:
        epoch = self._next = Epoch(max(self._next.counter, counter) + 1, instance)
        self._node.outbox.rows.append(durable.boot_row(epoch))
        self._node.barrier.when_durable(lambda _later: self._open(epoch))
        return epoch

    def _open(self, epoch: Epoch) -> None:
        """Go on under an epoch whose boot counter is on disk: no later run can take it again."""
        node, core = self._node, self._node.core
        if epoch <= node.epoch:
            return
        if core is None:
            # Nothing was signed yet: a cluster that is entered later is entered under this.
            node.epoch = epoch
            node.topology.reepoch(epoch)
            node.unicast.reepoch(epoch)
            return
        node.epoch = epoch
        core.replica.reepoch(epoch)
        core.ipam.reepoch(epoch)
        node.topology.reepoch(epoch)
        node.unicast.reepoch(epoch)
        node.chamber.epoch_opened(core)
        node.presence.write_member(epoch)
        node.presence.write_advert()
