"""Yes or no to a peer that asks to be a neighbour, and whom to give up for it.

The half of the overlay that answers. What it promises: HIGH and PINNED are refused by
nobody, the view stays within its bound, nobody is turned away without others to ask, and a
neighbour that alone covers a failure domain is given up last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import Tree
from meshcrdt.topology.candidates import Candidates
from meshcrdt.topology.contacts import Contact
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.overlay_terms import Mode, OverlayOutput, Say, Sight
from meshcrdt.topology.overlay_wire import (
    Disconnect,
    Neighbour,
    NeighbourReply,
    Priority,
    Shuffle,
    ShuffleReply,
    from_tree,
)
from meshcrdt.topology.slots import Purpose, Slot, Slots

SEARCHING = (Priority.HIGH, Priority.BETWEEN)
"""Who asks so goes on looking for neighbours."""
REFUSED_PAUSE_S = 5.0
"""So long who turned us away is not asked again; longer each time."""


class Neighbourhood:
    """The neighbours of one node, and what it answers to who wants to be one."""

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
        self._me = me
        self._domain = domain
        self._limits = limits
        self._dice = dice
        self._discovery = discovery
        self._sight = sight
        self._candidates = Candidates(
            me=me, limits=limits, dice=dice.fork("candidates"), addresses=sight.addresses
        )
        self._slots = Slots()
        self._besides: list[PeerId] = []
        """Peers that were given up for this node, and have room: to be asked first."""
        self._counts: Counter[str] = Counter()
        self._moved = True

    def mode(self) -> Mode:
        """Return how links are chosen, as far as this node knows the cluster."""
        if self._discovery is Discovery.OFF:
            return Mode.CONFIGURED
        return Mode.FULL if self._is_small() else Mode.PARTIAL

    def received(self, peer: PeerId, tree: tuple[Tree, ...], now: float) -> list[OverlayOutput]:
        """Handle a message of a linked peer. Raises MalformedTree."""
        message = from_tree(tree)
        slot = self._slots.get(peer)
        if slot is None:
            return []
        self._moved = True
        match message:
            case Neighbour():
                return self._asked(slot, message, now)
            case NeighbourReply():
                self._learn(message.contacts, now)
                return self._answered(slot, message, now)
            case Disconnect():
                self._learn(message.contacts, now)
                return self._given_up(slot, now)
            case Shuffle():
                self._learn(message.contacts, now)
                return [Say(peer, ShuffleReply(self._contacts_for(peer)))]
            case ShuffleReply():
                self._learn(message.contacts, now)
                return []

    # --- answering ---------------------------------------------------------------------

    def _asked(self, slot: Slot, message: Neighbour, now: float) -> list[OverlayOutput]:
        if message.domain:
            slot.domain = message.domain
        if not self._accepts(slot, message.priority):
            self._counts["refused"] += 1
            self._slots.release(slot, now + self._limits.overlay_link_grace_s)
            return [Say(slot.peer, NeighbourReply(False, self._contacts_for(slot.peer)))]
        pinned = message.priority is Priority.PINNED
        self._take(slot, Purpose.PINNED if pinned else Purpose.ACTIVE)
        trimmed = self._trim(now, keep=slot)
        given_up = [said.peer for said in trimmed]
        contacts: tuple[Contact, ...] = ()
        if message.priority in SEARCHING and not self._is_small():
            contacts = self._contacts_for(slot.peer, first=given_up)
        between = bool(contacts) and contacts[0].peer in given_up
        return [Say(slot.peer, NeighbourReply(True, contacts, between)), *trimmed]

    def _answered(self, slot: Slot, reply: NeighbourReply, now: float) -> list[OverlayOutput]:
        if slot.asked is None:
            return []  # a repetition, or we have given up waiting: then the link ends
        victim = None if slot.instead_of is None else self._slots.get(slot.instead_of)
        if reply.accepted:
            self._take(slot)
            self._besides.extend(contact.peer for contact in reply.contacts[: reply.between])
            if victim is not None and self._slots.is_active(victim.peer):
                self._counts["swapped"] += 1
                return [self._give_up(victim, now)]
            return [*self._trim(now, keep=slot)]
        if slot.purpose is not Purpose.PINNED:
            self._turned_away(slot.peer, now)
            # Who has no other link keeps this one for its grace; the other end closes it then.
            wait_s = 0.0 if len(self._slots) else 2 * self._limits.overlay_link_grace_s
            self._slots.release(slot, now + wait_s)
        return []

    def _given_up(self, slot: Slot, now: float) -> list[OverlayOutput]:
        if slot.purpose is Purpose.PINNED:
            return [self._ask(slot, Priority.PINNED, now)]
        self._turned_away(slot.peer, now)
        self._slots.release(slot, now + 2 * self._limits.overlay_link_grace_s)
        return []

    def _turned_away(self, peer: PeerId, now: float) -> None:
        self._candidates.refusals.disappointed(peer, now, pause_s=REFUSED_PAUSE_S)
        self._candidates.damping.disappointed(peer, now, pause_s=REFUSED_PAUSE_S)

    def _accepts(self, slot: Slot, priority: Priority) -> bool:
        if priority in (Priority.HIGH, Priority.PINNED) or self._is_small():
            return True
        if slot.asked is not None or self._slots.is_active(slot.peer):
            return True
        return self._has_room() or (priority is Priority.BETWEEN and bool(self._slots.unpinned()))

    # --- the view ----------------------------------------------------------------------

    def _is_small(self) -> bool:
        return self._candidates.known() <= self._limits.overlay_full_mesh_max

    def _has_room(self) -> bool:
        taken = len(self._slots.unpinned()) + self._slots.asking()
        return taken < self._limits.overlay_active_max

    def _take(self, slot: Slot, purpose: Purpose = Purpose.ACTIVE) -> None:
        self._candidates.refusals.forgive(slot.peer)
        self._slots.activate(slot, purpose)

    def _ask(self, slot: Slot, priority: Priority, now: float) -> OverlayOutput:
        """Ask a linked peer to be a neighbour; without an answer the link ends."""
        self._slots.ask(slot, priority, now)
        if not self._slots.is_active(slot.peer):
            slot.close_at = now + 2 * self._limits.overlay_link_grace_s
        self._counts["asked"] += 1
        return Say(slot.peer, Neighbour(priority, self._domain))

    def _trim(self, now: float, *, keep: Slot | None = None) -> list[Say]:
        """Give up neighbours beyond the bound; not `keep`, which has just come."""
        outputs: list[Say] = []
        while not self._is_small():
            unpinned = self._slots.unpinned()
            if len(unpinned) <= self._limits.overlay_active_max:
                break
            others = [slot for slot in unpinned if slot is not keep]
            victim = self._dice.choice([s for s in others if self._slots.spare(s)] or others)
            self._counts["evicted"] += 1
            outputs.append(self._give_up(victim, now))
        return outputs

    def _give_up(self, slot: Slot, now: float) -> Say:
        self._slots.release(slot, now + self._limits.overlay_link_grace_s)
        return Say(slot.peer, Disconnect(self._contacts_for(slot.peer)))

    def _contacts_for(self, peer: PeerId, first: Sequence[PeerId] = ()) -> tuple[Contact, ...]:
        return self._candidates.contacts(self._slots.active(), peer, first=first)

    def _learn(self, contacts: Iterable[Contact], now: float) -> None:
        if self._discovery is Discovery.ON:
            self._candidates.learn(contacts, now)
