"""Performs the steps of a scenario, and measures how long the world takes to follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, assert_never

from attrs import define, field

from meshcrdt.base.ids import PeerId
from meshcrdt.node import events
from meshcrdt.sim import checkers
from meshcrdt.sim.host import Host
from meshcrdt.sim.metrics import components
from meshcrdt.sim.steps import (
    Burst,
    Churn,
    Erase,
    Heal,
    Kill,
    Leave,
    Partition,
    Read,
    Restart,
    Shape,
    Start,
    Starve,
    Step,
    Who,
    Write,
)
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.outputs import PeerState

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

LOOK_EVERY_S = 0.02
LOOK_AT_ALL_EVERY_S = 0.5
"""Whether all hosts hold the same, or hang together, is dearer to ask."""
FAREWELL_S = 3.0


class Look(Protocol):
    """Returns True once what is waited for holds at a host, or in the whole world."""

    def __call__(self, host: Host) -> bool:
        """Look at one host."""


@define
class Watch:
    """How long something takes that a step began."""

    figure: str
    since: float
    look: Look | None
    """What must hold at every host that runs; None where the world is asked as a whole."""
    whole: Callable[[], bool] | None = None
    left: list[Host] = field(factory=list)
    done_at: float | None = None

    @property
    def seconds(self) -> float:
        """Return how long it took; infinitely long when it has not happened."""
        return math.inf if self.done_at is None else self.done_at - self.since

    def finished(self) -> bool:
        """Look again; hosts that were done once are not asked again."""
        if self.whole is not None:
            return self.whole()
        assert self.look is not None
        self.left = [host for host in self.left if host.node is not None and not self.look(host)]
        return not self.left


class Stage:
    """Where the story of a scenario is played."""

    def __init__(self, world: World) -> None:
        self.watches: list[Watch] = []
        self._world = world
        self._dice = world.dice.fork("steps")
        self._side: Callable[[str, str], bool] | None = None
        self._held_back = list(world.hosts[len(world.hosts) - world.scenario.held_back :])
        if not world.scenario.held_back:
            self._held_back = []

    def begin(self) -> None:
        """Put every step into the clockwork, and watch the cluster come together."""
        for step in self._world.scenario.steps:
            self._world.clock.at(step.at_s, partial(self._perform, step))
        self._watch_whole("joined_seconds", self._joined)

    @property
    def quiet(self) -> bool:
        """Return True when nothing is waited for any more."""
        return all(watch.done_at is not None for watch in self.watches)

    def waits(self, host: Host) -> bool:
        """Return True while a host is held back."""
        return host in self._held_back

    # --- steps -----------------------------------------------------------------------------

    def _perform(self, step: Step) -> None:
        if self._world.over:
            return
        self._world.clock.trace("step", repr(step))
        match step:
            case Partition():
                self._partition(step)
            case Heal():
                self.heal()
                self._watch_whole("converged_seconds", self._converged)
                self._watch_whole("connected_seconds", self._connected)
            case Kill():
                self._kill(step)
            case Start():
                self._start(step)
            case Restart():
                for host in self._some(self._running(), step.share):
                    self._world.crash(host)
                    self._world.start(host)
            case Churn():
                self._churn(step, self._world.clock.now + step.lasts_s)
            case Leave():
                for host in self._chosen(step.who, step.count):
                    self._leave(host)
            case Write() | Erase():
                for host in self._chosen(step.who, 1):
                    self._write(host, step)
            case Read():
                self._watch("reached_seconds", lambda host: self._reads(host, step.key) is not None)
            case Burst():
                for host in self._chosen(step.who, 1):
                    self._world.burst(host, step.writes)
            case Starve():
                until = self._world.clock.now + step.lasts_s
                for host in self._some(self._running(), step.share):
                    self._world.starve(host, step.busy_s, step.gap_s, until)
            case _:
                assert_never(step)

    def heal(self) -> None:
        """Take down what a partition put up."""
        if self._side is not None:
            self._world.network.walls.remove(self._side)
            self._side = None
            self._world.deaths.disturbed_at = self._world.clock.now

    def _partition(self, step: Partition) -> None:
        self.heal()
        self._side = wall = self._world.wall(step.shape, step.share, self._dice)
        self._world.network.walls.append(wall)
        self._world.deaths.disturbed_at = math.inf
        self._world.report.partitions += 1
        if step.lasts_s:
            self._world.clock.after(
                step.lasts_s, lambda: self.heal() if self._side is wall else None
            )

    def _kill(self, step: Kill) -> None:
        number = step.count or round(step.share * len(self._running()))
        killed = self._chosen(step.who, number)
        for host in killed:
            self._world.crash(host)
            host.gone = not step.back_after_s
            if step.back_after_s:
                self._world.clock.after(step.back_after_s, partial(self._world.start, host))
        peers = [host.identity.peer for host in killed]
        noticed = dict.fromkeys((host.name for host in self._world.hosts), 0)

        def notices(host: Host) -> bool:
            node, at = host.node, noticed[host.name]
            while node is not None and at < len(peers):
                if node.topology.state(peers[at]) is PeerState.ALIVE:
                    break
                at += 1
            noticed[host.name] = at
            return at == len(peers)

        if not step.back_after_s:
            self._watch("noticed_seconds", notices)
        self._watch_whole("connected_seconds", self._connected)

    def _start(self, step: Start) -> None:
        waiting = self._held_back or [host for host in self._world.hosts if host.node is None]
        started = waiting[: step.count or len(waiting)]
        self._held_back = [host for host in self._held_back if host not in started]
        peers = {host.identity.peer for host in started}
        for host in started:
            host.gone = False
            self._world.start(host)
        self._watch(
            "reached_seconds",
            lambda host: host.node is not None and peers <= host.node.topology.members().keys(),
        )

    def _churn(self, step: Churn, until: float) -> None:
        if self._world.over or self._world.clock.now >= until:
            return
        running = self._running()
        if running:
            host = self._dice.choice(running)
            self._world.crash(host)
            self._world.clock.after(step.down_s, lambda: self._world.start(host))
        gap = 60.0 / max(step.share * len(self._world.hosts), 1e-9)
        self._world.clock.after(gap, lambda: self._churn(step, until))

    def _leave(self, host: Host) -> None:
        peer = host.identity.peer

        def left(_: object) -> None:
            self._world.clock.after(FAREWELL_S, lambda: self._world.remove(host))

        self._world.ask(host, events.Leave, left)
        self._watch("reached_seconds", lambda other: other is host or _has_left(other, peer))

    def _reads(self, host: Host, key: str) -> bytes | None:
        return (
            None if host.node is None else host.node.get(self._world.tracker.channel, key.encode())
        )

    def _write(self, host: Host, step: Write | Erase) -> None:
        if host.node is not None and host.node.core is None:
            # It has only just started: its user writes as soon as it may.
            self._world.clock.after(LOOK_EVERY_S, lambda: self._write(host, step))
            return
        key, channel = step.key.encode(), self._world.tracker.channel
        value = None
        if isinstance(step, Write):
            value = f"{step.key} at {step.at_s:g}".encode()
            self._world.ask(host, lambda number: events.Put(number, channel, key, value or b""))
        else:
            self._world.ask(host, lambda number: events.Delete(number, channel, key))
        self._watch(
            "reached_seconds",
            lambda other: self._reads(other, step.key) == value,
        )

    # --- whom ------------------------------------------------------------------------------

    def _running(self) -> list[Host]:
        return [host for host in self._world.hosts if host.node is not None]

    def _some(self, hosts: list[Host], share: float) -> list[Host]:
        return self._dice.sample(hosts, round(share * len(hosts)))

    def _chosen(self, who: Who, number: int) -> list[Host]:
        running = self._running()
        match who:
            case Who.FIRST:
                return running[:number]
            case Who.LAST:
                return running[-number:] if number else []
            case Who.ANY:
                return self._dice.sample(running, number)

    # --- watching --------------------------------------------------------------------------

    def _watch(self, figure: str, look: Look) -> None:
        watch = Watch(figure, self._world.clock.now, look, left=self._running())
        self.watches.append(watch)
        self._look(watch, LOOK_EVERY_S)

    def _watch_whole(self, figure: str, whole: Callable[[], bool]) -> None:
        watch = Watch(figure, self._world.clock.now, None, whole)
        self.watches.append(watch)
        self._look(watch, LOOK_AT_ALL_EVERY_S)

    def _look(self, watch: Watch, every_s: float) -> None:
        if watch.finished():
            watch.done_at = self._world.clock.now
        elif not self._world.over:
            self._world.clock.after(every_s, lambda: self._look(watch, every_s))

    def _joined(self) -> bool:
        peers = [host.identity.peer for host in self._world.hosts if not self.waits(host)]
        for host in self._world.hosts:
            if self.waits(host) or host.gone:
                continue
            if host.node is None or host.node.core is None:
                return False
            if len(host.node.topology.members()) < len(peers):
                return False
        return self._connected()

    def _connected(self) -> bool:
        return components(self._world.network, self._world.hosts) == 1

    def _converged(self) -> bool:
        return checkers.converged(self._running())

    def figures(self) -> dict[str, float]:
        """Return the worst of each kind of watch."""
        found: dict[str, float] = {}
        for watch in self.watches:
            found[watch.figure] = max(found.get(watch.figure, 0.0), watch.seconds)
        return found


def _has_left(host: Host, peer: PeerId) -> bool:
    if host.node is None:
        return False
    member = host.node.topology.members().get(peer)
    return member is not None and member.standing is Standing.LEFT


def wall_of(names: list[str], shape: Shape, sides: dict[str, int]) -> Callable[[str, str], bool]:
    """Return what stands between two hosts, given the side of each.

    Args:
        names: every host in order, which is the order of a ring.
        shape: how the hosts are divided.
        sides: the number of the side of each host; the smaller side is 1.
    """
    place = {name: index for index, name in enumerate(names)}

    def ring(source: str, target: str) -> bool:
        apart = abs(place.get(source, 0) - place.get(target, 0))
        return min(apart, len(names) - apart) > 1

    def divided(source: str, target: str) -> bool:
        return sides.get(source, 0) != sides.get(target, 0)

    def unheard(source: str, target: str) -> bool:
        return sides.get(source, 0) == 1 and sides.get(target, 0) == 0

    match shape:
        case Shape.RING:
            return ring
        case Shape.ONE_WAY:
            return unheard
        case Shape.ALONE:
            return lambda source, target: source != target
        case Shape.SIDES | Shape.THIRDS:
            return divided
