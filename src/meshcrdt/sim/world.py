"""The world: makes hosts, lets faults happen, checks, heals, and checks again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from attrs import asdict

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH
from meshcrdt.base.memo import Memo
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.events import Command, Put
from meshcrdt.sim import checkers, faults
from meshcrdt.sim.clockwork import Clockwork, rare_collections
from meshcrdt.sim.disk import Disk
from meshcrdt.sim.expect import judge
from meshcrdt.sim.faults import disks
from meshcrdt.sim.host import Host, Step
from meshcrdt.sim.ledger import CHANNEL
from meshcrdt.sim.memo import WorldMemo
from meshcrdt.sim.metrics import Deaths, Gauge, Measured, Tracker
from meshcrdt.sim.network import SCHEME, Network
from meshcrdt.sim.report import Report
from meshcrdt.sim.scenario import Scenario
from meshcrdt.sim.seats import Seats
from meshcrdt.sim.stage import Stage, wall_of
from meshcrdt.sim.steps import Shape
from meshcrdt.sim.trace import Recorder
from meshcrdt.sim.traffic import Sender
from meshcrdt.sim.watchman import Watchman
from meshcrdt.sim.workload import DOMAIN, Workload
from meshcrdt.trust.identity import verify

VIOLATIONS_MAX = 20
"""A broken run repeats itself: the first findings tell the story."""

BURST_KEYS = 200

Wall: TypeAlias = Callable[[str, str], bool]


def as_born(host: Host, config: NodeConfig) -> NodeConfig:
    """Leave a configuration as it is."""
    return config


Configure: TypeAlias = Callable[[Host, NodeConfig], NodeConfig]
Checker: TypeAlias = "Callable[[World], Iterable[str]]"


def channel_of(scenario: Scenario) -> str:
    """Return the channel whose messages are measured."""
    return CHANNEL if scenario.traffic is None else scenario.traffic.channel


def grace_of(scenario: Scenario) -> float:
    """Return how long a host must be well before a death of it is called false."""
    return scenario.limits.link_silence_s + scenario.limits.dead_after_s


class World:
    """One simulated cluster and its fate.

    `World(scenario).run()` is all that most need. An embedder's own code comes in before it:
    `configure` and `add_checker` here, and from actions put into `clock`, `ask`, `crash`,
    `start`, `wall` and the others; docs/simulator.md shows each.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        configure: Configure = as_born,
        memo: Memo | None = None,
    ) -> None:
        """Make a world, in which nothing has happened yet.

        `configure` is given each host and the configuration of its next process, and returns
        the one to use: so an embedder's own limits come in. `memo` is what its hosts
        share, which changes nothing but the cost.
        """
        self.scenario = scenario
        self.clock = Clockwork(scenario.trace)
        self.dice = Dice(f"world {scenario.seed}".encode())
        self.network = Network(scenario, self.clock, self.dice.fork("network"))
        self.report = Report(scenario)
        self.fate = self.dice.fork("fate")
        self.over = False
        """True once the world has healed: no fault begins any more."""
        self.twins: list[Host] = []
        self.memo: Memo = WorldMemo() if memo is None else memo
        self._verify = partial(self.memo.of_equal, verify)
        self._seats = Seats(scenario)
        self._configure = configure
        self._checkers: list[Checker] = []
        self._sender: Sender | None = None
        self.network.walls += self._seats.walls
        self.hosts = [self._make_host(f"n{index + 1}") for index in range(scenario.nodes)]
        self.workload = Workload(
            self.clock, self.dice.fork("workload"), self.hosts, universe=scenario.universes[0]
        )
        self.ledger = self.workload.ledger
        self.watchman = Watchman(self.hosts, self.ledger, self.dice.fork("watchman"), self._found)
        self.ledger.on_reached = self.watchman.reached
        self.tracker = Tracker(self.clock, self.network, self.hosts, channel_of(scenario))
        self.deaths = Deaths(self.hosts, grace_of(scenario))
        self.gauge = Gauge(self.clock, self.network, self.hosts)
        self.stage = Stage(self)
        for host in self.hosts:
            host.on_step = self._stepped
            host.on_changed = self.tracker.changed
            host.on_store_failed = self.ledger.host_crashed
        if scenario.traffic is not None:
            self.network.on_arrive = self.tracker.arrived
        first = self.hosts[0]
        first.genesis = Genesis.make(
            first.identity,
            universes=scenario.universes,
            nonce=self.dice.fork("genesis").raw(16),
        )

    def run(self) -> Report:
        """Live through the scenario; returns what happened and what was violated."""
        with rare_collections():
            return self._run()

    def _run(self) -> Report:
        scenario = self.scenario
        started = [host for host in self.hosts if not self.stage.waits(host)]
        for index, host in enumerate(started):
            self.clock.at(index * scenario.start_every_s, partial(self.start, host))
        self.every(1.0, self._second)
        self.every(30.0, self.watchman.half_minute)
        self.stage.begin()
        if scenario.warm_up_s:
            self.network.faultless = True
            self.clock.at(scenario.warm_up_s, self._begin)
        else:
            self._begin()
        self._live()
        self.gauge.end()
        self._heal()
        self._settle()
        self._finish()
        return self.report

    def _begin(self) -> None:
        """Let users and faults come, and begin to count."""
        self.network.faultless = False
        self.gauge.begin()
        if self.scenario.command_every_s:
            self.every(self.scenario.command_every_s, self.workload.one)
        faults.begin(self)
        if self.scenario.traffic is not None:
            self._sender = Sender(self, self.scenario.traffic)
            self._sender.begin()

    def _live(self) -> None:
        """Let everything happen; a scenario that only sends its rounds ends after the last."""
        end = self.scenario.duration_s
        if self.scenario.traffic is None or not self.scenario.traffic.rounds:
            self.clock.run_until(end)
            return
        last_step = max((step.at_s for step in self.scenario.steps), default=0.0)
        while self.clock.now < end:
            self.clock.run_until(min(end, self.clock.now + 1.0))
            done = self._sender is not None and self._sender.finished
            if done and self.clock.now > last_step and self.stage.quiet:
                break

    # --- making --------------------------------------------------------------------------

    def _make_host(self, name: str) -> Host:
        dice = self.dice.fork(name)
        host = Host(
            name,
            clock=self.clock,
            network=self.network,
            disk=Disk(self.clock, dice.fork("disk"), self.scenario.faults),
            dice=dice,
            birth=self._birth,
        )
        self.network.hosts[name] = host
        return host

    def _birth(self, host: Host) -> NodeConfig:
        config = NodeConfig(
            identity=host.identity,
            epoch=BOTTOM_EPOCH,
            genesis=host.genesis,
            name=host.name,
            advertise=(SCHEME + host.name,),
            peers=self._seats.peers_of(host.name),
            discovery=self.scenario.discovery,
            detection=self.scenario.detection,
            domain=DOMAIN,
            limits=self.scenario.limits,
            verify=self._verify,
            memo=self.memo,
        )
        return self._configure(host, config)

    # --- checking ------------------------------------------------------------------------

    def _stepped(self, host: Host, step: Step) -> None:
        self.deaths.look(host)
        self.watchman.stepped(host, step)

    def _second(self) -> None:
        self.watchman.second()
        self._asked()

    def _asked(self) -> None:
        for checker in self._checkers:
            self._found(list(checker(self)))

    def _found(self, violations: list[str]) -> None:
        for line in violations:
            if len(self.report.violations) < VIOLATIONS_MAX:
                self.report.violations.append(f"t={self.clock.now:.3f} {line}")

    # --- what faults, steps and embedders may do -------------------------------------------

    def every(self, interval_s: float, action: Callable[[], None]) -> None:
        """Let something happen again and again, at random times, until the world heals."""

        def again() -> None:
            if not self.over:
                action()
                self.clock.after(interval_s * self.fate.uniform(0.5, 1.5), again)

        self.clock.after(interval_s, again)

    def ask(
        self,
        host: Host,
        make: Callable[[int], Command],
        then: Callable[[object], None] | None = None,
    ) -> None:
        """Give a host a command of one's own.

        `make` is given the request's number and returns the command; `then` hears the outcome,
        if one comes: nobody answers for a process that died.
        """
        self.workload.ask(host, make, then)

    def record(self, recorder: Recorder) -> None:
        """Write down every turn of every host from now on; call before `run`."""
        for host in self.hosts:
            host.recorder = recorder

    def add_checker(self, checker: Checker) -> None:
        """Look at the whole world once a virtual second; what it yields are violations."""
        self._checkers.append(checker)

    def crash(self, host: Host) -> None:
        """Kill a process."""
        if host.node is None:
            return
        self.report.crashes += 1
        host.crash()
        self.ledger.host_crashed(host)
        if host.disk.lost:
            disks.void(self, host)

    def start(self, host: Host) -> None:
        """Start a process that is down, unless it is gone for good or its disk is of no use."""
        if host.node is None and not host.gone and host.disk.failing is None:
            host.start()

    def remove(self, host: Host) -> None:
        """Take a host away for good, and what its users were promised with it."""
        self.crash(host)
        host.gone = True
        self.ledger.forgive(host)

    def clone(self, host: Host) -> Host:
        """Return a second machine with a copy of a host's key and disk; it is not started."""
        twin = self._make_host(f"{host.name}c{len(self.twins) + 1}")
        twin.identity, twin.genesis = host.identity, host.genesis
        twin.disk.tables = {name: dict(rows) for name, rows in host.disk.tables.items()}
        self.twins.append(twin)
        return twin

    def burst(self, host: Host, writes: int) -> None:
        """Give a host many writes at once."""
        self.clock.trace(host.name, "burst", writes)
        for number in range(writes):
            key = f"{host.name}-f{number % BURST_KEYS}".encode()
            self.ask(host, partial(Put, channel=CHANNEL, key=key, value=b"burst"))

    def starve(self, host: Host, busy_s: float, gap_s: float, until: float) -> None:
        """Let a host stand still and run in turns, as one starved of its processor does."""

        def again() -> None:
            if not self.over and self.clock.now < until:
                host.pause(busy_s)
                self.clock.after(busy_s + gap_s, again)

        self.clock.after(0.0, again)

    def wall(self, shape: Shape, share: float, dice: Dice) -> Wall:
        """Return a wall that divides the hosts; it stands once it is in `network.walls`."""
        names = [host.name for host in self.hosts]
        if shape is Shape.THIRDS:
            sides = {name: place % 3 for place, name in enumerate(dice.sample(names, len(names)))}
        else:
            small = dice.sample(names, max(1, min(round(share * len(names)), len(names) - 1)))
            sides = dict.fromkeys(small, 1)
        self.clock.trace("wall", shape.value, repr(sorted(sides.items())))
        return wall_of(names, shape, sides)

    # --- the end -------------------------------------------------------------------------

    def _heal(self) -> None:
        self.over = True
        self.network.cut.clear()
        self.network.walls[:] = self._seats.walls
        self.network.faultless = True
        self.deaths.disturbed_at = self.clock.now
        for twin in self.twins:
            twin.crash()
        for host in self.hosts:
            if host.disk.failing is not None:
                host.disk.failing = None
                self.crash(host)
            self.start(host)

    def _present(self) -> list[Host]:
        return [host for host in self.hosts if not host.gone]

    def _measure(self) -> Measured:
        settled = self.report.converged_after_s
        figures: dict[str, Any] = {
            "converged_seconds": math.inf if settled is None else settled,
            **self.tracker.figures(self._present()),
            **self.gauge.figures(),
            **self.stage.figures(),
            "digests_equal": checkers.converged(self._present()),
        }
        joined_at = figures.get("joined_seconds")
        false = self.deaths.after(joined_at)
        figures |= {
            "false_deaths": len(false),
            "no_false_death": not false,
            "joining_deaths": len(self.deaths.while_joining(joined_at)),
        }
        for name in ("connected", "converged"):
            if f"{name}_seconds" in figures:
                rounds = figures[f"{name}_seconds"] / self.scenario.round_s
                figures[f"{name}_rounds"] = rounds
        return Measured(**figures)

    def _settle(self) -> None:
        healed_at = self.clock.now
        while self.clock.now < healed_at + self.scenario.settle_s:
            self.clock.run_until(self.clock.now + 1.0)
            quiet = not self.ledger.open
            if quiet and checkers.converged(self._present()):
                self.report.converged_after_s = self.clock.now - healed_at
                break
        # Liveness has its own clocks: leave the failure detector time to see everyone.
        self.clock.run_until(self.clock.now + 2 * self.scenario.limits.link_silence_s)

    def _finish(self) -> None:
        self.watchman.end()
        self._asked()
        self.report.measured = self._measure()
        self.report.spread = self.tracker.spread()
        self.report.verdicts = list(judge(self.scenario.expect, asdict(self.report.measured)))
        self.report.trace_hash = self.clock.trace_hash
        self.report.steps = self.clock.steps
        self.report.frames = self.network.frames
        self.report.bytes_sent = self.network.bytes_sent
        self.report.commands = len(self.ledger.asked)
        self.report.outcomes = dict(self.ledger.outcomes)
        self.report.acknowledged = self.ledger.acknowledged
