"""Collects what one turn of the door produced and shapes it into effects.

Messages go straight into the queue of their link, which outlives the turn; here is noted
only that the shell must hear of it. Rows of one turn become one Persist, so they are
atomic on disk.
"""

from __future__ import annotations

from attrs import define, field

from meshcrdt.abc import Row
from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.node.effects import Changed, CloseLink, Dial, Effect, Notice, Persist, Reply, Writable
from meshcrdt.node.link_queue import ONE_FLOW, Lane
from meshcrdt.node.link_queues import LinkQueues
from meshcrdt.wire import encode

Message = tuple[Tree, ...]


@define
class Outbox:
    """The effects of one turn, in the making."""

    queues: LinkQueues
    rows: list[Row] = field(factory=list)
    plain: list[Effect] = field(factory=list)
    changed: dict[str, set[bytes]] = field(factory=dict)
    closing: dict[int, str] = field(factory=dict)

    def message(
        self,
        link: int,
        lane: Lane,
        message: Message,
        *,
        flow: bytes = ONE_FLOW,
        name: int | None = None,
    ) -> None:
        """Queue a message for a link, in the place of an unsent one of the same name."""
        has_room = self.queues.put(link, lane, encode(message), flow=flow, name=name)
        if not has_room and lane is Lane.LIVENESS:
            self.close(link, "stuck: it does not take even what tells that this node is alive")

    def reply(self, request: int, outcome: object) -> None:
        """Answer a command now."""
        self.plain.append(Reply(request, outcome))

    def dial(self, address: str) -> None:
        """Ask the shell to connect."""
        self.plain.append(Dial(address))

    def close(self, link: int, reason: str) -> None:
        """Close a link after what is queued for it."""
        self.closing.setdefault(link, reason)

    def notice(self, level: str, text: str, peer: PeerId | None = None) -> None:
        """Tell the operator something."""
        self.plain.append(Notice(level, text, peer))

    def change(self, channel: str, keys: frozenset[bytes] | set[bytes]) -> None:
        """Note changed keys; they are announced once a turn."""
        self.changed.setdefault(channel, set()).update(keys)

    def effects(self, watermark: int) -> list[Effect]:
        """Return the effects; `watermark` is that of this turn's rows, if there are any."""
        out: list[Effect] = []
        if self.rows:
            out.append(Persist(watermark, tuple(self.rows)))
        out.extend(map(Writable, self.queues.news()))
        out.extend(self.plain)
        for channel, keys in self.changed.items():
            out.append(Changed(channel, tuple(sorted(keys))))
        for link, reason in self.closing.items():
            self.queues.closing(link)
            out.append(CloseLink(link, reason))
        return out
