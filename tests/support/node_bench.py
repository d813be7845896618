"""Two or more nodes in one process, joined by hand: every effect is performed at once."""

from __future__ import annotations

from collections import deque

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.effects import Changed, CloseLink, Effect, Persist, Reply, Writable
from meshcrdt.node.events import FrameReceived, LinkClosed, LinkOpened, Persisted
from meshcrdt.node.node import Node
from meshcrdt.topology.links import Direction
from meshcrdt.trust.identity import Identity


class Bench:
    """Nodes on a workbench; `hold_disk` keeps a node's transactions unfinished."""

    def __init__(self) -> None:
        self.now = 100.0
        self.nodes: dict[str, Node] = {}
        self.disks: dict[str, dict[str, dict[bytes, bytes]]] = {}
        self.wires: dict[tuple[str, int], tuple[str, int]] = {}
        self.replies: dict[tuple[str, int], object] = {}
        self.closed: list[tuple[str, str]] = []
        self.hold_disk: set[str] = set()
        self.held: dict[str, list[Persist]] = {}
        self.changes: list[tuple[str, str, tuple[bytes, ...]]] = []
        """(node, channel, keys) of each change that watchers were told of."""
        self.sent: list[tuple[str, bytes]] = []
        self.jammed: set[tuple[str, int]] = set()
        self._todo: deque[tuple[str, object]] = deque()
        self._next_link = 1

    def genesis(self, maker: bytes = b"\x01", universe: str = "10.32.0.0/16") -> Genesis:
        return Genesis.make(Identity(maker * 32), [universe], nonce=maker * 16)

    def add(
        self,
        name: str,
        genesis: Genesis | None,
        *,
        counter: int = 1,
        instance: bytes = b"",
        called: str = "",
        **config,
    ) -> Node:
        seed = bytes([len(self.disks) + 1]) if name not in self.disks else None
        self.disks.setdefault(name, {})
        if seed is not None:
            self.disks[name]["_seed"] = {b"": seed * 32}
        identity = Identity(self.disks[name]["_seed"][b""])
        node = Node(
            NodeConfig(
                identity=identity,
                epoch=Epoch(counter, instance or bytes([counter]) * 8),
                genesis=genesis,
                name=called or name,
                **config,
            ),
            Dice(name.encode() + bytes([counter])),
        )
        self.nodes[name] = node
        self._perform(name, node.load(self.disks[name], self.now))
        self.run()
        return node

    def link(self, a: str, b: str) -> None:
        links = (self._next_link, self._next_link + 1)
        self._next_link += 2
        self.wires[a, links[0]] = (b, links[1])
        self.wires[b, links[1]] = (a, links[0])
        hellos = self.nodes[a].hello(), self.nodes[b].hello()
        dialled, accepted = Direction.DIALLED, Direction.ACCEPTED
        # Both ends know the link before the first frame can come in on it.
        self._todo += [
            (b, LinkOpened(links[1], hellos[0], accepted, f"mem://{a}", "mem", True)),
            (a, LinkOpened(links[0], hellos[1], dialled, f"mem://{b}", "mem", True)),
        ]
        self.run()

    def give(self, name: str, event: object) -> object | None:
        self._todo.append((name, event))
        self.run()
        return self.replies.get((name, getattr(event, "request", -1)))

    def run(self) -> None:
        while self._todo:
            name, event = self._todo.popleft()
            self._perform(name, self.nodes[name].handle(event, self.now))
            self.nodes[name].check()

    def pass_time(self, seconds: float) -> None:
        """Let every node act on each of its deadlines up to then."""
        end = self.now + seconds
        while True:
            due = [
                (deadline, name)
                for name, node in self.nodes.items()
                if (deadline := node.next_deadline()) is not None and deadline <= end
            ]
            if not due:
                break
            deadline, name = min(due)
            self.now = max(self.now, deadline)
            self._perform(name, self.nodes[name].handle_timeout(self.now))
            self.run()
        self.now = end

    def release_disk(self, name: str) -> None:
        self.hold_disk.discard(name)
        for persist in self.held.pop(name, []):
            self._persist(name, persist)
        self.run()

    def _perform(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            self._one(name, effect)

    def _one(self, name: str, effect: Effect) -> None:
        match effect:
            case Writable():
                self.pull(name, effect.link)
            case CloseLink():
                self.closed.append((name, effect.reason))
                self.unplug(name, effect.link, effect.reason)
            case Persist():
                if name in self.hold_disk:
                    self.held.setdefault(name, []).append(effect)
                else:
                    self._persist(name, effect)
            case Reply():
                assert (name, effect.request) not in self.replies, "answered twice"
                self.replies[name, effect.request] = effect.outcome
            case Changed():
                self.changes.append((name, effect.channel, effect.keys))
            case _:
                pass

    def pull(self, name: str, link: int) -> None:
        """Take what waits for a link; on a jammed one it goes on waiting."""
        if (name, link) in self.jammed:
            return
        while (frame := self.nodes[name].next_frame(link)) is not None:
            self.sent.append((name, frame))
            end = self.wires.get((name, link))
            if end is not None:
                self._todo.append((end[0], FrameReceived(end[1], frame)))

    def unplug(self, name: str, link: int, reason: str = "unplugged") -> None:
        end = self.wires.pop((name, link), None)
        if end is not None:
            self.wires.pop(end, None)
            self._todo.append((name, LinkClosed(link, reason)))
            self._todo.append((end[0], LinkClosed(end[1], reason)))

    def _persist(self, name: str, persist: Persist) -> None:
        for table, key, value in persist.rows:
            rows = self.disks[name].setdefault(table, {})
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self._todo.append((name, Persisted(persist.watermark)))


def link_of(bench: Bench, name: str) -> int:
    """Return the number of a link of a node, of the only one where it has one."""
    return next(link for owner, link in bench.wires if owner == name)
