"""Looks over the driver's shoulder: what changed in the mesh, and how dials ended.

The daemon reacts to changes of members, endpoints and names without polling, and learns
here that every peer that answers refuses it. It runs inside every event of the node: what it
does there is little.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import frozen

from meshcrdt.node import views
from meshcrdt.node.effects import Changed
from meshcrdt.node.events import DialFailed, LinkClosed, LinkOpened

_FORWARDING_CHANNELS = frozenset({views.ENDPOINTS, views.DIRECTORY})


@frozen
class DialEnd:
    """How the last dial of an address ended."""

    is_refused: bool
    reason: str


class Wake:
    """Wakes any number of waiting tasks; one that is not waiting misses nothing it can see."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake everyone who waits."""
        self._event.set()
        self._event = trio.Event()

    def next(self) -> trio.Event:
        """Return the event of the next wake-up: take it before looking, then wait for it."""
        return self._event


class Observer:
    """An instrument of the mesh (`abc.Instrument`)."""

    def __init__(self) -> None:
        self.forwarding = Wake()
        """Members or endpoints changed: what the dataplane is made of."""
        self.dial_failed = Wake()
        self.dials: dict[str, DialEnd] = {}

    def before_handle(self, event: object, now: float) -> None:
        """Keep how dials end."""
        match event:
            case DialFailed():
                self.dials[event.address] = DialEnd(event.refused, event.reason)
                self.dial_failed.set()
            case LinkOpened():
                self.dials.pop(event.address, None)

    def after_handle(self, event: object, effects: Sequence[object], now: float) -> None:
        """Wake whoever waits for changes."""
        changed = {effect.channel for effect in effects if isinstance(effect, Changed)}
        if changed & _FORWARDING_CHANNELS or isinstance(event, (LinkOpened, LinkClosed)):
            self.forwarding.set()
