"""Callers that were turned away, for status and the log: who, why, how often.

A stranger gets no answer, so this side alone can say why a host cannot get in, or that
another cluster is pointed at this one (docs/adr/0014).
"""

from __future__ import annotations

from attrs import define, evolve, frozen

from meshcrdt.errors import InternalError
from meshcrdt.mesh.half_open import source_of

SOURCES_MAX = 32
REPEAT_PAUSE_S = 60.0
"""The least time between two lines of the log about one source and one reason."""
LINE_PAUSE_S = 1.0
"""The least time between any two lines: strangers come from as many sources as they like."""


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


@define
class _Said:
    """What the log was told of one source and one reason."""

    at: float
    unsaid: int = 0


class RefusalLog:
    """Chooses what the log is told: each source and reason once, then now and then a count."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], _Said] = {}
        self._quiet_until = float("-inf")

    def line(self, remote: str, reason: str, now: float) -> str | None:
        """Return the line for a caller that was turned away at `now` seconds, or None."""
        # The port is another one at each call.
        key = (source_of(remote), reason.replace(remote, ""))
        said = self._said.get(key)
        is_due = said is None or now - said.at >= REPEAT_PAUSE_S
        if not is_due or now < self._quiet_until:
            if said is not None:
                said.unsaid += 1
            return None
        self._quiet_until = now + LINE_PAUSE_S
        self._said.pop(key, None)
        self._said[key] = _Said(now)
        if len(self._said) > SOURCES_MAX:
            del self._said[next(iter(self._said))]
        if said is None or not said.unsaid:
            return reason
        return f"{reason} (and {said.unsaid} times more in the last {now - said.at:.0f} s)"
