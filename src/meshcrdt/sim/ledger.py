"""What the users of the simulated cluster were promised, from their side only.

The ledger remembers every command and every acknowledgement, so that the checkers compare
promises with the truth and not the code with itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import define, field

from meshcrdt.base.ids import PeerId
from meshcrdt.ipam.outcomes import Allocated, Claimed
from meshcrdt.node import events
from meshcrdt.node.effects import Reply
from meshcrdt.node.outcomes import Done, ReceiptReached, Written
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.host import Host

CHANNEL = "sim/services"
COUNTER = "sim/hits"
NAMES = "names"
ENDPOINTS = "endpoints"
PEERS = "peers"
SHARED = b"shared"
PRESENT = b"present"
LATE_S = 1.0

Register = tuple[str, str, bytes]
"""(channel, host, key): something that only one host writes."""


@define
class Asked:
    """One command in flight or done."""

    request: int
    host: str
    boots: int
    at: float
    command: events.Command
    deadline: float
    targets: tuple[PeerId, ...] = ()
    """Of a receipt: whom it must at least ask, as known when it was asked for."""
    outcome: object | None = None
    then: Callable[[object], None] | None = None
    """Told the outcome, by whoever asked."""


@define
class Promise:
    """What the writer of a register was promised, and what may still come true.

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


@define
class Count:
    """The increments that one host tried, and those of them that were acknowledged."""

    attempted: int = 0
    acknowledged: int = 0


