"""Which members this node is linked with: a partial view, after HyParView (DSN 2007).

Up to `overlay_full_mesh_max` members everybody is linked with everybody. In a larger cluster
each node keeps a small active view, symmetric because a link is in both views or ends:

* A node with fewer than `overlay_active_min` neighbours asks random members, HIGH where it has
  none and BETWEEN where it has some. Who is full gives up another for it, and names that one:
  it is asked next, so that an edge is split and nobody is parted.
* Who refuses or gives up names others to ask, and ends the link after a grace. So seeds that
  a whole cluster dials shed what is beyond their view.
* A link that nobody asked for is a contact or a probe, and ends after a grace too.
* Without discovery only configured links exist. They are PINNED: kept by both ends for ever.

Added to the paper: the directory instead of a stored passive view, one link at least for each
declared failure domain, dials out of view (`probing`), swaps for faster links, pauses for
peers that flap (`damping`), and seeds again when the view stays thin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.contacts import Contact
from meshcrdt.topology.dialer import Discovery, Seeds
from meshcrdt.topology.overlay_terms import Drop, Mode, OverlayOutput, OverlayStatistics, Sight
from meshcrdt.topology.overlay_wire import ADDRESSES_MAX, Priority
from meshcrdt.topology.seeking import SOUGHT_MAX, Seeking, Sought
from meshcrdt.topology.slots import Purpose, Slot

UNBIASED_MIN = 2
"""So many neighbours are not swapped for faster ones: a mesh of fast links only has islands."""
SWAP_GAIN = 1.5
SWAP_GAIN_S = 0.002
"""A probe replaces a neighbour only when it is faster by the factor and the time."""
ASKS_MAX = 3
FLAP_S = 10.0
"""A neighbour whose link lived shorter is left alone for a while."""


class Overlay(Seeking):
    """The partial view of one node.

    Args:
        me: This node.
        domain: The failure domain that it declares, or empty.
        limits: The `overlay_*` bounds.
        dice: Draws and waits.
        discovery: Whether others than configured peers are dialled.
        sight: What it can ask of the other parts.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        domain: str = "",
        limits: Limits,
        dice: Dice,
        discovery: Discovery,
        sight: Sight,
    ) -> None:
        super().__init__(
            me=me, domain=domain, limits=limits, dice=dice, discovery=discovery, sight=sight
        )
        self._deadline: float | None = None

    # --- the directory -----------------------------------------------------------------

    def member(self, peer: PeerId, domain: str) -> None:
        """Take a member in, or what its record says now of its failure domain."""
        self._moved = True
        self._candidates.member(peer, domain)
        slot = self._slots.get(peer)
        if slot is not None and domain:
            slot.domain = domain

    def gone(self, peer: PeerId) -> None:
        """Take a member out: it left, or has no record any more."""
        self._moved = True
        self._candidates.gone(peer)
        self._sought.pop(peer, None)

    def state_changed(self, peer: PeerId, *, dead: bool, now: float) -> None:
        """Take in whether a member is taken for dead."""
        self._moved = True
        if dead:
            self._candidates.died(peer)
        elif self._candidates.lives(peer):
            self._probing.came_back(peer, self._candidates.known(), now)

    def retire(self, *, retired: bool) -> None:
        """Look for nobody any more, because this node has left; or again."""
        self._moved = self._moved or retired is not self._retired
        self._retired = retired

    def nudge(self) -> None:
        """Forget who did not answer: the network of this host changed."""
        self._moved = True
        self._candidates.damping.forgive_all()
        self._candidates.refusals.forgive_all()

    # --- links -------------------------------------------------------------------------

    def opened(
        self, peer: PeerId, *, dialled: bool, addresses: tuple[str, ...] = (), now: float
    ) -> list[OverlayOutput]:
        """Take in a link; `addresses` is where its handshake says that the peer can be dialled."""
        self._moved = True
        sought = self._sought.pop(peer, None)
        self._learn((Contact(peer, addresses[:ADDRESSES_MAX]),), now)
        slot = self._slots.get(peer)
        if slot is None:
            slot = self._slots.open(peer, now)
            slot.domain = self._candidates.domain(peer)
            # The longer grace is that of who answers: who asks decides.
            slot.close_at = now + (1 if dialled else 2) * self._limits.overlay_link_grace_s
        elif slot.asked is not None or self._slots.is_active(peer):
            return []
        if self._discovery is Discovery.OFF and dialled:
            self._take(slot, Purpose.PINNED)
            return [self._ask(slot, Priority.PINNED, now)]
        if self._is_small():
            priority = self._priority(now)
            self._take(slot)
            return [self._ask(slot, priority, now)] if dialled else []
        if not dialled:
            return []
        return self._reached(slot, sought, now)

    def lost(self, peer: PeerId, now: float) -> bool:
        """Take in that the last link of a peer ended; returns True when that was expected."""
        self._moved = True
        was_neighbour = self._slots.is_active(peer)
        slot = self._slots.close(peer)
        if slot is not None and was_neighbour:
            if now - slot.opened_at < FLAP_S:
                self._candidates.damping.disappointed(peer, now)
            else:
                self._candidates.damping.forgive(peer)
        return not was_neighbour

    def dial_failed(self, peer: PeerId, now: float) -> None:
        """Take in that no address of a sought peer answered: the next one gets its turn."""
        if self._sought.pop(peer, None) is not None:
            self._moved = True
            self._vain_at = now
            self._candidates.damping.disappointed(peer, now)
            self._candidates.hearsay.discard(peer)

    # --- time --------------------------------------------------------------------------

    def forgive(self, stall_s: float) -> None:
        """Do not count `stall_s` against anybody's answer: this process itself did not run then."""
        self._moved = True
        for slot in self._slots:
            slot.forgive(stall_s)
        for peer, sought in self._sought.items():
            self._sought[peer] = sought.forgiven(stall_s)

    def act(self, now: float) -> list[OverlayOutput]:
        """Do what is due: end links, ask again, look for neighbours, dial out of view."""
        if not self._moved and (self._deadline is None or now < self._deadline):
            return []
        self._acted_at = now
        self._candidates.hearsay.expire(now)
        self._candidates.refusals.expire(now)
        outputs: list[OverlayOutput] = []
        for slot in list(self._slots):
            outputs.extend(self._tend(slot, now))
        for peer in [p for p, sought in self._sought.items() if now >= sought.until]:
            self.dial_failed(peer, now)
        if not self._retired:
            outputs.extend(self._trim(now))
        outputs.extend(self._look_around(now))
        self._moved = False
        self._deadline = min((at for at in self._times() if at is not None), default=None)
        return outputs

    def next_deadline(self) -> float | None:
        """Return when `act` is to be called at the latest, or None."""
        return self._acted_at if self._moved else self._deadline

    # --- queries -----------------------------------------------------------------------

    def neighbours(self) -> frozenset[PeerId]:
        """Return the active view: whom this node advertises."""
        return self._slots.active()

    def purpose(self, peer: PeerId) -> Purpose | None:
        """Return what the link of a peer is for; None without one."""
        slot = self._slots.get(peer)
        return None if slot is None else slot.purpose

    def wanted(self) -> frozenset[PeerId]:
        """Return the peers to dial now."""
        if self._discovery is Discovery.OFF:
            return frozenset()
        if self._is_small():
            everybody = (*self._candidates.roster, *self._candidates.hearsay.peers())
            return frozenset(everybody) - self.avoided()
        return frozenset(self._sought)

    def avoided(self) -> frozenset[PeerId]:
        """Return the peers that turned this node away a moment ago."""
        return self._candidates.refusals.peers()

    def heard(self, peers: Iterable[PeerId]) -> Mapping[PeerId, tuple[str, ...]]:
        """Return where peers without a record are said to be."""
        return self._candidates.heard(peers)

    def seeds(self, now: float) -> Seeds:
        """Return whether configured addresses are needed: while the view is thin, or empty."""
        if self.mode() is not Mode.PARTIAL or not len(self._slots) or now < self._seeds_until:
            return Seeds.WANTED
        since = self._thin_since
        late = since is not None and now >= since + self._limits.overlay_seed_after_s
        return Seeds.WANTED if late else Seeds.RESTING

    def members(self) -> int:
        """Return how many peers there are as far as this node knows, itself included."""
        return self._candidates.known()

    def check(self) -> None:
        """Raise InternalError when a bound or a table is broken."""
        self._candidates.check()
        self._slots.check()
        if self._me in self._sought or self._slots.get(self._me) is not None:
            raise InternalError("this node seeks or is linked with itself")
        if sum(s.for_good for s in self._sought.values()) > SOUGHT_MAX + 2:
            raise InternalError(f"{len(self._sought)} peers are sought at once")

    def statistics(self) -> OverlayStatistics:
        """Return the current counts."""
        others = self._candidates.known() - 1 - len(self._slots)
        return OverlayStatistics(
            mode=self.mode(),
            active=len(self._slots),
            passive=max(0, min(others, self._limits.overlay_passive_max)),
            temporary=self._slots.linked() - len(self._slots),
            asked_total=self._counts["asked"],
            refused_total=self._counts["refused"],
            evicted_total=self._counts["evicted"],
            probes_total=self._counts["probes"],
            swaps_total=self._counts["swapped"],
        )

    # --- inside ------------------------------------------------------------------------

    def _reached(self, slot: Slot, sought: Sought | None, now: float) -> list[OverlayOutput]:
        """Decide what a link that this node dialled is for, in a large cluster."""
        if sought is None and self._needs(now) > 0:
            return [self._ask(slot, self._priority(now), now)]
        if sought is not None and sought.for_good:
            high = sought.priority is Priority.HIGH
            if not high and not self._has_room():
                return []
            return [self._ask(slot, Priority.HIGH if high else self._priority(now), now)]
        slot.purpose = Purpose.CONTACT if sought is None else Purpose.PROBE
        if not self._sight.reaches(slot.peer):
            # Two components meet here, and perhaps nowhere else.
            return [self._ask(slot, Priority.HIGH, now)]
        return []

    def _tend(self, slot: Slot, now: float) -> list[OverlayOutput]:
        """End a link whose time is over, or ask again for an answer that did not come."""
        if slot.close_at is not None and now >= slot.close_at:
            if slot.purpose is Purpose.PROBE and slot.asked is None:
                victim = self._slots.slowest(self._sight.rtt_s, UNBIASED_MIN)
                if victim is not None and self._gains(slot, victim):
                    slot.instead_of = victim.peer
                    return [self._ask(slot, Priority.LOW, now)]
            self._slots.close(slot.peer)
            return [Drop(slot.peer, f"it was a {slot.purpose.value}, no neighbour")]
        if slot.asked is not None and now >= slot.asked_at + self._limits.overlay_ask_retry_s:
            if slot.asks < ASKS_MAX or slot.purpose is Purpose.PINNED:
                close_at = slot.close_at
                outputs = [self._ask(slot, slot.asked, now)]
                slot.close_at = close_at
                return outputs
            slot.asked = None
        return []

    def _gains(self, probe: Slot, victim: Slot) -> bool:
        fast_s, slow_s = self._sight.rtt_s(probe.peer), self._sight.rtt_s(victim.peer)
        if fast_s is None or slow_s is None:
            return False
        return fast_s * SWAP_GAIN + SWAP_GAIN_S < slow_s
