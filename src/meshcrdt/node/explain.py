"""Why a key reads as it does: every held record of it, and which one wins for what reason.

For operators who see a value that they did not expect. Gossip
tells where a record came from and what superseded it; the rule of the channel's type, which
gossip does not know (finding F33), decides among those that are left.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve, frozen

from meshcrdt.base.ids import Dot, PeerId
from meshcrdt.gossip.reading import Explanation
from meshcrdt.gossip.replica import Replica
from meshcrdt.node import views
from meshcrdt.node.lattices import Lattices


class Verdict(Enum):
    """What became of a record."""

    WINS = "wins"
    LOST = "lost"
    """Concurrent with the winner, whose (counter, origin) is higher."""
    JOINED = "joined"
    """Not of a map: the value of the channel is made of all such records."""
    UNREADABLE = "unreadable"
    """Not of a map: the type that read the channel last raised on it and left it out."""
    SUPERSEDED = "superseded"
    CANCEL = "cancel"
    """No value: it only removes records of others."""
    MALFORMED = "malformed"
    """Not a record of a map, as the channel's type wants it: invisible."""


@frozen
class RecordStory:
    """One held record of a key.

    `value` is what its writer put, of a map channel without the `counter` that orders
    concurrent puts. `from_peer` is the neighbour that sent the stream as it stands, None for
    own records and those read from disk; `arrived_at` is when, in seconds of the node's clock.
    `reason` is one line for a person.
    """

    origin: PeerId
    dot: Dot
    value: bytes | None
    counter: int | None
    from_peer: PeerId | None
    arrived_at: float
    superseded_by: tuple[PeerId, ...]
    verdict: Verdict
    reason: str

    def age_s(self, now: float) -> float:
        """Return for how many seconds the record has been here, at least.

        A stream arrives as a whole: a later write of the same origin into the channel, and a
        start of this node, which reads it from disk, let its records count from 0 again.
        """
        return max(0.0, now - self.arrived_at)


@frozen
class KeyStory:
    """All held records of a key by origin; `type_name` is the declared type of the channel."""

    channel: str
    key: bytes
    type_name: str | None
    records: tuple[RecordStory, ...]

    @property
    def winner(self) -> RecordStory | None:
        """The record whose value a map shows; None for absent keys and other types."""
        return next((each for each in self.records if each.verdict is Verdict.WINS), None)


def explain(replica: Replica, lattices: Lattices, channel: str, key: bytes) -> KeyStory:
    """Return the story of a key; without records when nothing was ever held of it."""
    type_name = views.declared_type(replica, channel)
    is_map = type_name == views.MAP_TYPE
    if type_name is None and channel not in views.NODE_CHANNELS:
        is_map = key != views.LATTICE_KEY  # the declaration may still be on its way
    winner = views.map_winner(replica.visible(channel, key)) if is_map else None
    held = replica.explain(channel, key)
    records = []
    for each in held:
        story = _story(each, winner, is_map=is_map)
        why = lattices.why_left_out(channel, each.origin, each.value)
        if story.verdict is Verdict.JOINED and key == views.LATTICE_KEY and why is not None:
            story = evolve(story, verdict=Verdict.UNREADABLE, reason=f"it is left out: {why}")
        records.append(story)
    return KeyStory(channel, key, type_name, tuple(records))


def _story(held: Explanation, winner: views.Winner | None, *, is_map: bool) -> RecordStory:
    entry = views.map_entry(held.value) if is_map else None
    counter, value = (None, held.value) if entry is None else entry
    verdict, reason = _judge(held, counter, winner, is_map=is_map)
    return RecordStory(
        origin=held.origin,
        dot=held.dot,
        value=value,
        counter=counter,
        from_peer=held.from_peer,
        arrived_at=held.arrived_at,
        superseded_by=held.superseded_by,
        verdict=verdict,
        reason=reason,
    )


def _judge(
    held: Explanation, counter: int | None, winner: views.Winner | None, *, is_map: bool
) -> tuple[Verdict, str]:
    if held.value is None:
        return Verdict.CANCEL, "it has no value and removes records that its writer saw"
    if held.superseded_by:
        writers = ", ".join(str(peer) for peer in held.superseded_by)
        return Verdict.SUPERSEDED, f"its dot is named by a later write of {writers}"
    if not is_map:
        return Verdict.JOINED, "the value is the join of what all origins contributed"
    if counter is None or winner is None:
        return Verdict.MALFORMED, "it is not a record of a map and is left out"
    won = f"counter {winner.counter} of {winner.origin}"
    if held.origin == winner.origin:
        return Verdict.WINS, f"{won} is the highest (counter, origin) that nothing supersedes"
    return Verdict.LOST, f"counter {counter} of {held.origin} is below {won}"
