"""Looking for neighbours: whom to dial for the view, out of view, and whom to tell of others.

The half of the overlay that asks. It dials nobody itself: it says who is sought, the dialer
knows where they are and when to try.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import evolve, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.neighbourhood import Neighbourhood
from meshcrdt.topology.overlay_terms import Mode, OverlayOutput, Say, Sight
from meshcrdt.topology.overlay_wire import Priority, Shuffle
from meshcrdt.topology.probing import Probing

SOUGHT_MAX = 6
"""Peers that are dialled for the view at once."""
SHUFFLES_MAX = 5
"""After a first link; later the directory says more."""
AGAIN_S = 1.0
"""A thin view that found nobody to ask looks again after so long."""
DOUBT_S = 10.0
"""So long after a dial in vain nobody is counted on: many may be gone at once."""
DOMAIN_RETRY_S = 10.0
SEED_SHARE = 0.2
"""Share of the dials out of view that go to the configured addresses."""
SEEDS_S = 3.0
"""So long they are needed then."""


@frozen
class Sought:
    """A peer that is dialled: until when, and for the view or to look once."""

    until: float
    for_good: bool
    priority: Priority
    since: float
    places: int = 1
    """How many neighbours it most likely brings."""

    def forgiven(self, stall_s: float) -> Sought:
        """Return the same with time in which this process stood still not counted."""
        return evolve(self, until=self.until + stall_s, since=self.since + stall_s)


class Seeking(Neighbourhood):
    """The neighbours of one node, and the search for more."""

    def __init__(
        self,
        *,
        me: PeerId,
        domain: str,
        limits: Limits,
        dice: Dice,
        discovery: Discovery,
        sight: Sight,
    ) -> None:
        super().__init__(
            me=me, domain=domain, limits=limits, dice=dice, discovery=discovery, sight=sight
        )
        self._probing = Probing(limits, dice.fork("probing"))
        self._sought: dict[PeerId, Sought] = {}
        self._thin_since: float | None = None
        self._look_at: float | None = None
        self._shuffle_at: float | None = None
        self._shuffles = 0
        self._domain_at = 0.0
        self._seeds_until = 0.0
        self._vain_at = -math.inf
        self._acted_at = 0.0
        self._retired = False

    def _look_around(self, now: float) -> list[OverlayOutput]:
        """Seek, probe and shuffle: what only a node with a partial view does."""
        partial = self.mode() is Mode.PARTIAL and not self._retired
        thin = len(self._slots) < self._limits.overlay_active_min
        if not (thin and partial):
            self._thin_since = None
        elif self._thin_since is None:
            self._thin_since = now
        if not partial:
            return []
        self._seek(now)
        self._probe(now)
        return self._shuffle(now)

    def _priority(self, now: float) -> Priority:
        """Return how much this node needs one more neighbour; one HIGH at a time is enough."""
        out = any(slot.asked is Priority.HIGH for slot in self._slots)
        since = self._thin_since
        long = since is not None and now >= since + 2 * self._limits.overlay_seed_after_s
        if not out and (long or not len(self._slots)):
            return Priority.HIGH
        lacks = self._limits.overlay_active_min - len(self._slots)
        room = self._limits.overlay_active_max - len(self._slots.unpinned())
        return Priority.BETWEEN if lacks > 0 and room > 1 else Priority.LOW

    def _needs(self, now: float) -> int:
        """Return how many neighbours are lacking beyond those that are on their way."""
        asked = sum(
            1 if slot.asked is Priority.LOW else 2
            for slot in self._slots
            if slot.asked is not None and not self._slots.is_active(slot.peer)
        )
        sought = sum(
            each.places
            for each in self._sought.values()
            if each.for_good and now < each.since + AGAIN_S
        )
        return self._limits.overlay_active_min - len(self._slots) - asked - sought

    def _seek(self, now: float) -> None:
        """Choose whom to dial for the view."""
        self._look_at = None
        domains = self._uncovered()
        need = self._needs(now)
        if need <= 0:
            self._besides.clear()
            self._look_at = self._patience_ends(now)
            if domains and now >= self._domain_at:
                self._domain_at = now + DOMAIN_RETRY_S
                domain = self._dice.choice(domains)
                links = self._candidates.size_of(domain) * self._limits.overlay_active_min
                # A domain too small to serve everybody is for those who find room there.
                enough = links >= self._candidates.known()
                self._dial_one(now, domain, Priority.HIGH if enough else Priority.LOW)
            return
        for_good = sum(sought.for_good for sought in self._sought.values())
        doubtful = now < self._vain_at + DOUBT_S
        while (need > 0 or doubtful) and for_good < SOUGHT_MAX:
            domain = self._dice.choice(domains) if domains else ""
            places = self._dial_beside(now)
            places = places or (domain and self._dial_one(now, domain, Priority.LOW)) or 0
            places = places or self._dial_one(now, "", Priority.LOW)
            if not places:
                self._look_at = now + AGAIN_S
                return
            need -= places
            for_good += 1
        self._look_at = self._patience_ends(now)

    def _patience_ends(self, now: float) -> float | None:
        """Return when somebody who is dialled for the view is not counted on any more."""
        ends = (each.since + AGAIN_S for each in self._sought.values() if each.for_good)
        return min((at for at in ends if at > now), default=None)

    def _dial_beside(self, now: float) -> int:
        """Dial who was given up for this node and so has room."""
        while self._besides:
            peer = self._besides.pop()
            if self._is_free(peer) and self._candidates.where(peer):
                until = now + self._limits.overlay_seek_s
                self._sought[peer] = Sought(until, for_good=True, priority=Priority.LOW, since=now)
                return 1
        return 0

    def _uncovered(self) -> list[str]:
        """Return the failure domains without a neighbour; none when no view could hold them all."""
        declared = self._candidates.domains()
        if len(declared) > self._limits.overlay_active_max:
            return []
        return [domain for domain in sorted(declared) if not self._slots.covers(domain)]

    def _dial_one(self, now: float, domain: str, priority: Priority) -> int:
        """Dial any member; returns how many places it is to fill, none without a candidate."""
        isolated = not len(self._slots)
        peer = self._candidates.draw(now, self._is_free, domain=domain, any_state=isolated)
        if peer is None:
            return 0
        until = now + self._limits.overlay_seek_s
        places = 1 if self._priority(now) is Priority.LOW else 2
        self._sought[peer] = Sought(until, True, priority, since=now, places=places)
        return places

    def _is_free(self, peer: PeerId) -> bool:
        return peer not in self._sought and self._slots.get(peer) is None

    def _probe(self, now: float) -> None:
        """Dial a random member out of view, when it is this node's turn."""
        if not len(self._slots):
            return  # isolated: all that is dialled is out of view
        crowd = self._candidates.living() + len(self._candidates.hearsay)
        self._probing.tune(crowd, now)
        if not self._probing.due(now):
            return
        if self._dice.chance(SEED_SHARE):
            # Islands that joined through different seeds know nothing of each other's members.
            self._probing.skip(now)
            self._seeds_until = now + SEEDS_S
            return
        picked = self._probing.pick(
            self._candidates.roster,
            now,
            fits=lambda p: self._is_free(p) and bool(self._candidates.where(p)),
            is_dead=self._candidates.is_dead,
        )
        if picked is not None:
            peer, for_good = picked
            self._counts["probes"] += 1
            until = now + self._limits.overlay_seek_s
            priority = Priority.HIGH if for_good else Priority.LOW
            self._sought[peer] = Sought(until, for_good=for_good, priority=priority, since=now)

    def _shuffle(self, now: float) -> list[OverlayOutput]:
        """Tell and ask a neighbour of others, while the directory is thin."""
        if not len(self._slots):
            self._shuffles = 0
            self._shuffle_at = None
            return []
        thin = len(self._candidates.roster) < self._limits.overlay_passive_max
        if not thin or self._shuffles >= SHUFFLES_MAX:
            self._shuffle_at = None
            return []
        if self._shuffle_at is not None and now < self._shuffle_at:
            return []
        wait_s = self._dice.uniform(0.5, 1.5) * self._limits.overlay_shuffle_interval_s
        first, self._shuffle_at = self._shuffle_at is None, now + wait_s
        if first:
            return []
        self._shuffles += 1
        peer = self._dice.choice(sorted(self._slots.active()))
        return [Say(peer, Shuffle(self._contacts_for(peer)))]

    def _times(self) -> Iterable[float | None]:
        retry_s = self._limits.overlay_ask_retry_s
        for slot in self._slots:
            yield slot.close_at
            yield None if slot.asked is None else slot.asked_at + retry_s
        yield from (sought.until for sought in self._sought.values())
        yield self._candidates.hearsay.next_deadline()
        yield self._candidates.refusals.next_deadline()
        if self._retired or self.mode() is not Mode.PARTIAL:
            return
        yield from (self._look_at, self._shuffle_at)
        if self._thin_since is not None:
            seeds_at = self._thin_since + self._limits.overlay_seed_after_s
            yield seeds_at if seeds_at > self._acted_at else None
        yield from (at for at in (self._domain_at, self._seeds_until) if at > self._acted_at)
        if len(self._slots):
            yield self._probing.next_deadline()
