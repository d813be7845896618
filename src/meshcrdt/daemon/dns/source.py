"""The mesh as the zone's source of names."""

from __future__ import annotations

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

    def has_below(self, name: str) -> bool:
        """Return whether there are names below a full name; none below what cannot be one."""
        try:
            return self._mesh.names.has_below(f"{name}.")
        except ValueError:
            return False

    def universes(self) -> tuple[str, ...]:
        """Return the cluster's ranges."""
        return self._mesh.universes
