"""Nodes without a network, a disk or a clock: the engine as an embedder's shell drives it.

Everything goes through the door of the node, `handle(event, now)`: writes are signed, frames
are decoded and checked, as they are between hosts. Only sealing and sockets are left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.effects import Effect, Persist, Writable
from meshcrdt.node.events import FrameReceived, LinkClosed, LinkOpened, Persisted, Put
from meshcrdt.node.messages import GOSSIP_CODES
from meshcrdt.node.node import Node
from meshcrdt.topology.links import Direction
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import decode_frame

FOUNDER = Identity(b"\x01" * 32)
CHANNEL = "bench/map"
PING, PONG = 0, 1
ROOT_BYTES_MIN = 8


def make(number: int, universes: Iterable[str] = ("10.32.0.0/12",)) -> Node:
    """Return a started node; number 1 is the founder and lone guardian."""
    genesis = Genesis.make(FOUNDER, list(universes), nonce=b"\x01" * 16)
    identity = Identity(number.to_bytes(32, "big")) if number != 1 else FOUNDER
    config = NodeConfig(
        identity=identity,
        epoch=Epoch(1, number.to_bytes(8, "big")),
        genesis=genesis,
        name=f"n{number}",
    )
    node = Node(config, Dice(number.to_bytes(8, "big")))
    perform(node, node.load({}, 0.0), 0.0)
    return node


def perform(node: Node, effects: Iterable[Effect], now: float) -> list[tuple[int, bytes]]:
    """Let the disk answer at once; return (link, frame) of all that is sent."""
    sent: list[tuple[int, bytes]] = []
    todo = list(effects)
    while todo:
        effect = todo.pop(0)
        if isinstance(effect, Persist):
            todo += node.handle(Persisted(effect.watermark), now)
        elif isinstance(effect, Writable):
            while (frame := node.next_frame(effect.link)) is not None:
                sent.append((effect.link, frame))
    return sent


class Pair:
    """Two nodes and the one link between them, on a clock that only this moves."""

    LINK = 1

    def __init__(self, a: Node, b: Node) -> None:
        self.a, self.b = a, b
        self.now = 0.0
        self.bytes = {a.me: 0, b.me: 0}
        """Bytes of frames that each has sent, before sealing."""
        self.handled_s = {a.me: 0.0, b.me: 0.0}
        """Seconds that each has spent on the frames of the other."""
        self.gossip: list[int] = []
        """Bytes of each frame that speaks of replicated state."""
        self.heartbeats: list[int] = []
        """Bytes of each frame that is a ping or its answer and nothing else."""
        self.pings = 0
        """How many of the pings told the roots of their sender."""

    def link(self) -> None:
        """Open the link; returns when both have nothing more to say at this moment."""
        hellos = self.a.hello(), self.b.hello()
        opened = LinkOpened(self.LINK, hellos[1], Direction.DIALLED, "x", "x", True)
        frames = [
            (self.b, f) for _, f in perform(self.a, self.a.handle(opened, self.now), self.now)
        ]
        opened = LinkOpened(self.LINK, hellos[0], Direction.ACCEPTED, "y", "y", True)
        frames += [
            (self.a, f) for _, f in perform(self.b, self.b.handle(opened, self.now), self.now)
        ]
        self.carry(frames)

    def unlink(self) -> None:
        for node in (self.a, self.b):
            perform(node, node.handle(LinkClosed(self.LINK, "cut"), self.now), self.now)

    def carry(self, frames: list[tuple[Node, bytes]]) -> None:
        """Bring frames to whom they are for, and what comes of them, until it is quiet."""
        while frames:
            node, frame = frames.pop(0)
            other = self.a if node is self.b else self.b
            self.bytes[other.me] += len(frame)
            self._count(frame)
            start = time.process_time()
            answers = perform(
                node, node.handle(FrameReceived(self.LINK, frame), self.now), self.now
            )
            self.handled_s[node.me] += time.process_time() - start
            frames += [(other, answer) for _, answer in answers]

    def pass_time(self, seconds: float) -> None:
        """Let deadlines pass, one after the other, and carry what is said."""
        until = self.now + seconds
        while True:
            due = [d for n in (self.a, self.b) if (d := n.next_deadline()) is not None]
            moment = min(due, default=until)
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            for node, other in ((self.a, self.b), (self.b, self.a)):
                sent = perform(node, node.handle_timeout(self.now), self.now)
                self.carry([(other, frame) for _, frame in sent])

    def reset(self) -> None:
        self.bytes = dict.fromkeys(self.bytes, 0)
        self.handled_s = dict.fromkeys(self.handled_s, 0.0)
        self.gossip.clear()
        self.heartbeats.clear()
        self.pings = 0

    def _count(self, frame: bytes) -> None:
        messages = decode_frame(frame)
        codes = {message[0] for message in messages}
        if codes <= {PING, PONG}:
            self.heartbeats.append(len(frame))
            self.pings += any(
                isinstance(item, bytes) and len(item) >= ROOT_BYTES_MIN
                for message in messages
                for item in message
            )
        elif any(code in GOSSIP_CODES for code in codes):
            self.gossip.append(len(frame))

    def round_bytes(self) -> float:
        """Return what it takes until each knows that it has what the other has.

        Where heartbeats carry the roots: a ping and its answer, each way. Otherwise a message
        of replication, each way.
        """
        if self.pings:
            return 2 * sum(self.heartbeats) / self.pings
        return 2 * sum(self.gossip) / len(self.gossip)

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())


def put(node: Node, key: str, value: str, now: float = 0.0) -> list[tuple[int, bytes]]:
    """Write one entry through the door; return what is sent."""
    effects = node.handle(Put(0, CHANNEL, key.encode(), value.encode()), now)
    return perform(node, effects, now)


def put_many(node: Node, items: Iterable[tuple[str, str]], now: float = 0.0) -> None:
    """Write entries that wait for the disk together."""
    effects: list[Effect] = []
    for key, value in items:
        effects += node.handle(Put(0, CHANNEL, key.encode(), value.encode()), now)
    perform(node, effects, now)
