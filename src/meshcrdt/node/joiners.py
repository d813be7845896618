"""Links of peers that may fetch the genesis here and nothing else: none of them stays long.

Such a link is no part of the topology, so nothing probes it and no silence ends it. Hosts
that died while they joined would fill `links_max` for ever.
"""

from __future__ import annotations

from collections.abc import Container

from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.node.outbox import Outbox

REASON = "it did not join in time"


class Joiners:
    """Until when each link of a joiner may stay: `handshake_timeout_s` from its opening.

    That is longer than a live joiner needs. One whose disk is slower dials again: its own
    end, which hears nothing from us, closes after `link_silence_s` anyway.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._until: dict[int, float] = {}

    def opened(self, link: int, now: float) -> None:
        """Take in the link of a peer that has not joined."""
        self._until[link] = now + self._limits.handshake_timeout_s

    def closed(self, link: int) -> None:
        """Forget a link that ended; unknown ones change nothing."""
        self._until.pop(link, None)

    def handle_timeout(self, outbox: Outbox, now: float) -> None:
        """Close the links whose time is over."""
        if not self._until:
            return
        for link in [link for link, until in self._until.items() if until <= now]:
            del self._until[link]
            outbox.close(link, REASON)

    def next_deadline(self) -> float | None:
        """Return when the next link has to be closed, or None."""
        return min(self._until.values()) if self._until else None

    def check(self, open_links: Container[int]) -> None:
        """Raise InternalError when a link is waited for that is not open."""
        gone = [link for link in self._until if link not in open_links]
        if gone:
            raise InternalError(f"links {gone} of joiners are not open")
