"""Collects what one turn of the door produced and shapes it into effects.

Messages of one link leave in one frame per lane order, so a burst costs one sealing
(measured: a lone frame costs 35-40 us, 32 together 2.6 us each). Rows of one turn
become one Persist, so they are atomic on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field

from meshcrdt.abc import Row
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import Tree
from meshcrdt.node.effects import Changed, CloseLink, Dial, Effect, Notice, Persist, Reply, Send
from meshcrdt.wire import encode, join_frame
from meshcrdt.wire.frames import FRAME_MESSAGES_MAX

Message = tuple[Tree, ...]

FRAME_OVERHEAD_BYTES = 64
"""Room for the frame head and the seal."""


@define
class Outbox:
    """The effects of one turn, in the making."""

    limits: Limits
    messages: dict[int, list[tuple[int, bytes]]] = field(factory=dict)
    rows: list[Row] = field(factory=list)
    durable_replies: list[Reply] = field(factory=list)
    when_durable: list[Callable[[float], None]] = field(factory=list)
    when_all_durable: list[Callable[[float], None]] = field(factory=list)
    plain: list[Effect] = field(factory=list)
    changed: dict[str, set[bytes]] = field(factory=dict)
    closing: dict[int, str] = field(factory=dict)

    def message(self, link: int, lane: int, message: Message) -> None:
        """Queue a message for a link; a lower lane leaves first."""
        self.encoded(link, lane, encode(message))

    def encoded(self, link: int, lane: int, message: bytes) -> None:
        """Queue a message that is encoded already."""
        self.messages.setdefault(link, []).append((lane, message))

    def reply(self, request: int, outcome: object) -> None:
        """Answer a command now."""
        self.plain.append(Reply(request, outcome))

    def durable_reply(self, request: int, outcome: object) -> None:
        """Answer a command once the rows of this turn are on disk."""
        self.durable_replies.append(Reply(request, outcome))

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
        after = watermark if self.rows else 0
        out: list[Effect] = []
        if self.rows:
            out.append(Persist(watermark, tuple(self.rows)))
        for link, queued in self.messages.items():
            queued.sort(key=_lane)  # stable: order inside a lane is kept
            for frame in _frames([m for _, m in queued], self.limits):
                out.append(Send(link, frame))
        out.extend(self.plain)
        for channel, keys in self.changed.items():
            out.append(Changed(channel, tuple(sorted(keys))))
        for reply in self.durable_replies:
            reply.after = after
            out.append(reply)
        out.extend(CloseLink(link, reason) for link, reason in self.closing.items())
        return out


def _lane(entry: tuple[int, bytes]) -> int:
    return entry[0]


def _frames(messages: list[bytes], limits: Limits) -> Iterator[bytes]:
    """Yield as few frames as hold the messages, in order.

    A message that fits no frame by itself is left out: only one to pass on can be so large,
    from a peer whose seal is smaller than ours, and its sender hears of no acknowledgement.
    """
    room = limits.frame_bytes_max - FRAME_OVERHEAD_BYTES
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if len(message) > room:
            continue
        if size + len(message) > room or len(batch) == FRAME_MESSAGES_MAX:
            yield join_frame(batch)
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield join_frame(batch)
