"""What users do to the simulated cluster: one random command at a time.

The promises that come of it are kept in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.crdt import GCounter
from meshcrdt.node import events
from meshcrdt.ranges import Cidr, format_address
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.host import Host
from meshcrdt.sim.ledger import CHANNEL, COUNTER, SHARED, Asked, Ledger
from meshcrdt.sim.network import SCHEME

DOMAIN = "mesh.internal."
KEYS_PER_HOST = 6
WORKLOADS_PER_HOST = 8
NAMES_PER_HOST = 3
COMMAND_TIMEOUT_S = 10.0
RARELY = 0.02
"""The share of commands that change whom a host dials."""


@define
class Increment:
    """Adds one for a host; a class and not a function, so that its repr is the same each run."""

    origin: PeerId
    returned: GCounter | None = field(default=None, repr=False)
    """What it returned last, for a trace."""

    def __call__(self, counter: GCounter) -> GCounter:
        """Return the delta."""
        self.returned = counter.increment(self.origin)
        return self.returned


class Workload:
    """Draws random commands and gives them to random hosts."""

    def __init__(self, clock: Clockwork, dice: Dice, hosts: list[Host], *, universe: str) -> None:
        self.clock = clock
        self.dice = dice
        self.hosts = hosts
        self.ledger = Ledger(clock)
        self._universe = Cidr.parse(universe)
        self._next = 0
        for host in hosts:
            host.on_reply = self.ledger.replied

    def one(self) -> None:
        """Give one random command to one random running host."""
        running = [host for host in self.hosts if host.node is not None and not host.quiet]
        if running:
            host = self.dice.choice(running)
            self.ask(host, lambda request: self._draw(host, request))

    def ask(
        self,
        host: Host,
        make: Callable[[int], events.Command],
        then: Callable[[object], None] | None = None,
    ) -> None:
        """Give a host one command; what it is promised is kept in the ledger.

        `make` is given the number of the request and returns the command; `then` hears the
        outcome, if one comes.
        """
        self._next += 1
        command = make(self._next)
        deadline = self.clock.now + COMMAND_TIMEOUT_S
        asked = Asked(
            self._next, host.name, host.boots, self.clock.now, command, deadline, then=then
        )
        if isinstance(command, events.AwaitReceipt) and host.node is not None:
            asked.targets = (
                tuple(host.node.topology.members())
                if isinstance(command.targets, events.Targets)
                else command.targets
            )
        self.ledger.attempt(asked)
        host.command(command)

    def _draw(self, host: Host, request: int) -> events.Command:
        if self.dice.chance(RARELY):
            command = self._peering(host, request)
            if command is not None:
                return command
        roll = self.dice.integer(0, 99)
        if roll < 30:
            return self._entry(host, request)
        if roll < 38:
            return events.Mutate(request, COUNTER, GCounter, Increment(host.identity.peer))
        if roll < 70:
            return self._address(host, request)
        if roll < 80:
            return self._endpoints(host, request)
        if roll < 86:
            return self._receipt(host, request) or self._entry(host, request)
        name = f"{host.name}-n{self.dice.integer(1, NAMES_PER_HOST)}"
        addresses = () if self.dice.chance(0.3) else (f"10.99.0.{request % 250 + 1}",)
        return events.SetName(request, name, addresses)

    def _entry(self, host: Host, request: int) -> events.Command:
        # Shared keys: any host writes them; they must converge, to a value somebody wrote.
        own = f"{host.name}-k{self.dice.integer(1, KEYS_PER_HOST)}".encode()
        key = SHARED if self.dice.chance(0.25) else own
        if self.dice.chance(0.25):
            return events.Delete(request, CHANNEL, key)
        return events.Put(request, CHANNEL, key, f"v{request}".encode())

    def _address(self, host: Host, request: int) -> events.Command:
        roll = self.dice.integer(0, 99)
        workload = f"{host.name}-w{self.dice.integer(1, WORKLOADS_PER_HOST)}"
        deadline = host.time() + COMMAND_TIMEOUT_S
        if roll < 50:
            return events.Allocate(request, workload, None, deadline)
        if roll < 70:
            return events.Claim(request, workload, self._claimable(host), deadline)
        held = sorted(self.ledger.held.get((host.name, workload), ()))
        if held and self.dice.chance(0.3):
            return events.Release(request, workload, self.dice.choice(held).partition("/")[0])
        return events.Release(request, workload)

    def _claimable(self, host: Host) -> str:
        """Return an address in or just beside a block of the host, or anywhere."""
        core = host.node.core if host.node is not None else None
        blocks = core.ipam.blocks if core is not None else ()
        first, end = self._universe.network, self._universe.end
        if blocks and self.dice.chance(0.75):
            block = self.dice.choice(list(blocks)).cidr
            first, end = max(first, block.network - 4), min(end, block.end + 4)
        return format_address(self._universe.family, self.dice.integer(first, end - 1))

    def _endpoints(self, host: Host, request: int) -> events.Command:
        number = self.dice.integer(1, WORKLOADS_PER_HOST)
        count = self.dice.integer(0, 2)
        at = self.hosts.index(host)
        addresses = tuple(f"10.98.{at}.{number * 4 + offset}" for offset in range(count))
        mac = f"02:00:00:00:00:{request % 256:02x}"
        return events.SetWorkload(request, f"{host.name}-e{number}", addresses, mac)

    def _receipt(self, host: Host, request: int) -> events.Command | None:
        written = self.ledger.written.get(host.name)
        if written is None:
            return None
        peers = [other.identity.peer for other in self.hosts if other is not host]
        targets: tuple[PeerId, ...] | events.Targets = events.Targets.ALL
        if peers and self.dice.chance(0.7):
            targets = tuple(self.dice.sample(peers, self.dice.integer(1, len(peers))))
        return events.AwaitReceipt(
            request,
            written.channel,
            written.epoch.counter,
            written.epoch.instance,
            written.seq,
            targets,
            events.Durability.DURABLE,
            host.time() + COMMAND_TIMEOUT_S,
        )

    def _peering(self, host: Host, request: int) -> events.Command | None:
        """Change whom a host dials besides the first, which it is told at each start."""
        others = [other.name for other in self.hosts[1:] if other is not host]
        if not others:
            return None
        address = SCHEME + self.dice.choice(others)
        if self.dice.chance(0.7):
            return events.Connect(request, (address,))
        return events.Forget(request, (address,))
