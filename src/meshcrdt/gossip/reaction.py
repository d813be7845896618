"""What we do in our own streams because another moved (rules R5, R6; findings F6, F7).

An owner drops a superseded record on sight. A remover drops a cancel that its owner has
answered, but a little later: one flush for many of them.
"""

from __future__ import annotations

from meshcrdt.gossip.cancels import Intent, Purpose
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.holdings import Channel
from meshcrdt.gossip.local import Local

TIDY_AFTER_S = 3.0


class Reaction:
    """Stages what other origins' streams make necessary in ours."""

    def __init__(self, context: Context, local: Local) -> None:
        self._context = context
        self._local = local
        self.answered: set[tuple[str, bytes]] = set()
        """(channel, key) of own cancels that may go."""
        self._due: float | None = None

    def moved(self, channel: Channel, changed: frozenset[bytes] | None) -> None:
        """Look at own records under keys that changed, or (None) at all of a channel."""
        mine = channel.streams.get(self._context.me)
        if mine is None:
            return
        tree = mine.state.tree
        for key in [entry.key for entry in tree.entries()] if changed is None else changed:
            own = tree.get(key)
            if own is None:
                continue
            if own.value is not None and channel.superseded_by(key, own.dot):
                self._local.stage(channel.name, Intent(key, Purpose.SEEN))
            if any(channel.settled(key, dot) is not None for dot in own.supersedes):
                self.answered.add((channel.name, key))
                self._due = self._due or self._context.now + TIDY_AFTER_S

    def handle_timeout(self) -> None:
        """Stage the dropping of answered cancels when it is time."""
        if self._due is not None and self._due <= self._context.now:
            self.tidy()

    def tidy(self) -> None:
        """Stage the dropping of answered cancels."""
        self._due = None
        for channel, key in sorted(self.answered):
            self._local.stage(channel, Intent(key, Purpose.TIDY))
        self.answered.clear()

    def next_deadline(self) -> float | None:
        """Return when answered cancels go, or None."""
        return self._due
