"""What the cluster's domain answers: query name and type in, a verdict out. Pure.

Authoritative for the domain, for names outside it that were registered, and for the reverse
names of the cluster's ranges. NXDOMAIN (nothing by that name) and NODATA (the name is there,
not this type) are told apart (RFC 2308), also for the names between a name and the domain
(RFC 8020). Everything else is refused: the host's own resolver serves it.
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Protocol, TypeAlias

from attrs import frozen

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

TTL_S = 1
"""Names follow their workloads; who caches longer talks to the wrong host."""
SERIAL = 1
"""Nobody transfers this zone, so nobody compares its serial."""
REFRESH_S, RETRY_S, EXPIRE_S = 60, 10, 600


class Verdict(Enum):
    """How a query ends."""

    ANSWER = "answer"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    REFUSED = "refused"


@frozen
class Record:
    """One record; `owner` is a name with its final dot, `text` the data in presentation form."""

    owner: str
    kind: str
    text: str
    ttl_s: int = TTL_S


@frozen
class Answer:
    """A verdict with its records."""

    verdict: Verdict
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()


class NameSource(Protocol):
    """What the zone needs of the mesh's names. Names come without their final dot."""

    def lookup(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name."""
        ...

    def reverse(self, address: str) -> tuple[str, ...]:
        """Return the names of an address."""
        ...

    def has_below(self, name: str) -> bool:
        """Return whether there are names that end in `.name`; at every miss, so it is quick."""
        ...

    def universes(self) -> tuple[str, ...]:
        """Return the cluster's ranges."""
        ...


class Zone:
    """Answers queries from a source of names."""

    def __init__(self, domain: str, source: NameSource, *, server: tuple[str, ...] = ()) -> None:
        self.domain = domain.rstrip(".").lower() + "."
        self._source = source
        self._server = server
        """Addresses of the name server that the zone names as its own."""

    def served_at(self, address: str) -> Zone:
        """Return this zone with `ns.DOMAIN` at the listener's address.

        A listener on every address (0.0.0.0, ::) has none that could be told.
        """
        host = ipaddress.ip_address(address.partition("%")[0])
        server = () if host.is_unspecified else (str(host),)
        return Zone(self.domain, self._source, server=server)

    def query(self, name: str, kind: str, *, rotation: int = 0) -> Answer:
        """Answer one query of class IN.

        `name` has its final dot and its case as asked; `rotation` turns the order of several
        addresses, so that clients spread over them.
        """
        lowered = name.lower()
        address = address_of_reverse(lowered)
        if address is not None:
            return self._reverse(name, kind, address)
        if is_reverse(lowered):
            return self._reverse_branch(lowered)
        if lowered == self.domain:
            return self._apex(name, kind)
        addresses = self._source.lookup(lowered.rstrip("."))
        if lowered == f"ns.{self.domain}":
            # The NS and SOA records name it, so it is there whether or not somebody set it.
            addresses = addresses or self._server
        elif not addresses:
            return self._absent(lowered)
        found = [
            Record(name, family, text)
            for text in _turned(addresses, rotation)
            if (family := _family(text)) == kind or kind == "ANY"
        ]
        if not found:
            return Answer(Verdict.NODATA, authority=(self._soa(self.domain),))
        return Answer(Verdict.ANSWER, tuple(found))

    def _apex(self, name: str, kind: str) -> Answer:
        soa = self._soa(name)
        server = Record(name, "NS", f"ns.{self.domain}")
        match kind:
            case "SOA":
                return Answer(Verdict.ANSWER, (soa,))
            case "NS":
                return Answer(Verdict.ANSWER, (server,))
            case "ANY":
                return Answer(Verdict.ANSWER, (soa, server))
            case _:
                return Answer(Verdict.NODATA, authority=(soa,))

    def _absent(self, lowered: str) -> Answer:
        """Answer for a name that has no address: it may still have names below it."""
        if self._source.has_below(lowered.rstrip(".")):
            return Answer(Verdict.NODATA, authority=(self._soa(self.domain),))
        if not lowered.endswith("." + self.domain):
            return Answer(Verdict.REFUSED)
        return Answer(Verdict.NXDOMAIN, authority=(self._soa(self.domain),))

    def _reverse(self, name: str, kind: str, address: str) -> Answer:
        names = self._source.reverse(address)
        if names:
            if kind not in ("PTR", "ANY"):
                return Answer(Verdict.NODATA, authority=(self._soa(self.domain),))
            found = (Record(name, "PTR", text.rstrip(".") + ".") for text in names)
            return Answer(Verdict.ANSWER, tuple(found))
        parsed = ipaddress.ip_address(address)
        if any(parsed in ipaddress.ip_network(universe) for universe in self._source.universes()):
            return Answer(Verdict.NXDOMAIN, authority=(self._soa(self.domain),))
        return Answer(Verdict.REFUSED)

    def _reverse_branch(self, lowered: str) -> Answer:
        """Answer for part of a reverse name: there are names below it, or it is not ours."""
        branch = network_of_reverse(lowered)
        for text in self._source.universes():
            universe = ipaddress.ip_network(text)
            if branch is not None and branch.overlaps(universe):
                return Answer(Verdict.NODATA, authority=(self._soa(self.domain),))
        return Answer(Verdict.REFUSED)

    def _soa(self, owner: str) -> Record:
        times = f"{SERIAL} {REFRESH_S} {RETRY_S} {EXPIRE_S} {TTL_S}"
        return Record(owner, "SOA", f"ns.{self.domain} hostmaster.{self.domain} {times}")


def is_reverse(lowered: str) -> bool:
    """Return True for a name in the trees of addresses."""
    return lowered.endswith((".in-addr.arpa.", ".ip6.arpa."))


def address_of_reverse(lowered: str) -> str | None:
    """Return the address that a complete reverse name means, or None."""
    if lowered.endswith(".in-addr.arpa."):
        labels = lowered.removesuffix(".in-addr.arpa.").split(".")
        text = ".".join(reversed(labels))
        if len(labels) != 4:
            return None
    elif lowered.endswith(".ip6.arpa."):
        labels = lowered.removesuffix(".ip6.arpa.").split(".")
        if len(labels) != 32 or any(len(label) != 1 for label in labels):
            return None
        digits = "".join(reversed(labels))
        text = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
    else:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def network_of_reverse(lowered: str) -> Network | None:
    """Return the network that a part of a reverse name stands for, or None."""
    tree, bits = (".in-addr.arpa.", 8) if lowered.endswith(".in-addr.arpa.") else (".ip6.arpa.", 4)
    labels = lowered.removesuffix(tree).split(".")
    if bits == 8:
        padded = [*reversed(labels), "0", "0", "0", "0"][:4]
        text = ".".join(padded)
    else:
        digits = "".join(reversed(labels)).ljust(32, "0")
        text = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
    try:
        return ipaddress.ip_network(f"{text}/{bits * len(labels)}")
    except ValueError:
        return None


def _family(text: str) -> str:
    return "AAAA" if ":" in text else "A"


def _turned(addresses: tuple[str, ...], rotation: int) -> tuple[str, ...]:
    first = rotation % max(len(addresses), 1)
    return addresses[first:] + addresses[:first]
