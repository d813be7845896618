"""Who could become a neighbour: drawn at random from the directory and from hearsay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.contacts import Contact, Hearsay, Roster
from meshcrdt.topology.damping import Damping
from meshcrdt.topology.overlay_wire import ADDRESSES_MAX

SCAN_MAX = 64
"""Up to so many are gone through one by one; of more, random ones are tried."""
DRAWS_MAX = 32


class Candidates:
    """The members, the contacts, who of them is dead, and who is to be left alone.

    Args:
        me: This node, which is no candidate.
        limits: `overlay_*` bounds.
        dice: Draws.
        addresses: Where the directory says that a peer can be dialled.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        limits: Limits,
        dice: Dice,
        addresses: Callable[[PeerId], tuple[str, ...]],
    ) -> None:
        self._me = me
        self._limits = limits
        self._dice = dice
        self._addresses = addresses
        self.roster = Roster()
        self.hearsay = Hearsay(limits)
        self.damping = Damping(limits)
        self.refusals = Damping(limits)
        """Who turned this node away: not even a configured address of it is dialled at once."""
        self._dead: set[PeerId] = set()
        self._domain_of: dict[PeerId, str] = {}
        self._in_domain: dict[str, Roster] = {}

    # --- who there is ------------------------------------------------------------------

    def member(self, peer: PeerId, domain: str) -> None:
        """Take a member in, or note that it declares another failure domain; empty is none."""
        if peer == self._me:
            return
        self.roster.add(peer)
        self.hearsay.discard(peer)
        if self._domain_of.get(peer, "") != domain:
            self._leave_domain(peer)
            if domain:
                self._domain_of[peer] = domain
                self._in_domain.setdefault(domain, Roster()).add(peer)

    def gone(self, peer: PeerId) -> None:
        """Take a member out: it left, or has no record any more."""
        self.roster.discard(peer)
        self._dead.discard(peer)
        self._leave_domain(peer)

    def died(self, peer: PeerId) -> None:
        """Note that a member is taken for dead: only a node without neighbours asks it."""
        if peer in self.roster:
            self._dead.add(peer)

    def lives(self, peer: PeerId) -> bool:
        """Note that a member is not dead; returns True when it was."""
        was = peer in self._dead
        self._dead.discard(peer)
        return was

    def learn(self, contacts: Iterable[Contact], now: float) -> None:
        """Take in what a neighbour told; of members the directory says where they are."""
        news = [
            contact
            for contact in contacts
            if contact.peer != self._me and contact.addresses and contact.peer not in self.roster
        ]
        self.hearsay.learn(news, now)

    def is_dead(self, peer: PeerId) -> bool:
        """Return True while a member is taken for dead."""
        return peer in self._dead

    def known(self) -> int:
        """Return how many peers there are as far as this node knows, itself included."""
        return 1 + len(self.roster) + len(self.hearsay)

    def living(self) -> int:
        """Return how many members are not dead, this node included."""
        return 1 + len(self.roster) - len(self._dead)

    def domain(self, peer: PeerId) -> str:
        """Return the failure domain that a member declares, or the empty text."""
        return self._domain_of.get(peer, "")

    def size_of(self, domain: str) -> int:
        """Return how many members declare a failure domain."""
        return len(self._in_domain.get(domain, ()))

    def domains(self) -> Collection[str]:
        """Return the failure domains that members declare."""
        return self._in_domain

    # --- drawing -----------------------------------------------------------------------

    def where(self, peer: PeerId) -> tuple[str, ...]:
        """Return the addresses to dial a peer at: the directory's, else hearsay."""
        return self._addresses(peer) or self.hearsay.addresses(peer)

    def heard(self, peers: Iterable[PeerId]) -> Mapping[PeerId, tuple[str, ...]]:
        """Return the addresses of those peers that are known by hearsay only."""
        return {peer: found for peer in peers if (found := self.hearsay.addresses(peer))}

    def draw(
        self, now: float, fits: Callable[[PeerId], bool], *, domain: str = "", any_state: bool
    ) -> PeerId | None:
        """Return a random peer that fits and can be dialled, of a failure domain where given.

        Without `any_state` the dead and those to be left alone do not count.
        """

        def suits(peer: PeerId) -> bool:
            if not any_state and (peer in self._dead or not self.damping.allows(peer, now)):
                return False
            return fits(peer) and self.refusals.allows(peer, now) and bool(self.where(peer))

        if domain:
            members, strangers = self._in_domain.get(domain, Roster()), []
        else:
            members, strangers = self.roster, self.hearsay.peers()
        count = len(members) + len(strangers)
        if count <= SCAN_MAX:
            everybody = [*members, *strangers]
            return next((p for p in self._dice.sample(everybody, count) if suits(p)), None)
        for _ in range(DRAWS_MAX):
            heard = self._dice.integer(0, count - 1) >= len(members)
            peer = self._dice.choice(strangers) if heard else members.draw(self._dice)
            if suits(peer):
                return peer
        return None

    def contacts(
        self, near: Iterable[PeerId], without: PeerId, *, first: Iterable[PeerId] = ()
    ) -> tuple[Contact, ...]:
        """Return some peers to tell another of: half of them `near`, all with an address.

        Those of `first` that have one come first.
        """
        most = self._limits.overlay_contacts_max
        found = {p for p in self._dice.sample(sorted(near), most) if p != without and self.where(p)}
        while len(found) > most // 2:
            found.discard(max(found))
        for _ in range(2 * most):
            if len(found) >= most:
                break
            peer = self.draw(0.0, lambda p: p != without and p not in found, any_state=False)
            if peer is None:
                break
            found.add(peer)
        ahead = [peer for peer in first if self.where(peer)][:most]
        rest = sorted(found.difference(ahead))[: most - len(ahead)]
        return tuple(Contact(peer, self.where(peer)[:ADDRESSES_MAX]) for peer in (*ahead, *rest))

    def check(self) -> None:
        """Raise InternalError when a table or a bound is broken."""
        self.hearsay.check()
        self.damping.check()
        self.refusals.check()
        if any(peer not in self.roster for peer in self._dead):
            raise InternalError("somebody is dead without being a member")
        if sum(map(len, self._in_domain.values())) != len(self._domain_of):
            raise InternalError("a member is in two failure domains, or its domain is unknown")

    def _leave_domain(self, peer: PeerId) -> None:
        domain = self._domain_of.pop(peer, None)
        if domain is not None:
            self._in_domain[domain].discard(peer)
            if not len(self._in_domain[domain]):
                del self._in_domain[domain]
