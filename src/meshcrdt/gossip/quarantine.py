"""Headers that break a rule: kept by hash, so that each is judged once.

A header here is signed by its origin and wrong for everybody, by a pure function; it is
skipped, and whoever offers it is told `refused` once (finding F11). A bad signature never
comes here: it says something about the sender, and the same header may be good.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import StreamKey

ENTRIES_MAX = 1_024


@frozen
class Offence:
    """One quarantined header: which rule it breaks, since when, and who brought it first."""

    stream: StreamKey
    hash: bytes
    rule: str
    first_seen: float
    from_peer: PeerId | None


class Quarantine:
    """The last offences, by header hash; the oldest goes when it is full."""

    def __init__(self) -> None:
        self._offences: OrderedDict[bytes, Offence] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offences)

    def add(self, offence: Offence) -> None:
        """Remember an offence."""
        self._offences.setdefault(offence.hash, offence)
        if len(self._offences) > ENTRIES_MAX:
            self._offences.popitem(last=False)

    def rule(self, header_hash: bytes) -> str | None:
        """Return the rule that a header broke, or None."""
        offence = self._offences.get(header_hash)
        return None if offence is None else offence.rule

    def offences(self) -> tuple[Offence, ...]:
        """Return every offence that is remembered, oldest first."""
        return tuple(self._offences.values())

    def check(self) -> None:
        """Raise InternalError when the bound does not hold."""
        if len(self._offences) > ENTRIES_MAX:
            raise InternalError("the quarantine has outgrown its bound")
