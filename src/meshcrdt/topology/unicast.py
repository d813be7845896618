"""Messages to one peer, over as many hops as it takes, at least once (finding F31).

The sender keeps a message until the destination acknowledges it or its deadline passes,
and says so exactly once: `Acked` or `Failed`. It sends again at an interval; the
destination remembers the last `unicast_window` ids per (source, epoch) and delivers a
repeat only when it fell out of that window, so handlers are idempotent by request id.
Ids are (epoch of the sender, number), so an acknowledgement for a process that is gone
acknowledges nothing. Relays hold no state. Where a relay knows no way, or the hop budget
ends, it tells the sender why; the sender goes on trying, since routes heal, and names the
last such reason when it gives up.

Payloads are not sealed end to end yet: a relay is a member of the cluster and could read
or forge them, as it could on a link.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from attrs import define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_epoch,
    take_int,
    take_peer,
    take_str,
    take_tuple,
)
from meshcrdt.errors import CapacityError, InternalError, MalformedTree
from meshcrdt.topology.outputs import (
    Acked,
    Delivered,
    Failed,
    Misbehaved,
    ToPeer,
    UnicastOutput,
)

DATA = 32
ACK = 33
ERROR = 34
HOPS_MAX = 255
REASON_CHARACTERS_MAX = 256

NextHop: TypeAlias = Callable[[PeerId], "PeerId | None"]


@define
class _Pending:
    dest: PeerId
    payload: Tree
    deadline: float
    reason: str


class _Window:
    """The last ids seen of one sender, as a bitmap below the highest one."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._highest = -1
        self._bits = 0

    def first_time(self, number: int) -> bool:
        """Note an id; False when it was noted before and is still in the window."""
        if number > self._highest:
            shift = min(number - self._highest, self._size)
            self._bits = ((self._bits << shift) | 1) & ((1 << self._size) - 1)
            self._highest = number
            return True
        age = self._highest - number
        if age >= self._size:
            return True  # too old to tell: at least once means that it is delivered
        seen = bool(self._bits >> age & 1)
        self._bits |= 1 << age
        return not seen


@frozen
class UnicastStatistics:
    """Counts over the life of one `Unicast`."""

    pending: int
    windows: int
    sent_total: int
    acked_total: int
    failed_total: int
    delivered_total: int
    duplicates_total: int
    relayed_total: int
    errors_sent_total: int
    dropped_total: int


