"""Floor 7: what we give embedders: laws and strategies for lattices and worlds, suites for shells.

Hypothesis is asked for only when a name that needs it is used; the conformance suites of
transports and stores are modules of their own and do without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshcrdt.testing.history import History, LawBroken, Site, histories
    from meshcrdt.testing.laws import LAWS, check_laws, lattice_laws
    from meshcrdt.testing.strategies import elements, histories_of, trees
    from meshcrdt.testing.worlds import scenarios

_HOMES = {
    "History": "history",
    "LAWS": "laws",
    "LawBroken": "history",
    "Site": "history",
    "check_laws": "laws",
    "elements": "strategies",
    "histories": "history",
    "histories_of": "strategies",
    "lattice_laws": "laws",
    "scenarios": "worlds",
    "trees": "strategies",
}

__all__ = [
    "LAWS",
    "History",
    "LawBroken",
    "Site",
    "check_laws",
    "elements",
    "histories",
    "histories_of",
    "lattice_laws",
    "scenarios",
    "trees",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use; raises MissingExtra without Hypothesis."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
