"""Callers that were turned away, for status: who, why, how often.

A stranger gets no answer, so this side alone can say why a host cannot get in, or that
another cluster is pointed at this one (docs/adr/0014).
"""

from __future__ import annotations

from attrs import evolve, frozen

from meshcrdt.errors import InternalError
from meshcrdt.mesh.half_open import source_of

SOURCES_MAX = 32


@frozen(kw_only=True)
class RefusedCaller:
    """One source that was turned away: the last reason, and how often it came."""

    source: str
    reason: str
    count: int


class Refusals:
    """The latest sources that were turned away; the longest silent gives way."""

    def __init__(self) -> None:
        self._by_source: dict[str, RefusedCaller] = {}

    def note(self, remote: str, reason: str) -> None:
        """Note that a caller from `remote` was turned away."""
        source = source_of(remote)
        known = self._by_source.pop(source, RefusedCaller(source=source, reason="", count=0))
        # At the end again: a dict keeps the order in which the sources came last.
        self._by_source[source] = evolve(known, reason=reason, count=known.count + 1)
        if len(self._by_source) > SOURCES_MAX:
            del self._by_source[next(iter(self._by_source))]

    def welcomed(self, remote: str) -> None:
        """Forget a source: somebody from there was let in."""
        self._by_source.pop(source_of(remote), None)

    def latest(self) -> tuple[RefusedCaller, ...]:
        """Return the sources, the one that came last first."""
        return tuple(reversed(self._by_source.values()))

    def check(self) -> None:
        """Raise InternalError when the bound does not hold."""
        if len(self._by_source) > SOURCES_MAX:
            raise InternalError(f"{len(self._by_source)} refused sources are kept")
