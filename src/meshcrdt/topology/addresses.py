"""Which member names which address in the directory, both ways round.

A change of one record costs what that record holds, whatever the size of the directory.
The dialer makes its targets out of this book when a member is wanted, and only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError

NOBODY: frozenset[PeerId] = frozenset()


class AddressBook:
    """Addresses by member and members by address."""

    def __init__(self) -> None:
        self._named: dict[PeerId, tuple[str, ...]] = {}
        self._owners: dict[str, PeerId | frozenset[PeerId]] = {}
        """One owner stands for itself: that is the rule, and there are many of them."""

    def replace(self, peer: PeerId, addresses: Iterable[str]) -> list[str]:
        """Replace what a member names; returns the addresses that came or went, sorted."""
        new = tuple(dict.fromkeys(addresses))
        old = self._named.get(peer, ())
        if new:
            self._named[peer] = new
        else:
            self._named.pop(peer, None)
        gone, came = set(old) - set(new), set(new) - set(old)
        for address in gone:
            self._settle(address, self.owners(address) - {peer})
        for address in came:
            self._settle(address, self.owners(address) | {peer})
        return sorted(gone | came)

    def of(self, peer: PeerId) -> tuple[str, ...]:
        """Return the addresses that a member names."""
        return self._named.get(peer, ())

    def owners(self, address: str) -> frozenset[PeerId]:
        """Return the members that name an address."""
        owner = self._owners.get(address)
        if owner is None:
            return NOBODY
        return owner if isinstance(owner, frozenset) else frozenset((owner,))

    def __contains__(self, address: str) -> bool:
        return address in self._owners

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def check(self) -> None:
        """Raise InternalError when the two tables disagree."""
        forth = {(peer, address) for peer, named in self._named.items() for address in named}
        back = {(peer, address) for address in self._owners for peer in self.owners(address)}
        if forth != back:
            raise InternalError(f"{len(forth ^ back)} addresses are in one table only")

    def _settle(self, address: str, owners: frozenset[PeerId]) -> None:
        if not owners:
            del self._owners[address]
        elif len(owners) == 1:
            (self._owners[address],) = owners
        else:
            self._owners[address] = owners
