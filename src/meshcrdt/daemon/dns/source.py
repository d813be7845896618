"""The mesh as the zone's source of names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshcrdt.mesh.mesh import Mesh


class MeshNames:
    """Reads names from a mesh (`zone.NameSource`)."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def lookup(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a full name; none for what cannot be a name."""
        try:
            # The dot keeps a name of one label from getting the domain: queries are full names.
            return self._mesh.names.lookup(f"{name}.")
        except ValueError:
            return ()

    def reverse(self, address: str) -> tuple[str, ...]:
        """Return the names of an address."""
        return self._mesh.names.reverse(address)

    def entries(self) -> Mapping[str, tuple[str, ...]]:
        """Return every name and its addresses."""
        return self._mesh.names.entries()

    def universes(self) -> tuple[str, ...]:
        """Return the cluster's ranges."""
        return self._mesh.universes