class Ledger:
    """Every command, every answer, and what follows from them."""

    def __init__(self, clock: Clockwork) -> None:
        self.clock = clock
        self.asked: dict[int, Asked] = {}
        self.open: dict[int, Asked] = {}
        self.registers: dict[Register, Promise] = {}
        self.counts: dict[str, Count] = {}
        self.held: dict[tuple[str, str], set[str]] = {}
        """(host, workload) -> addresses that were acknowledged and not asked back since."""
        self.written: dict[str, Written] = {}
        """The latest acknowledged write of each host, whichever of its runs made it."""
        self.on_reached: Callable[[Asked, events.AwaitReceipt], None] = lambda asked, command: None
        """Called at the moment in which a user hears that all targets hold a write."""
        self.promises_broken: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self._given: dict[tuple[str, str], str] = {}

    @property
    def acknowledged(self) -> int:
        """How many commands were answered with what their users hoped for."""
        good = (Written, Allocated, Claimed, ReceiptReached)
        return sum(self.outcomes[kind.__name__] for kind in good)

    def attempt(self, asked: Asked) -> None:
        """Note that a command is about to be given to its host."""
        self.asked[asked.request] = self.open[asked.request] = asked
        command = asked.command
        written = _written(asked)
        if written is not None:
            register, value = written
            self.registers.setdefault(register, Promise()).attempted(asked.request, value)
        elif isinstance(command, events.Mutate) and command.channel == COUNTER:
            self.counts.setdefault(asked.host, Count()).attempted += 1
        elif isinstance(command, events.Release):
            place = asked.host, command.workload
            for address in list(self.held.get(place, ())):
                if command.address in (None, _plain(address)):
                    self.held[place].discard(address)
                    if self._given.get(place) == address:
                        del self._given[place]

    def replied(self, host: Host, reply: Reply) -> None:
        """Take an answer; two answers to one command are a broken promise."""
        asked = self.open.pop(reply.request, None)
        if asked is None:
            self.promises_broken.append(f"{host.name} answered request {reply.request} twice")
            return
        asked.outcome = outcome = reply.outcome
        self.outcomes[type(outcome).__name__] += 1
        self.clock.trace(host.name, "reply", reply.request, repr(outcome))
        self._in_time(host, asked)
        self._keep(host, asked, reply)
        if asked.then is not None:
            asked.then(outcome)

    def _keep(self, host: Host, asked: Asked, reply: Reply) -> None:
        command, outcome = asked.command, reply.outcome
        if isinstance(outcome, Written | Done):
            written = _written(asked)
            if written is not None:
                self.registers[written[0]].acknowledged(reply.request)
        if isinstance(outcome, Written):
            if outcome.seq:  # else it changed nothing, and there is no header to ask about
                self.written[host.name] = outcome
            if isinstance(command, events.Mutate) and command.channel == COUNTER:
                self.counts.setdefault(host.name, Count()).acknowledged += 1
        elif isinstance(outcome, Allocated) and isinstance(command, events.Allocate):
            self._allocated(host, command.workload, outcome.address)
        elif isinstance(outcome, Claimed) and isinstance(command, events.Claim):
            self._hold(host, command.workload, outcome.address)
        elif isinstance(outcome, ReceiptReached) and isinstance(command, events.AwaitReceipt):
            self.on_reached(asked, command)

    def _in_time(self, host: Host, asked: Asked) -> None:
        late = self.clock.now - asked.deadline
        awake = host.paused_until + LATE_S < self.clock.now
        timed = events.Allocate | events.Claim | events.AwaitReceipt
        if late > LATE_S and awake and isinstance(asked.command, timed):
            self.promises_broken.append(
                f"{host.name} answered request {asked.request} {late:.1f} s after its deadline"
            )

    def _allocated(self, host: Host, workload: str, address: str) -> None:
        if not self._hold(host, workload, address):
            return
        before = self._given.setdefault((host.name, workload), address)
        if before != address:
            self.promises_broken.append(
                f"{workload} held {before} and was given {address} without a release"
            )

    def _hold(self, host: Host, workload: str, address: str) -> bool:
        if any(
            isinstance(other.command, events.Release)
            and other.command.workload == workload
            and other.command.address in (None, _plain(address))
            and other.host == host.name
            for other in self.open.values()
        ):
            return False  # a release is under way: which of the two came last is not known here
        self.held.setdefault((host.name, workload), set()).add(address)
        return True

    def host_crashed(self, host: Host) -> None:
        """Nobody will answer what a dead process was asked; what it promised stands."""
        for request in [r for r, asked in self.open.items() if asked.host == host.name]:
            del self.open[request]

    def forgive(self, host: Host) -> None:
        """A disk went back on what it had confirmed: its host's own promises are void.

        What others were promised stands, and so does that nobody is given the addresses that
        were given here: containers may still use them.
        """
        for register in [each for each in self.registers if each[1] == host.name]:
            del self.registers[register]
        self.counts.pop(host.name, None)
        self.written.pop(host.name, None)
        for place in [place for place in self._given if place[0] == host.name]:
            del self._given[place]

    def overdue(self, slack_s: float) -> list[Asked]:
        """Return commands whose host runs and that should have been answered long ago."""
        now = self.clock.now
        return [asked for asked in self.open.values() if asked.deadline + slack_s < now]


def workload_text(addresses: tuple[str, ...], mac: str) -> bytes | None:
    """Return what a workload's register reads: None for one without addresses."""
    return ",".join((*sorted(addresses), mac)).encode() if addresses else None


def _plain(address: str) -> str:
    return address.partition("/")[0]


def _written(asked: Asked) -> tuple[Register, bytes | None] | None:
    """Return (register, value) of a write to something that only one host writes."""
    command, host = asked.command, asked.host
    match command:
        case events.Put() if command.key != SHARED:
            return (command.channel, host, command.key), command.value
        case events.Delete() if command.key != SHARED:
            return (command.channel, host, command.key), None
        case events.SetName():
            addresses = ",".join(command.addresses).encode()
            return (NAMES, host, command.name.encode()), addresses or None
        case events.SetWorkload():
            key = command.workload.encode()
            return (ENDPOINTS, host, key), workload_text(command.addresses, command.mac)
        case events.Connect():
            return (PEERS, host, command.addresses[0].encode()), PRESENT
        case events.Forget():
            return (PEERS, host, command.peers[0].encode()), None
        case _:
            return None
