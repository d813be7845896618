"""The world: makes hosts, lets faults happen, checks, heals, and checks again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH
from meshcrdt.base.memo import Memo
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.events import AwaitReceipt
from meshcrdt.sim import checkers
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.disk import Disk
from meshcrdt.sim.host import Host, Step
from meshcrdt.sim.ledger import Asked
from meshcrdt.sim.memo import WorldMemo
from meshcrdt.sim.network import SCHEME, Network
from meshcrdt.sim.report import Report
from meshcrdt.sim.scenario import Scenario
from meshcrdt.sim.workload import DOMAIN, Workload
from meshcrdt.trust.identity import verify

VIOLATIONS_MAX = 20
"""A broken run repeats itself: the first findings tell the story."""


class World:
    """One simulated cluster and its fate."""

    def __init__(self, scenario: Scenario, *, memo: Memo | None = None) -> None:
        """Make a cluster; `memo` is what its hosts share, which changes nothing but the cost."""
        self.scenario = scenario
        self.clock = Clockwork()
        self.dice = Dice(f"world {scenario.seed}".encode())
        self.network = Network(scenario, self.clock, self.dice.fork("network"))
        self.report = Report(scenario)
        self._fate = self.dice.fork("fate")
        self.memo: Memo = WorldMemo() if memo is None else memo
        self._verify = partial(self.memo.of_equal, verify)
        self._over = False
        self.hosts = [self._make_host(index) for index in range(scenario.nodes)]
        self.workload = Workload(
            self.clock, self.dice.fork("workload"), self.hosts, universe=scenario.universes[0]
        )
        self.ledger = self.workload.ledger
        self.ledger.on_reached = self._reached
        for host in self.hosts:
            host.on_step = self._stepped
        first = self.hosts[0]
        first.genesis = Genesis.make(
            first.identity,
            universes=scenario.universes,
            nonce=self.dice.fork("genesis").raw(16),
        )

    def run(self) -> Report:
        """Live through the scenario; returns what happened and what was violated."""
        scenario, faults = self.scenario, self.scenario.faults
        for index, host in enumerate(self.hosts):
            self.clock.at(index * 0.2, host.start)
        self._every(1.0, self._second)
        self._every(30.0, self._half_minute)
        self._every(scenario.command_every_s, self.workload.one)
        if faults.partition_every_s:
            self._every(faults.partition_every_s, self._partition)
        if faults.link_reset_every_s:
            self._every(faults.link_reset_every_s, self.network.reset_some_link)
        if faults.crash_every_s:
            self._every(faults.crash_every_s, self._crash_one)
        if faults.pause_every_s:
            self._every(faults.pause_every_s, self._pause_one)
        self.clock.run_until(scenario.duration_s)
        self._heal()
        self._settle()
        self._finish()
        return self.report

    # --- making --------------------------------------------------------------------------

    def _make_host(self, index: int) -> Host:
        name = f"n{index + 1}"
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
        return NodeConfig(
            identity=host.identity,
            epoch=BOTTOM_EPOCH,
            genesis=host.genesis,
            name=host.name,
            advertise=(SCHEME + host.name,),
            peers=() if host.name == "n1" else (SCHEME + "n1",),
            domain=DOMAIN,
            limits=self.scenario.limits,
            verify=self._verify,
            memo=self.memo,
        )

    def _every(self, interval_s: float, action: Callable[[], None]) -> None:
        def again() -> None:
            if not self._over:
                action()
                self.clock.after(interval_s * self._fate.uniform(0.5, 1.5), again)

        self.clock.after(interval_s, again)

    # --- checking ------------------------------------------------------------------------

    def _stepped(self, host: Host, step: Step) -> None:
        if step is Step.STATE:
            self._found(checkers.check_stepped(host))

    def _second(self) -> None:
        for host in self.hosts:
            self._found(checkers.check_stepped(host))
        self._found(checkers.check_addresses(self.hosts))
        self._found(checkers.check_held(self.ledger, self.hosts))
        self._found(checkers.check_promises(self.ledger))

    def _reached(self, asked: Asked, command: AwaitReceipt) -> None:
        self._found(checkers.check_receipt(asked, command, self.hosts))

    def _half_minute(self) -> None:
        for host in self.hosts:
            self._found(checkers.check_whole(host))

    def _found(self, violations: list[str]) -> None:
        for line in violations:
            if len(self.report.violations) < VIOLATIONS_MAX:
                self.report.violations.append(f"t={self.clock.now:.3f} {line}")

    # --- fate ----------------------------------------------------------------------------

    def _partition(self) -> None:
        if self.network.cut or len(self.hosts) < 2:
            return
        names = [host.name for host in self.hosts]
        side = set(self._fate.sample(names, self._fate.integer(1, len(names) - 1)))
        one_way = self._fate.chance(self.scenario.faults.one_way)
        for a in names:
            for b in names:
                if (a in side) and (b not in side):
                    self.network.cut.add((a, b))
                    if not one_way:
                        self.network.cut.add((b, a))
        self.report.partitions += 1
        self.clock.trace("partition", " ".join(sorted(side)), one_way)
        length = self.scenario.faults.partition_for_s * self._fate.uniform(0.5, 1.5)
        self.clock.after(length, self.network.cut.clear)

    def _crash_one(self) -> None:
        running = [host for host in self.hosts if host.node is not None]
        if not running:
            return
        host = self._fate.choice(running)
        self.report.crashes += 1
        host.crash()
        self.ledger.host_crashed(host)
        down = self.scenario.faults.down_for_s * self._fate.uniform(0.2, 1.5)
        self.clock.after(down, lambda: self._restart(host))

    def _restart(self, host: Host) -> None:
        if host.node is None:
            host.start()

    def _pause_one(self) -> None:
        running = [host for host in self.hosts if host.node is not None]
        if running:
            length = self.scenario.faults.pause_for_s * self._fate.uniform(0.2, 1.5)
            self._fate.choice(running).pause(length)

    # --- the end -------------------------------------------------------------------------

    def _heal(self) -> None:
        self._over = True
        self.network.cut.clear()
        self.network.faultless = True
        for host in self.hosts:
            self._restart(host)

    def _settle(self) -> None:
        healed_at = self.clock.now
        while self.clock.now < healed_at + self.scenario.settle_s:
            self.clock.run_until(self.clock.now + 1.0)
            quiet = not self.ledger.open
            if quiet and checkers.converged(self.hosts):
                self.report.converged_after_s = self.clock.now - healed_at
                break
        # Liveness has its own clocks: leave the failure detector time to see everyone.
        self.clock.run_until(self.clock.now + 2 * self.scenario.limits.link_silence_s)

    def _finish(self) -> None:
        self._second()
        self._found(checkers.check_end(self.ledger, self.hosts, self.clock.now))
        self.report.trace_hash = self.clock.trace_hash
        self.report.steps = self.clock.steps
        self.report.frames = self.network.frames
        self.report.bytes_sent = self.network.bytes_sent
        self.report.commands = len(self.ledger.asked)
        self.report.outcomes = dict(self.ledger.outcomes)
        self.report.acknowledged = self.ledger.acknowledged
