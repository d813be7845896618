"""A small world for topology machines: time, links that take a while, and cuts."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from attrs import Factory, define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology import outputs as out
from meshcrdt.topology.adverts import Advert
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.directory import MemberRecord
from meshcrdt.topology.links import Direction
from meshcrdt.topology.topology import Topology


def peer_id(number: int) -> PeerId:
    """Return the id of a test peer; ids order as numbers do."""
    return PeerId(bytes([number]) * 16)


def epoch(counter: int = 1) -> Epoch:
    return Epoch(counter, b"\x01" * 8)


def record(number: int, **changes: Any) -> MemberRecord:
    given: dict[str, Any] = {
        "peer": peer_id(number),
        "public": bytes(32),
        "name": f"host{number}",
        "addresses": (f"mem://{number}",),
        "epoch": epoch(),
    }
    return MemberRecord(**(given | changes))


@define
class Wire:
    """One link between two nodes: each end has its own number, None while not open there."""

    dialler: int
    acceptor: int
    address: str
    born: tuple[int, int] = (1, 1)
    """The epoch counters of both processes at the dial."""
    ends: dict[int, int] = Factory(dict)


@frozen
class Heard:
    """An advert on its way: the newest (counter, step) of an origin is what it says."""

    origin: int
    counter: int
    step: int
    advert: Advert | None

    @property
    def rank(self) -> tuple[int, int]:
        return self.counter, self.step


def epoch_of(world: World, number: int) -> int:
    return world.epochs.get(number, 1)


@define
class World:
    """Topology machines on a virtual network whose cuts swallow everything in silence."""

    delay_s: float = 0.01
    dial_timeout_s: float = 5.0
    now: float = 100.0
    nodes: dict[int, Topology] = Factory(dict)
    log: list[tuple[float, int, object]] = Factory(list)
    cut: Callable[[int, int], bool] = lambda a, b: False
    lose: Callable[[int, int], bool] = lambda a, b: False
    """Whether one message is lost, asked once for each."""
    paused: dict[int, float] = Factory(dict)
    """Processes that stand still, and until when: what reaches them waits."""
    gossip: dict[int, dict[int, Heard]] = Factory(dict)
    adverts_made: int = 0
    check_steps: int = 1
    """All nodes are checked after so many events."""
    _steps: int = 0
    homes: dict[str, int] = Factory(dict)
    epochs: dict[int, int] = Factory(dict)
    share_edges: bool = True
    _queue: list[tuple[float, int, Callable[[], None]]] = Factory(list)
    _count: int = 0
    wires: dict[tuple[int, int], Wire] = Factory(dict)

    def add(self, number: int, *, limits: Limits | None = None, **changes: Any) -> Topology:
        node = Topology(
            me=peer_id(number),
            epoch=epoch(self.epochs.get(number, 1)),
            limits=limits or Limits(),
            dice=Dice(bytes([number])),
            own_addresses=changes.pop("own_addresses", (f"mem://{number}",)),
            **changes,
        )
        self.nodes[number] = node
        self.homes.setdefault(f"mem://{number}", number)
        return node

    def restart(self, number: int, **changes: Any) -> None:
        """Kill a node without a word and start it again with a new epoch and nothing known."""
        for key in [key for key in self.wires if key[0] == number]:
            del self.wires[key]
        self.epochs[number] = self.epochs.get(number, 1) + 1
        self.gossip.pop(number, None)
        self.add(number, **changes)

    def know_each_other(self) -> None:
        for here, node in self.nodes.items():
            for there in self.nodes:
                self.do(here, node.member_changed(peer_id(there), record(there), self.now))

    def connect(self, here: int, *addresses: str) -> None:
        self.do(here, self.nodes[here].add_targets(addresses, self.now))

    def later(self, wait_s: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + wait_s, self._count, action))

    def do(self, here: int, outputs: Iterable[object]) -> None:
        for output in outputs:
            self.log.append((self.now, here, output))
            match output:
                case out.Dial():
                    self._dial(here, output.address)
                case out.CloseLink():
                    self._close(here, output.link)
                case out.ToLink():
                    self._send(here, output.link, output.message)
                case out.Advertise() if self.share_edges:
                    self.adverts_made += 1
                    self._learn(
                        here, Heard(here, epoch_of(self, here), self._step(), output.advert)
                    )
                case _:
                    pass

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            deadlines = [(node.next_deadline(), n) for n, node in self.nodes.items()]
            times = [(max(at, self.paused.get(n, 0.0)), n) for at, n in deadlines if at is not None]
            at, number = min(times, default=(float("inf"), 0))
            event_at = self._queue[0][0] if self._queue else float("inf")
            if min(at, event_at) > end:
                break
            if event_at <= at:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            else:
                self.now = max(self.now, at)
                self.do(number, self.nodes[number].handle_timeout(self.now))
            self._steps += 1
            if self._steps % self.check_steps == 0:
                for node in self.nodes.values():
                    node.check()
        self.now = end

    def outputs(self, kind: type, *, here: int | None = None, since: float = 0.0) -> list[Any]:
        return [
            output
            for at, number, output in self.log
            if isinstance(output, kind) and at >= since and here in (None, number)
        ]

    def linked(self, a: int, b: int) -> bool:
        return peer_id(b) in self.nodes[a].neighbours() and peer_id(a) in self.nodes[b].neighbours()

    def links_between(self, a: int, b: int) -> tuple[int, int]:
        """Return how many link ends a holds towards b, and b towards a."""
        counts = [0, 0]
        for (number, _), wire in self.wires.items():
            if {wire.dialler, wire.acceptor} == {a, b}:
                counts[0 if number == a else 1] += 1
        return counts[0], counts[1]

    def _step(self) -> int:
        self._count += 1
        return self._count

    def _learn(self, here: int, heard: Heard) -> None:
        """Stand in for gossip: whoever hears something newer passes it on to its neighbours."""
        known = self.gossip.setdefault(here, {})
        before = known.get(heard.origin)
        if before is not None and before.rank >= heard.rank:
            return
        known[heard.origin] = heard
        for number, link in list(self.wires):
            if number == here:
                self._carry(here, link, lambda there, _: self._learn(there, heard))
        if heard.origin != here:
            told = self.nodes[here].advertised(
                peer_id(heard.origin), epoch(heard.counter), heard.advert, self.now
            )
            self.do(here, told)

    def _dial(self, here: int, address: str) -> None:
        there = self.homes.get(address)
        if there is None:
            self.later(self.delay_s, self._failing(here, address, "refused"))
        elif self.cut(here, there):
            self.later(self.dial_timeout_s, self._failing(here, address, "timeout"))
        else:
            born = (self.epochs.get(here, 1), self.epochs.get(there, 1))
            wire = Wire(here, there, address, born)
            self.later(2 * self.delay_s, lambda: self._open(wire, here, Direction.DIALLED))

    def _failing(self, here: int, address: str, reason: str) -> Callable[[], None]:
        node = self.nodes[here]

        def fail() -> None:
            if self.nodes[here] is node:  # else the process that dialled is gone
                self.do(here, node.dial_failed(address, reason, self.now))

        return fail

    def _open(self, wire: Wire, here: int, direction: Direction) -> None:
        there = wire.acceptor if here == wire.dialler else wire.dialler
        self._count += 1
        link = self._count
        if wire.born != (self.epochs.get(wire.dialler, 1), self.epochs.get(wire.acceptor, 1)):
            if direction is Direction.ACCEPTED:
                self._close_dead(there, wire.ends[there])
            return  # one of the two processes is not the one that this handshake began with
        wire.ends[here] = link
        self.wires[(here, link)] = wire
        if direction is Direction.DIALLED:
            self.later(self.delay_s, lambda: self._open(wire, there, Direction.ACCEPTED))
        opened = self.nodes[here].link_opened(
            link,
            peer_id(there),
            direction=direction,
            address=wire.address if direction is Direction.DIALLED else f"mem://from-{there}",
            transport="mem",
            encrypted=True,
            epoch=epoch(self.epochs.get(there, 1)),
            now=self.now,
        )
        self.do(here, opened)
        if self.share_edges:
            for heard in list(self.gossip.get(here, {}).values()):
                self._carry(here, link, lambda there, _, heard=heard: self._learn(there, heard))

    def _close(self, here: int, link: int) -> None:
        wire = self.wires.pop((here, link), None)
        if wire is None:
            return
        there = wire.acceptor if here == wire.dialler else wire.dialler

        def notice() -> None:
            other = wire.ends.get(there)
            if other is not None and (there, other) in self.wires and not self.cut(here, there):
                del self.wires[(there, other)]
                self.do(there, self.nodes[there].link_closed(other, "closed", self.now))

        self.later(self.delay_s, notice)

    def _send(self, here: int, link: int, message: tuple[Any, ...]) -> None:
        def arrive(there: int, other: int) -> None:
            node = self.nodes[there]
            self.do(there, node.saw_traffic(other, self.now))
            self.do(there, node.received(other, message, self.now))

        self._carry(here, link, arrive)

    def _carry(self, here: int, link: int, arrive: Callable[[int, int], None]) -> None:
        """Bring something to the other end of a link, which calls `arrive(there, its link)`."""
        wire = self.wires.get((here, link))
        if wire is None:
            return
        there = wire.acceptor if here == wire.dialler else wire.dialler

        def land() -> None:
            if self.cut(here, there) or self.lose(here, there):
                return
            other = wire.ends.get(there)
            if other is None:  # not open there yet: it waits in the transport
                self.later(self.delay_s, land)
            elif (there, other) in self.wires:
                self._awake(there, lambda: arrive(there, other))
            else:
                self._close_dead(here, link)

        self.later(self.delay_s, land)

    def _awake(self, number: int, action: Callable[[], None]) -> None:
        """Do something in a process once it runs again."""
        until = self.paused.get(number, 0.0)
        node = self.nodes[number]

        def act() -> None:
            if self.nodes[number] is node:
                action()

        if until > self.now:
            self.later(until - self.now, act)
        else:
            action()

    def _close_dead(self, here: int, link: int) -> None:
        """The other end is gone and says so, as TCP does with a reset."""
        if self.wires.pop((here, link), None) is not None:
            self.do(here, self.nodes[here].link_closed(link, "reset", self.now))


@pytest.fixture
def world() -> World:
    return World()


DISCOVERY_OFF = {"discovery": Discovery.OFF}
