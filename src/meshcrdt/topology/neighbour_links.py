"""Carries what the overlay wants to the links, and what comes in on links to the overlay.

The overlay thinks in peers, the transport in links; a peer may have two for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.dialer import Dialer
from meshcrdt.topology.links import LinkEntry, Links
from meshcrdt.topology.outputs import CloseLink, ToLink, TopologyOutput
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import Drop, OverlayOutput
from meshcrdt.topology.overlay_wire import to_tree


class NeighbourLinks:
    """Stands between the overlay of one node and its links and dials."""

    def __init__(
        self,
        links: Links,
        overlay: Overlay,
        dialer: Dialer,
        *,
        parted: Callable[[PeerId, str, float], None],
    ) -> None:
        """Make one; `parted` is told of each peer whose last link this end gives up."""
        self._links = links
        self._overlay = overlay
        self._dialer = dialer
        self._parted = parted

    def received(
        self, link: int, message: tuple[Tree, ...], now: float
    ) -> tuple[LinkEntry | None, list[TopologyOutput]]:
        """Handle a message. A malformed one closes the link, which is then returned."""
        entry = self._links.entry(link)
        if entry is None:
            return None, []
        outputs = self._links.heard(link, now)
        try:
            said = self._overlay.received(entry.peer, message, now)
        except MalformedTree as error:
            lost = self._links.closed(link)
            return lost, [*outputs, CloseLink(link, str(error))]
        return None, outputs + self.carry(said, now)

    def dial_failed(self, address: str, reason: str, now: float, *, refused: bool) -> None:
        """Take in that a dial came to nothing; who was sought there may be given up."""
        sought = self._dialer.at(address)
        self._dialer.failed(address, reason, now, refused=refused)
        for peer in sorted(sought):
            if self._dialer.gave_all(peer):
                self._overlay.dial_failed(peer, now)

    def carry(self, said: Iterable[OverlayOutput], now: float) -> list[TopologyOutput]:
        """Do what the overlay wants done."""
        outputs: list[TopologyOutput] = []
        for output in said:
            if isinstance(output, Drop):
                outputs.extend(self._drop(output, now))
                continue
            link = self._links.link_to(output.peer)
            if link is not None:
                outputs.append(ToLink(link, to_tree(output.message)))
        return outputs

    def _drop(self, output: Drop, now: float) -> list[TopologyOutput]:
        outputs: list[TopologyOutput] = []
        for entry in [e for e in self._links.entries() if e.peer == output.peer]:
            self._links.closed(entry.link)
            self._dialer.lost(entry.peer, now, lived_s=now - entry.opened_at)
            outputs.append(CloseLink(entry.link, output.reason, agreed=True))
        if outputs:
            self._parted(output.peer, output.reason, now)
        return outputs
