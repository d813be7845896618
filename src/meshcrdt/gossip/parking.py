"""Headers that wait for their deps, one a stream (rule R6, finding F7).

A header that drops a cancel names the owner header that made the cancel needless; until
that one is held, merging would bring the cancelled record back. Because a backlog
collapses to the newest header of each stream, two honest streams can come to wait for
each other (A@8 needs B>=5, and B is now at 9, which needs A>=8). So the largest set of
parked headers whose deps are met by what is held *and by each other* is released as one
step: nobody sees a state between. A liar's deps block only its own stream.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from meshcrdt.errors import InternalError
from meshcrdt.gossip.header import Dep, Ref, StreamKey
from meshcrdt.gossip.stream import State

PARKED_MAX = 1_024

HeldRef = Callable[[StreamKey], "Ref | None"]


@frozen
class Parked:
    """An assembled, proved state that waits, and the link and the hop on which it came."""

    state: State
    link: int | None
    hops: int = 0


def unmet(state: State, held: HeldRef) -> list[Dep]:
    """Return the deps of a state that are not held at least at the named header."""
    channel = state.header.channel
    missing = []
    for dep in state.header.deps:
        ref = held(StreamKey(channel, dep.origin))
        if ref is None or ref < dep.ref:
            missing.append(dep)
    return missing


class Parking:
    """At most one waiting state a stream: the greatest that came."""

    def __init__(self) -> None:
        self._parked: dict[StreamKey, Parked] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def get(self, key: StreamKey) -> Parked | None:
        """Return what waits for a stream, or None."""
        return self._parked.get(key)

    def drop(self, is_void: Callable[[State], bool]) -> None:
        """Give up what does not count any more."""
        void = [key for key, parked in self._parked.items() if is_void(parked.state)]
        for key in void:
            del self._parked[key]

    def in_channel(self, channel: str) -> bool:
        """Return whether anything waits in a channel."""
        return any(key.channel == channel for key in self._parked)

    def put(self, parked: Parked) -> None:
        """Let a state wait; a lesser one of the same stream goes, the oldest when full."""
        key = parked.state.header.stream
        before = self._parked.get(key)
        if before is not None and before.state.ref >= parked.state.ref:
            return
        self._parked[key] = parked
        if len(self._parked) > PARKED_MAX:
            del self._parked[next(iter(self._parked))]

    def release(
        self, channel: str, held: HeldRef, busy: Callable[[StreamKey], bool]
    ) -> list[Parked]:
        """Take out and return the largest set that can be merged together.

        A stream that is `busy` waits on: its own flush is at the disk and goes first.
        """
        candidates: dict[StreamKey, Parked] = {}
        for key, parked in list(self._parked.items()):
            ref = held(key)
            if ref is not None and ref >= parked.state.ref:
                del self._parked[key]
            elif key.channel == channel and not busy(key):
                candidates[key] = parked

        def reachable(key: StreamKey) -> Ref | None:
            parked = candidates.get(key)
            return held(key) if parked is None else parked.state.ref

        shrinking = True
        while shrinking:
            stuck = [key for key, parked in candidates.items() if unmet(parked.state, reachable)]
            shrinking = bool(stuck)
            for key in stuck:
                del candidates[key]
        for key in candidates:
            del self._parked[key]
        return list(candidates.values())

    def check(self) -> None:
        """Raise InternalError when the bound does not hold or a key is wrong."""
        if len(self._parked) > PARKED_MAX:
            raise InternalError("the parking has outgrown its bound")
        for key, parked in self._parked.items():
            if parked.state.header.stream != key:
                raise InternalError(f"{key} has another stream's header parked")
