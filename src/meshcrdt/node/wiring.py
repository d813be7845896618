"""Carries every output of a machine to where it belongs, breadth first, until none is left.

One method per kind of output. Adding an output kind without a home fails loudly here, in
the first test that meets it, and not silently in production.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from meshcrdt.errors import CapacityError, InternalError, UsageError
from meshcrdt.gossip import outputs as gossip
from meshcrdt.gossip.changes import Change, Drop, Over, Put, Writer
from meshcrdt.ipam import outputs as ipam
from meshcrdt.node import durable, messages
from meshcrdt.node.link_queue import ONE_FLOW, Lane
from meshcrdt.node.outcomes import ReceiptMissing, ReceiptReached, Written
from meshcrdt.node.views import DIRECTORY, GOVERNANCE, IPAM
from meshcrdt.topology import outputs as topology
from meshcrdt.topology.heartbeats import PING, PONG

if TYPE_CHECKING:
    from meshcrdt.node.core import Core
    from meshcrdt.node.node import Node

GOSSIP_LANES = {gossip.Lane.DELTA: Lane.DELTA, gossip.Lane.REPAIR: Lane.REPAIR}
NEWEST_ONLY = (PING, PONG)
"""Of these an unsent one is worth nothing once there is a newer one."""


class Wiring:
    """The switchboard of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._queue: deque[object] = deque()
        self._draining = False
        self._tickets: dict[int, list[Callable[[gossip.Committed, float], None]]] = {}
        self._homes: dict[type, Callable[[Any, float], None]] = {
            topology.Dial: self._dial,
            topology.CloseLink: self._close_link,
            topology.ToLink: self._ping,
            topology.RootSeen: self._root_seen,
            topology.Advertise: self._advertise,
            topology.BaselineChanged: self._baseline_changed,
            topology.StateChanged: self._state_changed,
            topology.ToPeer: self._relay,
            topology.Delivered: self._delivered,
            topology.Acked: self._acked,
            topology.Failed: self._failed,
            topology.Misbehaved: self._neighbour_misbehaved,
            gossip.ToLink: self._gossip_message,
            gossip.Push: self._push,
            gossip.Serve: self._serve,
            gossip.Store: self._gossip_store,
            gossip.StreamChanged: self._stream_changed,
            gossip.Committed: self._committed,
            gossip.Misbehaved: self._misbehaved,
            gossip.Quarantined: self._quarantined,
            gossip.Equivocated: self._equivocated,
            gossip.OwnStreamAhead: self._own_stream_ahead,
            gossip.SignedForUs: self._signed_for_us,
            gossip.Alarm: self._gossip_alarm,
            gossip.ToPeer: self._receipt_to_peer,
            gossip.Reached: self._receipt_reached,
            gossip.Missing: self._receipt_missing,
            ipam.Answer: self._answer,
            ipam.Store: self._ipam_store,
            ipam.Publish: self._publish,
            ipam.ToPeer: self._ipam_to_peer,
            ipam.Notice: self._ipam_notice,
        }

    @property
    def core(self) -> Core | None:
        """The machines of a member; None before there is a genesis."""
        return self._node.core

    def add_homes(self, homes: Iterable[tuple[type, Callable[[Any, float], None]]]) -> None:
        """Say where more kinds of output belong."""
        self._homes.update(homes)

    def run(self, outputs: Iterable[object], now: float) -> None:
        """Carry outputs, and all that they cause, to their homes."""
        self._queue.extend(outputs)
        if self._draining or not self._queue:
            return  # the loop below us carries them, after what was there before
        self._draining = True
        try:
            while self._queue:
                self._carry(self._queue.popleft(), now)
        finally:
            self._draining = False
            self._queue.clear()

    def _carry(self, output: object, now: float) -> None:
        """Bring one output home. A home that refuses it is our own fault, not a caller's."""
        home = self._homes.get(type(output))
        if home is None:
            raise InternalError(f"no home for the output {type(output).__name__}")
        try:
            home(output, now)
        except (UsageError, CapacityError) as error:
            kind = type(output).__name__
            raise InternalError(f"the home of the output {kind} refused it: {error}") from error

    def settle(self, now: float) -> None:
        """Flush staged writes, and what flushing causes, until nothing is staged.

        Between two epochs nothing is signed, and what is staged waits.
        """
        core = self._node.core
        if core is None or self._node.epochs.waits:
            return
        while outputs := core.replica.flush(now):
            self.run(outputs, now)

    # --- writing -------------------------------------------------------------------------

    def write(
        self,
        channel: str,
        changes: list[Change],
        committed: Callable[[gossip.Committed, float], None] | None = None,
        *,
        writer: Writer = Writer.NODE,
    ) -> int:
        """Stage changes; `committed` is called when they are durable. Raises what write raises."""
        core = self._node.core
        if core is None:
            raise InternalError("nothing is written before there is a genesis")
        ticket = core.replica.write(channel, changes, writer)
        if committed is not None:
            self._tickets.setdefault(ticket, []).append(committed)
        return ticket

    def write_own(
        self,
        channel: str,
        values: Mapping[bytes, bytes | None],
        committed: Callable[[gossip.Committed, float], None] | None = None,
    ) -> int:
        """Stage owner-only records; None drops one."""
        changes: list[Change] = [
            Drop(key, Over.OWN) if value is None else Put(key, value, Over.OWN)
            for key, value in values.items()
        ]
        return self.write(channel, changes, committed)

    def write_for(self, request: int, channel: str, changes: list[Change]) -> None:
        """Stage a user's changes and answer the request when they are durable."""

        def answer(done: gossip.Committed, _now: float) -> None:
            self._node.outbox.reply(request, Written(channel, done.epoch, done.seq))

        self.write(channel, changes, answer, writer=Writer.USER)

    # --- topology ------------------------------------------------------------------------

    def _dial(self, output: topology.Dial, now: float) -> None:
        self._node.outbox.dial(output.address)

    def _close_link(self, output: topology.CloseLink, now: float) -> None:
        self._node.outbox.close(output.link, output.reason)
        if self.core is not None:
            replica = self.core.replica
            self.run(replica.link_closed(output.link, now, agreed=output.agreed), now)

    def _ping(self, output: topology.ToLink, now: float) -> None:
        code = output.message[0]
        name = code if code in NEWEST_ONLY and isinstance(code, int) else None
        self._node.outbox.message(output.link, Lane.LIVENESS, output.message, name=name)

    def _root_seen(self, output: topology.RootSeen, now: float) -> None:
        core = self._node.core
        if core is not None:
            self.run(core.replica.root_seen(output.link, output.prefix, now), now)

    def _advertise(self, output: topology.Advertise, now: float) -> None:
        self._node.presence.advertise(output.advert)

    def _baseline_changed(self, output: topology.BaselineChanged, now: float) -> None:
        self._node.outbox.rows.append(durable.baseline_row(output.baseline))

    def _state_changed(self, output: topology.StateChanged, now: float) -> None:
        self._node.member_state_changed(output, now)

    def _relay(self, output: topology.ToPeer, now: float) -> None:
        link = self._node.topology.link_to(output.peer)
        if link is not None:
            sender = output.message[1]
            flow = sender if isinstance(sender, bytes) else ONE_FLOW
            self._node.outbox.message(link, Lane.UNICAST, output.message, flow=flow)
        # Without a link the message is lost; the sender's unicast retries on a new route.

    def _delivered(self, output: topology.Delivered, now: float) -> None:
        core = self._node.core
        if core is None or type(output.payload) is not tuple or not output.payload:
            return
        code = output.payload[0]
        if code in messages.IPAM_PAYLOADS:
            self.run(core.ipam.received(output.source, output.payload, now), now)
        elif code in messages.RECEIPT_PAYLOADS:
            self.run(core.receipts.received(output.source, output.payload, now), now)
        elif code in messages.FRESHNESS_PAYLOADS:
            self.run(core.fresh.received(output.source, output.payload, now), now)
        elif code in messages.CONSENSUS_PAYLOADS:
            self.run(core.registers.received(output.source, output.payload, now), now)

    def _acked(self, output: topology.Acked, now: float) -> None:
        """Nobody waits for an acknowledgement: who asked something waits for the answer to it."""

    def _failed(self, output: topology.Failed, now: float) -> None:
        core = self._node.core
        if core is None or type(output.payload) is not tuple or not output.payload:
            return
        if output.payload[0] in messages.IPAM_PAYLOADS:
            failed = core.ipam.unicast_failed(output.dest, output.payload, output.reason, now)
            self.run(failed, now)
        # A question of a receipt or a read needs no word: it is asked again until its deadline.

    def _neighbour_misbehaved(self, output: topology.Misbehaved, now: float) -> None:
        link = self._node.topology.link_to(output.peer)
        if link is not None:
            self._node.outbox.close(link, output.reason)

    # --- gossip --------------------------------------------------------------------------

    def _gossip_message(self, output: gossip.ToLink, now: float) -> None:
        self._node.outbox.message(output.link, GOSSIP_LANES[output.lane], output.message)

    def _push(self, output: gossip.Push, now: float) -> None:
        self._node.queues.push(output.link, output.stream, output.since)

    def _serve(self, output: gossip.Serve, now: float) -> None:
        self._node.queues.serve(output.link, output.request)

    def _gossip_store(self, output: gossip.Store, now: float) -> None:
        core = self._node.core
        if core is None:
            return
        self._node.outbox.rows.extend(output.rows)

        def stored(later: float) -> None:
            self.run(core.replica.stored(output.token, later), later)
            # A receipt may have waited for exactly this to be on disk.
            self.run(core.receipts.recheck(), later)

        self._node.barrier.when_durable(stored)

    def _stream_changed(self, output: gossip.StreamChanged, now: float) -> None:
        core = self._node.core
        if core is None:
            return
        self._node.outbox.change(output.channel, output.keys)
        if output.channel == DIRECTORY:
            self._node.chamber.attendance.moved(output.origin)
        self.run(core.reflect(output, self._node.topology, now), now)
        if output.channel == GOVERNANCE:
            self._node.chamber.published(core, now)
        self.run(core.moved(output.channel, output.origin), now)

    def _committed(self, output: gossip.Committed, now: float) -> None:
        for committed in self._tickets.pop(output.ticket, []):
            committed(output, now)

    def _misbehaved(self, output: gossip.Misbehaved, now: float) -> None:
        self._node.outbox.close(output.link, output.reason)

    def _quarantined(self, output: gossip.Quarantined, now: float) -> None:
        source = output.from_peer or "the store"
        self._node.outbox.notice(
            "warning",
            f"quarantined a header of {output.origin} in {output.channel!r}, which came from "
            f"{source}: {output.rule}",
            output.origin,
        )

    def _equivocated(self, output: gossip.Equivocated, now: float) -> None:
        core = self._node.core
        if core is not None:
            self.run(core.ipam.two_faced(output.origin, output.epoch), now)
        if output.origin == self._node.me:
            self._node.epochs.rise(output.epoch)
        self._node.alarm(
            "error",
            f"{output.origin} signed two headers for {output.channel!r} {output.epoch}:"
            f"{output.seq}: it runs twice, or it lies",
            output.origin,
        )

    def _own_stream_ahead(self, output: gossip.OwnStreamAhead, now: float) -> None:
        self._node.alarm(
            "error",
            f"a peer holds this node's {output.channel!r} at epoch {output.epoch}, which this "
            "store never wrote: the store was rolled back, or a copy of this node runs elsewhere",
        )
        self._node.epochs.distrusted(output.epoch, now)

    def _signed_for_us(self, output: gossip.SignedForUs, now: float) -> None:
        self._node.chamber.came_back(output.epoch)

    def _gossip_alarm(self, output: gossip.Alarm, now: float) -> None:
        self._node.alarm("error", output.text, output.origin)

    # --- receipts ------------------------------------------------------------------------

    def _receipt_to_peer(self, output: gossip.ToPeer, now: float) -> None:
        deadline = now + self._node.limits.unicast_timeout_s
        try:
            _, sent = self._node.unicast.send(output.peer, output.payload, now, deadline=deadline)
        except CapacityError:
            return  # lost like any message: the one who asked asks again until its deadline
        self.run(sent, now)

    def _receipt_reached(self, output: gossip.Reached, now: float) -> None:
        if not self._node.chamber.receipt_ended(output.request, True, now):
            self._node.outbox.reply(output.request, ReceiptReached())

    def _receipt_missing(self, output: gossip.Missing, now: float) -> None:
        if not self._node.chamber.receipt_ended(output.request, False, now):
            self._node.outbox.reply(output.request, ReceiptMissing(output.peers))

    # --- ipam ----------------------------------------------------------------------------

    def _answer(self, output: ipam.Answer, now: float) -> None:
        patience = self._node.patience
        patience.wait(output.request)

        def confirmed(_later: float) -> None:
            if patience.confirmed(output.request):
                self._node.outbox.reply(output.request, output.outcome)

        self._node.barrier.when_all_durable(confirmed)

    def _ipam_store(self, output: ipam.Store, now: float) -> None:
        self._node.outbox.rows.extend((IPAM, key, value) for key, value in output.rows)

    def _publish(self, output: ipam.Publish, now: float) -> None:
        core = self._node.core
        if core is None:
            return

        def published(_done: gossip.Committed, later: float) -> None:
            self.run(core.ipam.published(output.token, later), later)

        self.write_own(IPAM, dict(output.puts), published)

    def _ipam_to_peer(self, output: ipam.ToPeer, now: float) -> None:
        def send(later: float) -> None:
            core = self._node.core
            try:
                _, outputs = self._node.unicast.send(
                    output.dest, output.payload, later, deadline=output.deadline
                )
            except CapacityError as full:
                if core is not None:
                    failed = core.ipam.unicast_failed(output.dest, output.payload, str(full), later)
                    self.run(failed, later)
                return
            self.run(outputs, later)

        self._node.barrier.when_all_durable(send)

    def _ipam_notice(self, output: ipam.Notice, now: float) -> None:
        if output.level == "alarm":
            self._node.alarm("error", output.text)
        else:
            self._node.outbox.notice(output.level, output.text)
