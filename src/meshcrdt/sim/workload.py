"""What users do to the simulated cluster, and what they were promised.

The ledger remembers every command and every acknowledgement, from the users' side only, so
that the checkers compare promises with the truth and not the code with itself.
"""

from __future__ import annotations

from attrs import define, field

from meshcrdt.base.dice import Dice
from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.node import events
from meshcrdt.node.effects import Reply
from meshcrdt.node.outcomes import Written
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.host import Host

CHANNEL = "sim/services"
NAMES = "names"
SHARED = b"shared"
DOMAIN = "mesh.internal."
KEYS_PER_HOST = 6
WORKLOADS_PER_HOST = 8
NAMES_PER_HOST = 3
COMMAND_TIMEOUT_S = 10.0


@define
class Asked:
    """One command in flight or done."""

    request: int
    host: str
    boots: int
    at: float
    command: events.Command
    deadline: float
    outcome: object | None = None


@define
class Register:
    """One single-writer key: what its writer was promised, and what may still come true.

    `attempts` holds (request, value): the last acknowledged write and every later attempt,
    any of which may be read at the end.
    """

    attempts: list[tuple[int, bytes | None]] = field(factory=lambda: [(0, None)])

    def attempted(self, request: int, value: bytes | None) -> None:
        """A write was tried: it may come true."""
        self.attempts.append((request, value))

    def acknowledged(self, request: int) -> None:
        """A write was acknowledged: everything tried before it is history."""
        self.attempts = [entry for entry in self.attempts if entry[0] >= request]

    @property
    def possible(self) -> list[bytes | None]:
        """Return the values that may be read."""
        return [value for _, value in self.attempts]


class Workload:
    """Draws random commands and keeps the ledger."""

    def __init__(self, clock: Clockwork, dice: Dice, hosts: list[Host]) -> None:
        self.clock = clock
        self.dice = dice
        self.hosts = hosts
        self.asked: dict[int, Asked] = {}
        self.open: dict[int, Asked] = {}
        self.registers: dict[tuple[str, bytes], Register] = {}
        self.held: dict[tuple[str, str], str] = {}
        """(host, workload) -> address that was acknowledged and not asked back since."""
        self.promises_broken: list[str] = []
        self.acknowledged = 0
        self._next = 0
        for host in hosts:
            host.on_reply = self.replied

    def one(self) -> None:
        """Give one random command to one random running host."""
        running = [host for host in self.hosts if host.node is not None]
        if not running:
            return
        host = self.dice.choice(running)
        self._next += 1
        command = self._draw(host, self._next)
        asked = Asked(
            request=self._next,
            host=host.name,
            boots=host.boots,
            at=self.clock.now,
            command=command,
            deadline=self.clock.now + COMMAND_TIMEOUT_S,
        )
        self.asked[asked.request] = self.open[asked.request] = asked
        self._attempted(host, command)
        host.command(command)

    def _draw(self, host: Host, request: int) -> events.Command:
        roll = self.dice.integer(0, 99)
        workload = f"{host.name}-w{self.dice.integer(1, WORKLOADS_PER_HOST)}"
        key = f"{host.name}-k{self.dice.integer(1, KEYS_PER_HOST)}".encode()
        deadline = self.clock.now + COMMAND_TIMEOUT_S
        if roll < 30:
            return events.Put(request, CHANNEL, key, f"v{request}".encode())
        if roll < 40:
            return events.Delete(request, CHANNEL, key)
        if roll < 50:
            # Shared keys: any host writes them; they must converge, to a value somebody wrote.
            return events.Put(request, CHANNEL, SHARED, f"v{request}".encode())
        if roll < 53:
            return events.Delete(request, CHANNEL, SHARED)
        if roll < 75:
            return events.Allocate(request, workload, None, deadline)
        if roll < 90:
            return events.Release(request, workload)
        name = f"{host.name}-n{self.dice.integer(1, NAMES_PER_HOST)}"
        addresses = () if self.dice.chance(0.3) else (f"10.99.0.{request % 250 + 1}",)
        return events.SetName(request, name, addresses)

    def _attempted(self, host: Host, command: events.Command) -> None:
        written = _written(command)
        if written is not None:
            channel, key, value = written
            register = self.registers.setdefault((channel, key), Register())
            register.attempted(command.request, value)
        elif isinstance(command, events.Release):
            self.held.pop((host.name, command.workload), None)

    def replied(self, host: Host, reply: Reply) -> None:
        """Take an answer; two answers to one command are a broken promise."""
        asked = self.open.pop(reply.request, None)
        if asked is None:
            self.promises_broken.append(f"{host.name} answered request {reply.request} twice")
            return
        asked.outcome = reply.outcome
        self.clock.trace(host.name, "reply", reply.request, repr(reply.outcome))
        late = self.clock.now - asked.deadline
        awake = host.paused_until + 1.0 < self.clock.now
        if late > 1.0 and awake and isinstance(asked.command, events.Allocate):
            self.promises_broken.append(
                f"{host.name} answered request {reply.request} {late:.1f} s after its deadline"
            )
        if isinstance(reply.outcome, Written):
            self.acknowledged += 1
            written = _written(asked.command)
            if written is not None:
                self.registers[written[:2]].acknowledged(reply.request)
        elif isinstance(reply.outcome, Allocated) and isinstance(asked.command, events.Allocate):
            self.acknowledged += 1
            self._allocated(host, asked.command.workload, reply.outcome.address)

    def _allocated(self, host: Host, workload: str, address: str) -> None:
        if any(
            isinstance(other.command, events.Release)
            and other.command.workload == workload
            and other.host == host.name
            for other in self.open.values()
        ):
            return  # a release is under way: which of the two came last is not known here
        before = self.held.get((host.name, workload))
        if before is not None and before != address:
            self.promises_broken.append(
                f"{workload} held {before} and was given {address} without a release"
            )
        self.held[host.name, workload] = address

    def host_crashed(self, host: Host) -> None:
        """Nobody will answer what a dead process was asked."""
        for request in [r for r, asked in self.open.items() if asked.host == host.name]:
            asked = self.open.pop(request)
            if isinstance(asked.command, events.Allocate | events.Release):
                # It may or may not have happened: the address is no longer a promise.
                self.held.pop((host.name, asked.command.workload), None)

    def overdue(self, slack_s: float) -> list[Asked]:
        """Return commands whose host runs and that should have been answered long ago."""
        now = self.clock.now
        return [asked for asked in self.open.values() if asked.deadline + slack_s < now]


def _written(command: events.Command) -> tuple[str, bytes, bytes | None] | None:
    """Return (channel, key, value) of a write to a key that only one host writes."""
    match command:
        case events.Put() if command.key != SHARED:
            return CHANNEL, command.key, command.value
        case events.Delete() if command.key != SHARED:
            return CHANNEL, command.key, None
        case events.SetName():
            return NAMES, command.name.encode(), ",".join(command.addresses).encode() or None
        case _:
            return None
