"""Every name of the cluster, indexed: the view over the streams of channel "names".

An origin writes only its own part: what it says about a name never touches what another
origin said. A lookup joins the parts. Both directions are hash lookups: an index is kept
beside the records instead of scanning them, as the peer systems do. Whether there are names
below another is asked at every query that finds none, so the names are kept in order too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from attrs import frozen

from meshcrdt.base.dnsname import DOMAIN_DEFAULT, check_name, normalise_name, qualify_name
from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError, MalformedTree, UsageError
from meshcrdt.names.records import NameRecord, address_order, normalise_address


@frozen
class NamesStatistics:
    """How much the directory holds, and how many records it could not read."""

    names: int
    records: int
    addresses: int
    malformed: int


def _hide_nothing(_: PeerId) -> bool:
    return False


class Names:
    """The directory of names; merging a record never raises."""

    def __init__(self, domain: str = DOMAIN_DEFAULT) -> None:
        """Open an empty directory; raises UsageError when `domain` is not a name."""
        self.domain = check_name(domain)
        self._by_name: dict[str, dict[PeerId, NameRecord]] = {}
        self._by_address: dict[str, dict[tuple[str, PeerId], str]] = {}
        self._backwards: list[str] = []
        """Every name read from its end, sorted: those below one name stand side by side."""
        self._records = 0
        self._malformed = 0

    # --- writes of this node -----------------------------------------------------------

    def normalise(self, name: str) -> bytes:
        """Return the record key of a name; raises UsageError naming it."""
        return normalise_name(name, self.domain).encode()

    def record(self, name: str, addresses: tuple[str, ...]) -> tuple[bytes, NameRecord]:
        """Return key and record for a local write; raises UsageError naming the bad value."""
        display = qualify_name(name, self.domain)
        return display.lower().encode(), NameRecord.make(display, addresses)

    # --- replicated records ------------------------------------------------------------

    def update(self, origin: PeerId, key: bytes, value: bytes | None) -> bool:
        """Take over what `origin` now says under `key`; None means that it says nothing.

        Returns False for a record that breaks the format: it is skipped and counted, and
        what the origin said before under that key no longer holds, so that the view is a
        function of the stored streams and not of the order in which they came.
        """
        name = self._key_text(key)
        if name is None:
            self._malformed += value is not None
            return value is None
        self._forget(origin, name)
        if value is None:
            return True
        try:
            record = NameRecord.decode(value)
        except MalformedTree:
            self._malformed += 1
            return False
        if record.display.lower() != name:
            self._malformed += 1
            return False
        parts = self._by_name.get(name)
        if parts is None:
            parts = self._by_name[name] = {}
            insort(self._backwards, name[::-1])
        parts[origin] = record
        for address in record.addresses:
            self._by_address.setdefault(address, {})[(name, origin)] = record.display
        self._records += 1
        return True

    @staticmethod
    def _key_text(key: bytes) -> str | None:
        """The name that a key spells, or None when it is not a canonical name."""
        try:
            text = key.decode("ascii")
            canonical = check_name(text).lower()
        except (UnicodeDecodeError, UsageError):
            return None
        return canonical if canonical == text else None

    def _forget(self, origin: PeerId, name: str) -> None:
        """Drop what `origin` says about `name`."""
        parts = self._by_name.get(name)
        record = parts.pop(origin, None) if parts is not None else None
        if parts is None or record is None:
            return
        if not parts:
            del self._by_name[name]
            del self._backwards[bisect_left(self._backwards, name[::-1])]
        for address in record.addresses:
            users = self._by_address[address]
            del users[(name, origin)]
            if not users:
                del self._by_address[address]
        self._records -= 1

    # --- queries -----------------------------------------------------------------------

    def lookup(
        self, name: str, hidden: Callable[[PeerId], bool] = _hide_nothing
    ) -> tuple[str, ...]:
        """Return the addresses of a name, joined over the origins that are not `hidden`.

        Sorted, IPv4 first. Empty when nobody says anything. Raises UsageError for what
        cannot be a name.
        """
        parts = self._by_name.get(normalise_name(name, self.domain))
        if not parts:
            return ()
        found = {
            address
            for origin, record in parts.items()
            if not hidden(origin)
            for address in record.addresses
        }
        return tuple(sorted(found, key=address_order))

    def has_below(self, name: str) -> bool:
        """Return whether anybody said anything of a name that ends in `.name` (RFC 8020).

        Takes O(log names). Raises UsageError for what cannot be a name.
        """
        wanted = normalise_name(name, self.domain)[::-1] + "."
        first = bisect_left(self._backwards, wanted)
        return first < len(self._backwards) and self._backwards[first].startswith(wanted)

    def own(self, origin: PeerId, name: str) -> tuple[str, ...]:
        """Return what one origin says about a name. Raises UsageError for a bad name."""
        parts = self._by_name.get(normalise_name(name, self.domain), {})
        record = parts.get(origin)
        return record.addresses if record is not None else ()

    def reverse(
        self, address: str, hidden: Callable[[PeerId], bool] = _hide_nothing
    ) -> tuple[str, ...]:
        """Return the names of an address, sorted, in the case in which they were given.

        Raises UsageError for what is not an address.
        """
        users = self._by_address.get(normalise_address(address), {})
        shown: dict[str, str] = {}
        for (name, origin), display in sorted(users.items()):
            if not hidden(origin):
                shown.setdefault(name, display)
        return tuple(shown[name] for name in sorted(shown))

    def entries(
        self, hidden: Callable[[PeerId], bool] = _hide_nothing
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (name, addresses) in the order of names, without those that are all hidden."""
        for name in sorted(self._by_name):
            parts = self._by_name[name]
            shown = [parts[origin] for origin in sorted(parts) if not hidden(origin)]
            found = {address for record in shown for address in record.addresses}
            if shown:
                yield shown[0].display, tuple(sorted(found, key=address_order))

    def statistics(self) -> NamesStatistics:
        """Return the counts."""
        return NamesStatistics(
            len(self._by_name), self._records, len(self._by_address), self._malformed
        )

    def check(self) -> None:
        """Raise InternalError unless the two indexes say the same."""
        forward = {
            (address, name, origin)
            for name, parts in self._by_name.items()
            for origin, record in parts.items()
            for address in record.addresses
        }
        backward = {
            (address, name, origin)
            for address, users in self._by_address.items()
            for name, origin in users
        }
        if forward != backward:
            raise InternalError("names: the reverse index differs from the records")
        if self._records != sum(len(parts) for parts in self._by_name.values()):
            raise InternalError("names: the count of records is wrong")
        if self._backwards != sorted(name[::-1] for name in self._by_name):
            raise InternalError("names: the order of the names differs from the names")
        if any(not parts for parts in self._by_name.values()):
            raise InternalError("names: an empty name is kept")
