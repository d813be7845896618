"""Messages to one peer, over as many hops as it takes, at least once (finding F31).

The sender keeps a message until the destination acknowledges it or its deadline passes,
and says so exactly once: `Acked` or `Failed`. It sends again at an interval; the
destination remembers the last `unicast_window` ids per (source, epoch) and delivers a
repeat only when it fell out of that window, so handlers are idempotent by request id.
Ids are (epoch of the sender, number), so an acknowledgement for a process that is gone
acknowledges nothing. Relays hold no state. Where a relay knows no way, or the hop budget
ends, it tells the sender why; the sender goes on trying, since routes heal, and names the
last such reason when it gives up.

What goes over a relay is sealed end to end (`trust.sealing`): relays see who writes to whom,
and how much. What goes over a link of its own is sealed by that link, and believed from
nobody else. Whoever seals asks the destination for its key first, on the same way.
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
from meshcrdt.base.times import earliest
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
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
from meshcrdt.topology.unicast_window import Seen, Window
from meshcrdt.topology.unicast_wire import HOPS_MAX, QUESTIONS, Arrival, Code, head_of, read
from meshcrdt.trust.sealing import NoSuchKey, Sealed, Seals

NextHop: TypeAlias = Callable[[PeerId], "PeerId | None"]


@define
class _Pending:
    dest: PeerId
    payload: Tree
    deadline: float
    reason: str
    sealed: Sealed | None = None


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
        seals: Seals and opens what relays carry.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        epoch: Epoch,
        limits: Limits,
        dice: Dice,
        next_hop: NextHop,
        seals: Seals,
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._limits = limits
        self._dice = dice
        self._next_hop = next_hop
        self._seals = seals
        self._pending: dict[int, _Pending] = {}
        self._due: list[tuple[float, int]] = []
        self._windows: OrderedDict[tuple[PeerId, Epoch], Window] = OrderedDict()
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

    def reepoch(self, epoch: Epoch) -> None:
        """Go on under a higher epoch: a copy of this process may use the same ids under this one.

        What waits is sent again under it, and may be delivered twice: at least once allows that.
        """
        self._epoch = epoch
        self._seals.reepoch(epoch)
        for pending in self._pending.values():
            pending.sealed = None

    def copied(self) -> None:
        """Seal with new keys from now on: another process may have ours, and our ids."""
        self._seals.renew()

    def handle_timeout(self, now: float) -> list[UnicastOutput]:
        """Send again what is due, and give up what is past its deadline."""
        self._seals.expire(now)
        outputs: list[UnicastOutput] = []
        while self._due and self._due[0][0] <= now:
            _, message_id = heapq.heappop(self._due)
            if message_id in self._pending:
                outputs.extend(self._attempt(message_id, now))
        return outputs

    def next_deadline(self) -> float | None:
        """Return when the next repeat, deadline or end of a key is due, or None."""
        while self._due and self._due[0][1] not in self._pending:
            heapq.heappop(self._due)
        due = self._due[0][0] if self._due else None
        return earliest(due, self._seals.next_deadline())

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
        return self._emit(message_id, pending, now)

    def _emit(self, message_id: int, pending: _Pending, now: float) -> list[UnicastOutput]:
        """Send once: as it is on a link of its own, sealed over others."""
        dest = pending.dest
        hop = self._next_hop(dest)
        if hop is None:
            pending.reason = f"no route to {dest}"
            return []
        if hop == dest:
            return [self._own(hop, dest, Code.DATA, message_id, pending.payload)]
        sealed = pending.sealed
        if sealed is None or not self._seals.is_current(dest, sealed):
            head = head_of(self._me, dest, self._epoch, message_id)
            sealed = self._seals.seal(dest, head, message_id, pending.payload, now)
        pending.sealed = sealed
        if sealed is not None:
            return [self._own(hop, dest, Code.SEALED, message_id, sealed.body)]
        pending.reason = f"the key of {dest} did not come over {hop}"
        question = self._seals.ask(dest, now)
        return (
            [] if question is None else [self._own(hop, dest, Code.KEY_ASK, message_id, question)]
        )

    def _own(self, hop: PeerId, dest: PeerId, code: Code, message_id: int, body: Tree) -> ToPeer:
        ttl = min(self._limits.unicast_ttl_hops, HOPS_MAX)
        run = epoch_tree(self._epoch)
        return ToPeer(hop, (int(code), bytes(self._me), bytes(dest), run, message_id, ttl, body))

    # --- receiver and relay ------------------------------------------------------------

    def received(
        self, from_peer: PeerId, message: tuple[Tree, ...], now: float
    ) -> list[UnicastOutput]:
        """Take a message from a neighbour: deliver it, or send it on. Never raises."""
        try:
            came, target, hops_left = read(from_peer, message)
        except MalformedTree as error:
            self._dropped_total += 1
            return [Misbehaved(from_peer, str(error))]
        if came.origin == self._me:  # our own message came round in a loop of stale routes
            self._dropped_total += 1
            return []
        if target != self._me:
            return self._relay(came, message, target, hops_left)
        return self._take(came, now)

    def _take(self, came: Arrival, now: float) -> list[UnicastOutput]:
        """Handle a message for this node. What only a link vouches for comes on it, or is void."""
        if came.kind in (Code.DATA, Code.ACK) and came.origin != came.from_peer:
            self._dropped_total += 1
            return []
        try:
            match came.kind:
                case Code.DATA:
                    return self._deliver(came, came.body, Code.ACK, None)
                case Code.KEY_ASK:
                    key = self._seals.answer(came.origin, came.body, now)
                    return [self._answer(came, Code.KEY, key)]
                case Code.KEY:
                    return self._told(came, now)
                case Code.SEALED:
                    return self._unseal(came)
        except NoSuchKey:
            return [self._answer(came, Code.STALE, None)]
        except MalformedTree:
            self._dropped_total += 1  # made by its origin or on the way: who brought it is not it
            return []
        return self._answered(came)

    def _relay(
        self, came: Arrival, message: tuple[Tree, ...], target: PeerId, hops_left: int
    ) -> list[UnicastOutput]:
        hop = self._next_hop(target)
        if hop is not None and hop != came.from_peer and hops_left > 1:
            self._relayed_total += 1
            return [ToPeer(hop, (*message[:5], hops_left - 1, message[6]))]
        if came.kind not in QUESTIONS:  # errors about answers would answer each other for ever
            self._dropped_total += 1
            return []
        if hops_left <= 1:
            reason = f"the hop limit ended at {self._me} on the way to {target}"
        else:
            reason = f"no route from {self._me} to {target}"
        self._errors_sent_total += 1
        return [self._answer(came, Code.ERROR, reason)]

    def _deliver(
        self, came: Arrival, payload: Tree, code: Code, proof: Tree
    ) -> list[UnicastOutput]:
        """Acknowledge by `code` and `proof`, and hand over what is no repeat.

        What fell out of the window is delivered again when a link vouches for it, for at least
        once is the promise. A relay could have kept it, so then it is void.
        """
        key = (came.origin, came.run)
        window = self._windows.pop(key, None) or Window(self._limits.unicast_window)
        self._windows[key] = window
        if len(self._windows) > self._limits.unicast_sources_max:
            self._windows.popitem(last=False)
        seen = window.note(came.number)
        if seen is Seen.TOO_OLD and code == Code.CONFIRM:
            self._dropped_total += 1
            return []
        answer = self._answer(came, code, proof)
        if seen is Seen.REPEATED:
            self._duplicates_total += 1
            return [answer]
        self._delivered_total += 1
        return [answer, Delivered(came.origin, payload)]

    def _unseal(self, came: Arrival) -> list[UnicastOutput]:
        head = head_of(came.origin, self._me, came.run, came.number)
        payload, proof = self._seals.open(came.origin, came.run, head, came.number, came.body)
        return self._deliver(came, payload, Code.CONFIRM, proof)

    def _answer(self, came: Arrival, code: Code, body: Tree) -> ToPeer:
        """Answer the source of a message; failing a route, where the message came from."""
        hop = came.from_peer if code == Code.ACK else self._next_hop(came.origin) or came.from_peer
        ttl = min(self._limits.unicast_ttl_hops, HOPS_MAX)
        ids = (bytes(self._me), bytes(came.origin), epoch_tree(came.run), came.number)
        return ToPeer(hop, (int(code), *ids, ttl, body))

    def _told(self, came: Arrival, now: float) -> list[UnicastOutput]:
        """Take a key, and send all that waited for it."""
        if not self._seals.told(came.origin, came.body):
            return []
        outputs: list[UnicastOutput] = []
        for message_id, pending in self._pending.items():
            if pending.dest == came.origin:
                outputs.extend(self._emit(message_id, pending, now))
        return outputs

    def _answered(self, came: Arrival) -> list[UnicastOutput]:
        """Take what is said about a message of ours."""
        pending = self._pending.get(came.number) if came.run == self._epoch else None
        if pending is None:
            return []
        if came.kind == Code.ERROR and isinstance(came.body, str):
            pending.reason = came.body  # for the case that it fails
        elif pending.dest != came.origin:
            return []
        elif came.kind == Code.STALE and pending.sealed is not None:
            self._seals.forget(came.origin, pending.sealed.theirs)  # asked again by the next try
        elif came.kind == Code.ACK or self._is_proved(came, pending):
            del self._pending[came.number]
            self._acked_total += 1
            return [Acked(came.number)]
        return []

    def _is_proved(self, came: Arrival, pending: _Pending) -> bool:
        if came.kind != Code.CONFIRM or pending.sealed is None:
            return False
        head = head_of(self._me, came.origin, self._epoch, came.number)
        try:
            return self._seals.confirmed(came.origin, pending.sealed, head, came.number, came.body)
        except MalformedTree:
            return False

    # --- health ------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InternalError when a message would never be answered or a bound is broken."""
        planned = {message_id for _, message_id in self._due}
        if not self._pending.keys() <= planned:
            raise InternalError("a pending unicast message has no deadline planned")
        if len(self._pending) > self._limits.unicast_pending_max:
            raise InternalError(f"{len(self._pending)} unicast messages are pending")
        self._seals.check()
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
