"""What an own record becomes: overwriting, cancelling, and when a cancel may go.

Rules R5 and R6 (findings F6, F7). A record of another origin is removed only by naming
its dot in our own stream. Its owner drops it on sight. We drop the dot from our list only
in a header whose deps name an owner header without it. Deps are kept in every later
header: a backlog collapses to the newest header, so a dep that only one header named
would be skipped, and the removed record would come back. They go when no replica can hold
the older owner header any more, which needs receipts of all members; until then their
number is bounded, and a full list keeps cancels instead of dropping them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, field, frozen

from meshcrdt.base.ids import Dot, PeerId
from meshcrdt.gossip.header import DEPS_MAX, Dep, Ref
from meshcrdt.gossip.holdings import Channel
from meshcrdt.gossip.record import Record


class Purpose(Enum):
    """Why an own record changes."""

    PUT = "put"
    DROP = "drop"
    SEEN = "seen"
    """Another origin superseded it: the owner drops it on sight."""
    TIDY = "tidy"
    """Dots that it supersedes are gone from their owners."""
    KEEP = "keep"
    """It was lost by going back to an older disk and comes again, with its dot."""


@frozen
class Intent:
    """A staged change of one own record."""

    key: bytes
    purpose: Purpose
    value: bytes | None = None
    over: frozenset[Dot] = frozenset()
    """Dots of other origins that the user saw and goes over."""
    keep: Record | None = None


@define
class Deps:
    """The owner headers that all later own headers of a channel depend on."""

    _standing: dict[PeerId, Ref] = field(factory=dict)

    def admit(self, dep: Dep) -> bool:
        """Take a dep; returns False when the list is full."""
        known = self._standing.get(dep.origin)
        if known is None and len(self._standing) >= DEPS_MAX:
            return False
        if known is None or known < dep.ref:
            self._standing[dep.origin] = dep.ref
        return True

    def inherit(self, deps: Iterable[Dep]) -> None:
        """Go on with the deps of an earlier own header."""
        for dep in deps:
            self.admit(dep)

    def listed(self, passing: Iterable[Dep]) -> tuple[Dep, ...]:
        """Return the deps of the next header, sorted; passing ones as far as there is room."""
        merged = dict(self._standing)
        for dep in passing:
            known = merged.get(dep.origin)
            if known is None and len(merged) >= DEPS_MAX:
                continue
            if known is None or known < dep.ref:
                merged[dep.origin] = dep.ref
        return tuple(Dep(origin, merged[origin]) for origin in sorted(merged))


def still_needed(
    record: Record | None, channel: Channel, deps: Deps, *, key: bytes
) -> frozenset[Dot]:
    """Return the dots that an own record must go on superseding.

    A dot that its owner provably dropped becomes a dep instead.
    """
    needed = set()
    for dot in () if record is None else record.supersedes:
        dep = channel.settled(key, dot)
        if dep is None or not deps.admit(dep):
            needed.add(dot)
    return frozenset(needed)


def record_after(
    intent: Intent,
    current: Record | None,
    *,
    channel: Channel,
    dot: Dot,
    deps: Deps,
    passing: list[Dep],
) -> Record | None:
    """Return the own record after an intent, or None when nothing of it is left.

    `dot` is the new dot; only a user's write gets it, everything else keeps its own (F5).
    """
    needed = still_needed(current, channel, deps, key=intent.key)
    match intent.purpose:
        case Purpose.PUT:
            over = tuple(sorted(needed | intent.over))
            return Record(intent.key, dot, intent.value, over)
        case Purpose.DROP:
            over = tuple(sorted(needed | intent.over))
            return Record(intent.key, dot, None, over) if over else None
        case Purpose.SEEN:
            if current is None or not _is_superseded(current, channel, passing):
                return _tidied(current, needed)
            over = tuple(sorted(needed))
            return Record(intent.key, current.dot, None, over) if over else None
        case Purpose.TIDY:
            return _tidied(current, needed)
        case Purpose.KEEP:
            kept = intent.keep
            if kept is None or (current is not None and current.dot >= kept.dot):
                return current
            over = tuple(sorted(needed | set(kept.supersedes)))
            return Record(intent.key, kept.dot, kept.value, over)


def _tidied(current: Record | None, needed: frozenset[Dot]) -> Record | None:
    if current is None or (current.value is None and not needed):
        return None
    return Record(current.key, current.dot, current.value, tuple(sorted(needed)))


def _is_superseded(current: Record, channel: Channel, passing: list[Dep]) -> bool:
    """Return whether any held record supersedes this one.

    The superseding header becomes a passing dep: whoever sees our record go sees at the
    same moment what came in its place.
    """
    origins = channel.superseded_by(current.key, current.dot)
    passing += [Dep(origin, channel.streams[origin].state.ref) for origin in origins]
    return bool(origins)
