"""Which members should be linked directly.

The place of HyParView (DSN 2007): an active view of k peers and a passive one. Up to
k + 1 members the active view is a full mesh, and that is what `FullView` asks for at any
size. With it, every unlinked member, dead ones too, is dialled by everybody, which also
does the work of the random out-of-view dials of finding F30.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from meshcrdt.base.ids import PeerId


class ActiveView(Protocol):
    """Decides who should be a neighbour; asked again whenever members or links change."""

    def wanted(
        self, candidates: Collection[PeerId], neighbours: Collection[PeerId]
    ) -> frozenset[PeerId]:
        """Return the peers, out of `candidates`, that this node should hold a link with.

        Args:
            candidates: Members in the directory that did not leave, without this node.
            neighbours: Peers that are linked now.
        """
        ...


class FullView:
    """Every member is wanted."""

    def wanted(
        self, candidates: Collection[PeerId], neighbours: Collection[PeerId]
    ) -> frozenset[PeerId]:
        """Return all candidates."""
        return frozenset(candidates)
