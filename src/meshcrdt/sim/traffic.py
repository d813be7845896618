"""Sends the measured messages of a scenario, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcrdt.node.events import Put
from meshcrdt.node.outcomes import Written
from meshcrdt.sim.host import Host
from meshcrdt.sim.metrics import marked
from meshcrdt.sim.scenario import Senders, Traffic

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

LOOK_EVERY_S = 0.01
"""How often a round that waits for its messages looks whether they are everywhere."""


class Sender:
    """The users who send."""

    def __init__(self, world: World, traffic: Traffic) -> None:
        self._world = world
        self._traffic = traffic
        self._dice = world.dice.fork("traffic")
        self._one = self._dice.choice(world.hosts)
        self._sent: dict[str, int] = {}
        self.rounds = 0
        self._finished = False

    def begin(self) -> None:
        """Send the first round now, and the others as the scenario says."""
        self._round()

    @property
    def finished(self) -> bool:
        """Return True when every round was sent and has ended."""
        return self._finished

    def _round(self) -> None:
        traffic, clock = self._traffic, self._world.clock
        if self._world.over or (traffic.rounds and self.rounds >= traffic.rounds):
            self._finished = True
            return
        self.rounds += 1
        sent: list[int] = []
        for host in self._senders():
            if traffic.over_s:
                clock.after(self._dice.uniform(0.0, traffic.over_s), self._send, host, sent)
            else:
                self._send(host, sent)
        if traffic.every_s:
            clock.after(traffic.every_s, self._round)
        else:
            clock.after(traffic.over_s, self._await, sent, clock.now + traffic.timeout_s)

    def _await(self, sent: list[int], until: float) -> None:
        clock = self._world.clock
        if clock.now >= until or (sent and self._world.tracker.everywhere(sent)):
            self._round()
        else:
            clock.after(LOOK_EVERY_S, self._await, sent, until)

    def _senders(self) -> list[Host]:
        running = [host for host in self._world.hosts if host.node is not None and not host.quiet]
        match self._traffic.senders:
            case Senders.ALL:
                return running
            case Senders.ONE:
                return [self._one] if self._one in running else []
            case Senders.MANY:
                return [self._dice.choice(running)] if running else []

    def _send(self, host: Host, numbers: list[int]) -> None:
        world, traffic = self._world, self._traffic
        if host.node is None or host.node.core is None:
            return  # it has not joined: nobody can ask it for anything yet
        sent = self._sent[host.name] = self._sent.get(host.name, 0) + 1
        key = f"{host.name}-m{sent % traffic.keys if traffic.keys else sent}".encode()
        number = world.tracker.sent(host, key)
        value = marked(number, traffic.size_bytes)

        def answered(outcome: object) -> None:
            world.tracker.messages[number].acknowledged = isinstance(outcome, Written)

        world.ask(host, lambda request: Put(request, traffic.channel, key, value), answered)
        numbers.append(number)