class Unicast:
    """Sender, relay and receiver of one node.

    Args:
        me: This node.
        epoch: Its epoch: part of every id that it sends.
        limits: The `unicast_*` bounds are used.
        dice: Jitter of repeats.
        next_hop: The linked peer on the way to a destination, or None.
    """

    def __init__(
        self, *, me: PeerId, epoch: Epoch, limits: Limits, dice: Dice, next_hop: NextHop
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._limits = limits
        self._dice = dice
        self._next_hop = next_hop
        self._pending: dict[int, _Pending] = {}
        self._due: list[tuple[float, int]] = []
        self._windows: OrderedDict[tuple[PeerId, Epoch], _Window] = OrderedDict()
        self._next_id = 0
        self._acked_total = 0
        self._failed_total = 0
        self._delivered_total = 0
        self._duplicates_total = 0
        self._relayed_total = 0
        self._errors_sent_total = 0
        self._dropped_total = 0

    # --- sender ------------------------------------------------------------------------

    def send(
        self, dest: PeerId, payload: Tree, now: float, *, deadline: float | None = None
    ) -> tuple[int, list[UnicastOutput]]:
        """Start sending; answered by one `Acked` or `Failed` with the id, at the deadline at last.

        Args:
            dest: Any member, this node included.
            payload: A tree whose first item is a payload code.
            now: The time in seconds.
            deadline: The same clock; None means `unicast_timeout_s` from now.

        Raises:
            CapacityError: `unicast_pending_max` messages wait already; nothing was sent.
        """
        if len(self._pending) >= self._limits.unicast_pending_max:
            raise CapacityError(f"unicast_pending_max is {self._limits.unicast_pending_max}")
        message_id = self._next_id
        self._next_id += 1
        if dest == self._me:
            self._acked_total += 1
            self._delivered_total += 1
            return message_id, [Delivered(self._me, payload), Acked(message_id)]
        if deadline is None:
            deadline = now + self._limits.unicast_timeout_s
        self._pending[message_id] = _Pending(dest, payload, deadline, "no answer")
        return message_id, self._attempt(message_id, now)

    def cancel(self, message_id: int) -> None:
        """Stop sending a message, without an outcome; unknown ids change nothing."""
        self._pending.pop(message_id, None)

    def handle_timeout(self, now: float) -> list[UnicastOutput]:
        """Send again what is due, and give up what is past its deadline."""
        outputs: list[UnicastOutput] = []
        while self._due and self._due[0][0] <= now:
            _, message_id = heapq.heappop(self._due)
            if message_id in self._pending:
                outputs.extend(self._attempt(message_id, now))
        return outputs

    def next_deadline(self) -> float | None:
        """Return when the next repeat or deadline is due, or None."""
        while self._due and self._due[0][1] not in self._pending:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _attempt(self, message_id: int, now: float) -> list[UnicastOutput]:
        """Give up, or send once and plan the next look at this message."""
        pending = self._pending[message_id]
        if now >= pending.deadline:
            del self._pending[message_id]
            self._failed_total += 1
            return [Failed(message_id, pending.dest, pending.payload, pending.reason)]
        wait_s = self._dice.uniform(0.75, 1.0) * self._limits.unicast_retry_s
        again_at = min(now + wait_s, pending.deadline)
        heapq.heappush(self._due, (again_at, message_id))
        hop = self._next_hop(pending.dest)
        if hop is None:
            pending.reason = f"no route to {pending.dest}"
            return []
        ttl = min(self._limits.unicast_ttl_hops, HOPS_MAX)
        head = (DATA, bytes(self._me), bytes(pending.dest), epoch_tree(self._epoch), message_id)
        return [ToPeer(hop, (*head, ttl, pending.payload))]

    # --- receiver and relay ------------------------------------------------------------

    def received(
        self, from_peer: PeerId, message: tuple[Tree, ...], now: float
    ) -> list[UnicastOutput]:
        """Take a message from a neighbour: deliver it, or send it on. Never raises."""
        try:
            code, source, dest, epoch, number, ttl, body = take_tuple(message, "unicast", size=7)
            kind = take_int(code, "unicast.code", low=DATA, high=ERROR)
            origin = take_peer(source, "unicast.source")
            target = take_peer(dest, "unicast.dest")
            run = take_epoch(epoch, "unicast.epoch")
            message_id = take_int(number, "unicast.id")
            hops_left = take_int(ttl, "unicast.ttl", low=1, high=HOPS_MAX)
            if kind == ERROR:
                take_str(body, "unicast.reason", size_max=REASON_CHARACTERS_MAX)
            elif kind == ACK and body is not None:
                raise MalformedTree("unicast.body of an acknowledgement is not empty")
        except MalformedTree as error:
            self._dropped_total += 1
            return [Misbehaved(from_peer, str(error))]
        if origin == self._me:  # our own message came round in a loop of stale routes
            self._dropped_total += 1
            return []
        if target != self._me:
            return self._relay(from_peer, message, target, hops_left)
        if kind == DATA:
            return self._deliver(from_peer, origin, run, message_id, body)
        self._answered(kind, run, message_id, body)
        if kind == ACK and run == self._epoch:
            return self._acknowledged(origin, message_id)
        return []

    def _relay(
        self, from_peer: PeerId, message: tuple[Tree, ...], target: PeerId, hops_left: int
    ) -> list[UnicastOutput]:
        hop = self._next_hop(target)
        if hop is not None and hop != from_peer and hops_left > 1:
            self._relayed_total += 1
            return [ToPeer(hop, (*message[:5], hops_left - 1, message[6]))]
        if message[0] != DATA:  # no errors about answers: they would answer each other for ever
            self._dropped_total += 1
            return []
        if hops_left <= 1:
            reason = f"the hop limit ended at {self._me} on the way to {target}"
        else:
            reason = f"no route from {self._me} to {target}"
        self._errors_sent_total += 1
        return self._answer(from_peer, message, ERROR, reason)

    def _deliver(
        self, from_peer: PeerId, origin: PeerId, run: Epoch, message_id: int, body: Tree
    ) -> list[UnicastOutput]:
        key = (origin, run)
        window = self._windows.pop(key, None) or _Window(self._limits.unicast_window)
        self._windows[key] = window
        if len(self._windows) > self._limits.unicast_sources_max:
            self._windows.popitem(last=False)
        message = (DATA, bytes(origin), bytes(self._me), epoch_tree(run), message_id)
        outputs = self._answer(from_peer, message, ACK, None)
        if window.first_time(message_id):
            self._delivered_total += 1
            return [*outputs, Delivered(origin, body)]
        self._duplicates_total += 1
        return outputs

    def _answer(
        self, from_peer: PeerId, message: tuple[Tree, ...], code: int, body: Tree
    ) -> list[UnicastOutput]:
        """Answer the source of a data message; failing a route, where the message came from."""
        source = message[1]
        hop = self._next_hop(take_peer(source, "unicast.source")) or from_peer
        ttl = min(self._limits.unicast_ttl_hops, HOPS_MAX)
        return [ToPeer(hop, (code, bytes(self._me), source, message[3], message[4], ttl, body))]

    def _acknowledged(self, origin: PeerId, message_id: int) -> list[UnicastOutput]:
        pending = self._pending.get(message_id)
        if pending is None or pending.dest != origin:
            return []
        del self._pending[message_id]
        self._acked_total += 1
        return [Acked(message_id)]

    def _answered(self, kind: int, run: Epoch, message_id: int, body: Tree) -> None:
        """Keep what a relay says about a message of ours, for the case that it fails."""
        known = run == self._epoch and message_id in self._pending
        if kind == ERROR and known and isinstance(body, str):
            self._pending[message_id].reason = body

    # --- health ------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InternalError when a message would never be answered or a bound is broken."""
        planned = {message_id for _, message_id in self._due}
        if not self._pending.keys() <= planned:
            raise InternalError("a pending unicast message has no deadline planned")
        if len(self._pending) > self._limits.unicast_pending_max:
            raise InternalError(f"{len(self._pending)} unicast messages are pending")
        if len(self._windows) > self._limits.unicast_sources_max:
            raise InternalError(f"{len(self._windows)} unicast windows are held")

    def statistics(self) -> UnicastStatistics:
        """Return the current counts."""
        return UnicastStatistics(
            pending=len(self._pending),
            windows=len(self._windows),
            sent_total=self._next_id,
            acked_total=self._acked_total,
            failed_total=self._failed_total,
            delivered_total=self._delivered_total,
            duplicates_total=self._duplicates_total,
            relayed_total=self._relayed_total,
            errors_sent_total=self._errors_sent_total,
            dropped_total=self._dropped_total,
        )
