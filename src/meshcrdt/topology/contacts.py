"""Peers that could become neighbours: the directory's, and those that others told of.

HyParView (DSN 2007) keeps a passive view, a random sample of the members that shuffles
renew. Here the whole directory is at hand, so the sample is drawn at the moment that it is
needed, and is never stale. Only a node whose directory is thin (it joins just now) lives on
contacts: what neighbours told of peers and their addresses, bounded and soon forgotten.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from attrs import define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError


@frozen
class Contact:
    """A peer and where it can be dialled, by hearsay: only its handshake proves it."""

    peer: PeerId
    addresses: tuple[str, ...]


class Roster:
    """A set of peers that a random one can be drawn from: sorted, so a seed keeps its meaning."""

    def __init__(self) -> None:
        self._peers: list[PeerId] = []

    def add(self, peer: PeerId) -> None:
        """Take a peer in."""
        at = bisect_left(self._peers, peer)
        if at == len(self._peers) or self._peers[at] != peer:
            self._peers.insert(at, peer)

    def discard(self, peer: PeerId) -> None:
        """Take a peer out, if it is in."""
        at = bisect_left(self._peers, peer)
        if at < len(self._peers) and self._peers[at] == peer:
            del self._peers[at]

    def draw(self, dice: Dice) -> PeerId:
        """Return any peer; the roster must not be empty."""
        return dice.choice(self._peers)

    def __contains__(self, peer: PeerId) -> bool:
        at = bisect_left(self._peers, peer)
        return at < len(self._peers) and self._peers[at] == peer

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[PeerId]:
        return iter(self._peers)


@define
class _Heard:
    addresses: tuple[str, ...]
    until: float


class Hearsay:
    """Contacts without a record in the directory: bounded, oldest out, soon forgotten.

    Args:
        limits: `overlay_passive_max` and `overlay_contact_age_s` are used.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heard: dict[PeerId, _Heard] = {}

    def learn(self, contacts: Iterable[Contact], now: float) -> None:
        """Take contacts in; what was heard last counts."""
        for contact in contacts:
            self._heard.pop(contact.peer, None)
            until = now + self._limits.overlay_contact_age_s
            self._heard[contact.peer] = _Heard(contact.addresses, until)
        while len(self._heard) > self._limits.overlay_passive_max:
            del self._heard[next(iter(self._heard))]

    def discard(self, peer: PeerId) -> None:
        """Forget a contact: it did not answer, or has a record now."""
        self._heard.pop(peer, None)

    def expire(self, now: float) -> None:
        """Forget what was heard too long ago. The oldest come first."""
        while self._heard and now >= next(iter(self._heard.values())).until:
            del self._heard[next(iter(self._heard))]

    def next_deadline(self) -> float | None:
        """Return when the oldest contact is forgotten, or None."""
        return next(iter(self._heard.values())).until if self._heard else None

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Return where a peer is said to be."""
        heard = self._heard.get(peer)
        return () if heard is None else heard.addresses

    def peers(self) -> list[PeerId]:
        """Return the contacts, oldest first."""
        return list(self._heard)

    def __len__(self) -> int:
        return len(self._heard)

    def check(self) -> None:
        """Raise InternalError when the bound is broken."""
        if len(self._heard) > self._limits.overlay_passive_max:
            raise InternalError(f"{len(self._heard)} contacts are kept by hearsay")
