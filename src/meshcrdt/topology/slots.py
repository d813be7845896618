"""The links of the overlay by peer: what each is for, and which of them are the active view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from attrs import define

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.overlay_wire import Priority


class Purpose(Enum):
    """What a link is for; the values are those of `status --json`."""

    ACTIVE = "active"
    """Both ends are neighbours."""
    PINNED = "pinned"
    """An end without discovery configured it: it is kept for ever."""
    CONTACT = "contact"
    """Nobody's neighbour, or not yet, or not any more; it ends soon."""
    PROBE = "probe"
    """A dial out of view; it ends soon."""


@define
class Slot:
    """One linked peer. Times in seconds of the machine's clock."""

    peer: PeerId
    opened_at: float
    purpose: Purpose = Purpose.CONTACT
    domain: str = ""
    asked: Priority | None = None
    """What it was asked with, while the answer is out."""
    asked_at: float = 0.0
    asks: int = 0
    instead_of: PeerId | None = None
    """The neighbour that is given up for this one, if it says yes."""
    close_at: float | None = None

    def forgive(self, stall_s: float) -> None:
        """Do not count time in which this process stood still."""
        self.asked_at += stall_s
        if self.close_at is not None:
            self.close_at += stall_s


class Slots:
    """All linked peers of one node."""

    def __init__(self) -> None:
        self._slots: dict[PeerId, Slot] = {}
        self._active: dict[PeerId, Slot] = {}

    def open(self, peer: PeerId, now: float) -> Slot:
        """Make the slot of a peer that has a link now."""
        slot = self._slots[peer] = Slot(peer, now)
        return slot

    def close(self, peer: PeerId) -> Slot | None:
        """Forget the slot of a peer that has no link any more."""
        self._active.pop(peer, None)
        return self._slots.pop(peer, None)

    def ask(self, slot: Slot, priority: Priority, now: float) -> None:
        """Note that a peer is asked to be a neighbour."""
        slot.asks = slot.asks + 1 if slot.asked is priority else 1
        slot.asked, slot.asked_at = priority, now

    def activate(self, slot: Slot, purpose: Purpose = Purpose.ACTIVE) -> None:
        """Make a linked peer a neighbour; a pinned one stays pinned."""
        if slot.purpose is not Purpose.PINNED:
            slot.purpose = purpose
        slot.asked = slot.close_at = slot.instead_of = None
        self._active[slot.peer] = slot

    def release(self, slot: Slot, close_at: float) -> None:
        """Make a peer a neighbour no more; its link ends at `close_at` at the latest."""
        slot.purpose = Purpose.CONTACT
        slot.asked = slot.instead_of = None
        slot.close_at = close_at
        self._active.pop(slot.peer, None)

    def get(self, peer: PeerId) -> Slot | None:
        """Return the slot of a peer, or None without a link."""
        return self._slots.get(peer)

    def active(self) -> frozenset[PeerId]:
        """Return the neighbours."""
        return frozenset(self._active)

    def is_active(self, peer: PeerId) -> bool:
        """Return True for a neighbour."""
        return peer in self._active

    def unpinned(self) -> list[Slot]:
        """Return the neighbours that may be given up, in the order in which they came."""
        return [slot for slot in self._active.values() if slot.purpose is not Purpose.PINNED]

    def asking(self) -> int:
        """Return how many peers that are no neighbours were asked and did not answer yet."""
        return sum(s.asked is not None and s.peer not in self._active for s in self)

    def covers(self, domain: str, *, besides: PeerId | None = None) -> bool:
        """Return True when a neighbour is of that failure domain."""
        return any(s.domain == domain and s.peer != besides for s in self._active.values())

    def spare(self, slot: Slot) -> bool:
        """Return True when the view does without a neighbour: its domain has another one."""
        return not slot.domain or self.covers(slot.domain, besides=slot.peer)

    def slowest(self, rtt_of: Callable[[PeerId], float | None], keep: int) -> Slot | None:
        """Return the neighbour with the longest round trip; the `keep` oldest stay random."""
        rated = [
            (rtt_s, slot.peer, slot)
            for slot in self.unpinned()[keep:]
            if (rtt_s := rtt_of(slot.peer)) is not None and self.spare(slot)
        ]
        return max(rated, key=lambda entry: entry[:2])[2] if rated else None

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def linked(self) -> int:
        """Return how many peers have a link."""
        return len(self._slots)

    def check(self) -> None:
        """Raise InternalError when the tables disagree, or a link has no end and no reason."""
        for peer, slot in self._active.items():
            if self._slots.get(peer) is not slot:
                raise InternalError(f"{peer} is a neighbour without a link")
            if slot.purpose not in (Purpose.ACTIVE, Purpose.PINNED) or slot.close_at is not None:
                raise InternalError(f"the neighbour {peer} is {slot.purpose.value}, or ends")
        for slot in self:
            if slot.peer not in self._active and slot.close_at is None:
                raise InternalError(f"the link to {slot.peer} is kept for nothing")
