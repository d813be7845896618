"""A network between hosts: links with latency, loss, duplicates, reorder and partitions.

A link here is less reliable than TCP on purpose: single frames may vanish, repeat or
overtake, because the core promises to converge through that too. A partition swallows
frames silently, as real ones do; ends learn of it by silence only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from meshcrdt.base.dice import Dice
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.host import Host
from meshcrdt.sim.paths import Paths
from meshcrdt.sim.scenario import Scenario
from meshcrdt.sim.seats import SCHEME
from meshcrdt.topology.links import Direction

__all__ = ["DIAL_TIMEOUT_S", "SCHEME", "Network", "Pipe"]

DIAL_TIMEOUT_S = 5.0
FLUSH_S = 1.0
"""How long a link that is being closed may take to send what waits."""

Tamper = Callable[[Host, Host, int, bytes], Iterable[bytes]]
Hold = Callable[[str, str, float], float]


@define
class Pipe:
    """One link: two ends, each a host and its own link number."""

    ends: tuple[tuple[Host, int], tuple[Host, int]]
    boots: tuple[int, int]
    open: bool = True
    ready_at: list[float] = field(factory=lambda: [0.0, 0.0])
    busy_until: list[float] = field(factory=lambda: [0.0, 0.0])
    """When each end has sent the frame that it pulled last."""

    def alive(self, side: int) -> bool:
        """Return True while the process that had this end still runs."""
        host = self.ends[side][0]
        return host.node is not None and host.boots == self.boots[side]


class Network:
    """Carries frames between hosts; knows which directions are cut."""

    def __init__(self, scenario: Scenario, clock: Clockwork, dice: Dice) -> None:
        self.scenario = scenario
        self.clock = clock
        self.dice = dice
        self.hosts: dict[str, Host] = {}
        self.pipes: dict[tuple[str, int], tuple[Pipe, int]] = {}
        self.cut: set[tuple[str, str]] = set()
        self.faultless = False
        self.walls: list[Callable[[str, str], bool]] = []
        """Each may stand between two hosts, named source and target, in that direction."""
        self.paths = Paths(scenario)
        self.tampers: list[Tamper] = []
        """Each turns a frame into those that leave in its place, until the world heals."""
        self.holds: list[Hold] = []
        """Each names the moment at which a frame arrives, given the one at which it would."""
        self.on_arrive: Callable[[Host, bytes], None] | None = None
        """Told each frame that reaches a running host."""
        self.frames = 0
        self.bytes_sent = 0
        self._next_link = 0

    def latency(self, source: Host, target: Host) -> float:
        """Roll the delay of one frame in seconds."""
        jitter = 0.0 if self.faultless else self.scenario.faults.jitter_s
        latency = self.paths.latency_s(source.name, target.name)
        if self.scenario.latency_spread:
            latency *= 1.0 + self.dice.uniform(0.0, self.scenario.latency_spread)
        return latency + self.dice.uniform(0.0, jitter)

    def reaches(self, source: Host, target: Host) -> bool:
        """Return True when the direction is not cut."""
        if self.cut and (source.name, target.name) in self.cut:
            return False
        return not self.walls or not any(wall(source.name, target.name) for wall in self.walls)

    def dial(self, source: Host, address: str) -> None:
        """Try to connect; the source hears LinkOpened or DialFailed."""
        boots = source.boots
        target = self.hosts.get(address.removeprefix(SCHEME))
        if target is None:
            self._fail(source, boots, address, "no such host", delay_s=0.01)
        elif not (self.reaches(source, target) and self.reaches(target, source)):
            self._fail(source, boots, address, "no answer", delay_s=DIAL_TIMEOUT_S)
        else:
            self.clock.after(
                2 * self.latency(source, target),
                lambda: self._connect(source, boots, target, address),
            )

    def _connect(self, source: Host, boots: int, target: Host, address: str) -> None:
        if source.node is None or source.boots != boots:
            return
        if target.node is None:
            self._fail(source, boots, address, "connection refused", delay_s=0.0)
            return
        if not (self.reaches(source, target) and self.reaches(target, source)):
            self._fail(source, boots, address, "no answer", delay_s=DIAL_TIMEOUT_S)
            return
        hellos = (source.node.hello(), target.node.hello())
        refused = target.node.admits(hellos[0]) or source.node.admits(hellos[1])
        both = {hello.genesis for hello in hellos} - {None}
        if refused is None and len(both) == 2:
            refused = f"clusters {hellos[0].cluster} and {hellos[1].cluster} differ"
        if refused is not None:
            self._fail(source, boots, address, refused, delay_s=0.0, refused=True)
            return
        links = (self._next_link, self._next_link + 1)
        self._next_link += 2
        pipe = Pipe(((source, links[0]), (target, links[1])), (boots, target.boots))
        self.pipes[source.name, links[0]] = (pipe, 0)
        self.pipes[target.name, links[1]] = (pipe, 1)
        target.link_opened(links[1], hellos[0], Direction.ACCEPTED, SCHEME + source.name)
        source.link_opened(links[0], hellos[1], Direction.DIALLED, address)

    def join_stranger(self, target: Host, stranger: Host) -> int:
        """Open one end of a link at a host, whose other end is no member; returns its number."""
        link = self._next_link
        self._next_link += 2
        pipe = Pipe(((target, link), (stranger, link + 1)), (target.boots, stranger.boots))
        self.pipes[target.name, link] = (pipe, 0)
        return link

    def _fail(
        self,
        source: Host,
        boots: int,
        address: str,
        reason: str,
        *,
        delay_s: float,
        refused: bool = False,
    ) -> None:
        self.clock.after(
            delay_s, lambda: source.dial_failed(boots, address, reason, refused=refused)
        )

    def writable(self, source: Host, link: int) -> None:
        """Pull frames of a link as it has room, until there is none."""
        found = self.pipes.get((source.name, link))
        if found is not None:
            self._pull(*found)

    def _pull(self, pipe: Pipe, side: int) -> None:
        (source, link), (target, _) = pipe.ends[side], pipe.ends[1 - side]
        if (
            source.node is None
            or not pipe.alive(side)
            or (source.name, link) not in self.pipes
            or pipe.busy_until[side] > self.clock.now
        ):
            return
        if source.paused_until > self.clock.now:
            self.clock.at(source.paused_until, self._pull, pipe, side)
            return
        while (frame := source.node.next_frame(link)) is not None:
            busy_s = self.paths.busy_s(source.name, target.name, len(frame))
            pipe.busy_until[side] = self.clock.now + busy_s
            self._send(pipe, side, frame)
            if busy_s:
                self.clock.at(pipe.busy_until[side], self._pull, pipe, side)
                return

    def _send(self, pipe: Pipe, side: int, frame: bytes) -> None:
        """Carry one frame, or what an evil network makes of it."""
        (source, link), (target, _) = pipe.ends[side], pipe.ends[1 - side]
        said = [frame]
        if self.tampers and not self.faultless:
            for tamper in self.tampers:
                said = [out for each in said for out in tamper(source, target, link, each)]
        for each in said:
            self._carry(source, target, pipe, side, each)

    def _carry(self, source: Host, target: Host, pipe: Pipe, side: int, frame: bytes) -> None:
        """Carry one frame, or lose, repeat or delay it."""
        faults = self.scenario.faults
        self.frames += 1
        self.bytes_sent += len(frame)
        source.frames_sent += 1
        source.bytes_sent += len(frame)
        if not pipe.open or not self.reaches(source, target):
            return
        copies = 1
        if not self.faultless:
            if self.dice.chance(self.paths.loss(source.name, target.name)):
                return
            copies += self.dice.chance(faults.duplicate)
        leaves = max(self.clock.now, pipe.busy_until[side])
        for _ in range(copies):
            arrives = leaves + self.latency(source, target)
            if not self.faultless:
                for hold in self.holds:
                    arrives = hold(source.name, target.name, arrives)
            if self.faultless or not self.dice.chance(faults.reorder):
                # In order: never before what was sent earlier on this side.
                arrives = max(arrives, pipe.ready_at[side])
                pipe.ready_at[side] = arrives
            self.clock.at(arrives, self._arrive, pipe, side, frame)

    def _arrive(self, pipe: Pipe, side: int, frame: bytes) -> None:
        source, (target, link) = pipe.ends[side][0], pipe.ends[1 - side]
        if pipe.open and pipe.alive(1 - side) and self.reaches(source, target):
            if self.on_arrive is not None:
                self.on_arrive(target, frame)
            target.frame_received(link, frame)

    def close(self, source: Host, link: int, reason: str) -> None:
        """Close a link after what waits for it."""
        found = self.pipes.get((source.name, link))
        if found is not None:
            self._flush(*found)
            self._cut_off(source, link, reason)

    def _cut_off(self, source: Host, link: int, reason: str) -> None:
        """End a link; the other end hears of it unless the direction is cut."""
        found = self.pipes.pop((source.name, link), None)
        if found is None:
            return
        pipe, side = found
        source.link_closed(pipe.boots[side], link, reason)
        other, other_link = pipe.ends[1 - side]
        if self.reaches(source, other):
            # What was sent before still arrives first.
            when = max(self.clock.now + self.latency(source, other), pipe.ready_at[side])
            self.clock.at(when, self._other_closed, pipe, 1 - side, other_link, reason)

    def _flush(self, pipe: Pipe, side: int) -> None:
        """Send what waits as a real link does that is being closed: for a bounded time."""
        (source, link), (target, _) = pipe.ends[side], pipe.ends[1 - side]
        if not pipe.alive(side) or source.node is None:
            return
        until = self.clock.now + FLUSH_S
        at = max(self.clock.now, pipe.busy_until[side])
        while at < until and (frame := source.node.next_frame(link)) is not None:
            at += self.paths.busy_s(source.name, target.name, len(frame))
            pipe.busy_until[side] = at
            self._send(pipe, side, frame)

    def _other_closed(self, pipe: Pipe, side: int, link: int, reason: str) -> None:
        pipe.open = False
        host = pipe.ends[side][0]
        if self.pipes.pop((host.name, link), None) is not None:
            host.link_closed(pipe.boots[side], link, reason)

    def reset_some_link(self) -> None:
        """Break one random open link at both ends."""
        if self.pipes:
            name, link = self.dice.choice(sorted(self.pipes))
            self._cut_off(self.hosts[name], link, "connection reset")

    def host_died(self, host: Host) -> None:
        """Forget a dead host's ends; the others hear a reset unless the direction is cut."""
        for link in sorted(link for name, link in self.pipes if name == host.name):
            self._cut_off(host, link, "connection reset by a crash")
