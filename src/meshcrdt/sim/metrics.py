"""What a run shows beside its invariants: how far, how fast and at what cost messages went.

Measured from outside, by bytes that can be recognised on any link and by what each host
shows its watchers, so that the figures mean the same whatever the protocol does inside.
Redundancy and last delivery hop as in Leitao et al., "Epidemic Broadcast Trees" (2007).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from attrs import define, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.node.effects import Changed
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.host import Host
from meshcrdt.sim.network import Network

MARK = re.compile(rb"~(\d{8})~")
"""What stands in the value of every measured message; nothing on the wire is compressed."""
MARK_BYTES = 10
UNKNOWN_HOPS = 255


def marked(number: int, size_bytes: int) -> bytes:
    """Return a value that can be recognised on the wire, of at least `MARK_BYTES`."""
    return b"~%08d~" % number + b"." * max(0, size_bytes - MARK_BYTES)


@frozen(kw_only=True)
class Measured:
    """The figures of one run; None where a scenario did nothing that would show it.

    Times are virtual seconds. What did not happen until the end took infinitely long.
    """

    delivery: float | None = None
    missed: int | None = None
    messages: int = 0
    redundancy: float | None = None
    hops: float | None = None
    hops_worst: int | None = None
    seconds: float | None = None
    """From sending until the last host had it: the worst message."""
    seconds_mean: float | None = None
    seconds_p99: float | None = None
    """Of all single deliveries."""
    joined_seconds: float | None = None
    noticed_seconds: float | None = None
    connected_seconds: float | None = None
    connected_rounds: float | None = None
    reached_seconds: float | None = None
    converged_seconds: float | None = None
    converged_rounds: float | None = None
    digests_equal: bool = False
    false_deaths: int = 0
    no_false_death: bool = True
    joining_deaths: int = 0
    """The same, from before everybody had heard of everybody."""
    bytes_per_node_second: float = 0.0
    frames_per_node_second: float = 0.0
    bytes_per_second_busiest: float = 0.0
    """Of the host that sent most."""


@define
class Message:
    """One message on its way."""

    number: int
    origin: int
    sent_at: float
    hops: bytearray
    """By host index; `UNKNOWN_HOPS` where it has not arrived."""
    acknowledged: bool = False
    copies: int = 0
    arrived: int = 0
    last_at: float = 0.0
    last_hop: int = 0


class Tracker:
    """Follows messages from host to host."""

    def __init__(
        self, clock: Clockwork, network: Network, hosts: Sequence[Host], channel: str
    ) -> None:
        self.channel = channel
        self.messages: list[Message] = []
        self._clock = clock
        self._network = network
        self._hosts = hosts
        self._index = {host.name: index for index, host in enumerate(hosts)}
        self._on_key: dict[bytes, list[int]] = {}
        self._delays: list[float] = []

    def sent(self, host: Host, key: bytes) -> int:
        """Note that a host is about to send under a key; returns the number of the message."""
        number = len(self.messages)
        origin = self._index[host.name]
        hops = bytearray([UNKNOWN_HOPS]) * len(self._hosts)
        self.messages.append(Message(number, origin, self._clock.now, hops))
        self._on_key.setdefault(key, []).append(number)
        return number

    def changed(self, host: Host, effect: Changed) -> None:
        """Note what a host began to see."""
        if effect.channel != self.channel:
            return
        for key in effect.keys:
            numbers = self._on_key.get(key)
            if numbers is None:
                continue
            newest = numbers[-1]
            if len(numbers) > 1:
                seen = None if host.node is None else host.node.get(self.channel, key)
                found = MARK.search(seen or b"")
                if found is None:
                    continue
                newest = int(found[1])
            for number in numbers:
                if number <= newest:
                    self._deliver(host, self.messages[number])

    def _deliver(self, host: Host, message: Message) -> None:
        index = self._index[host.name]
        if message.hops[index] != UNKNOWN_HOPS:
            return
        if index == message.origin:
            message.hops[index] = 0
            return
        before = UNKNOWN_HOPS if host.hearing is None else self._hops_of_teller(host, message)
        hop = min(before + 1, UNKNOWN_HOPS - 1)
        message.hops[index] = hop
        message.arrived += 1
        message.last_at = self._clock.now
        if before != UNKNOWN_HOPS:
            message.last_hop = max(message.last_hop, hop)
        self._delays.append(self._clock.now - message.sent_at)

    def _hops_of_teller(self, host: Host, message: Message) -> int:
        found = self._network.pipes.get((host.name, host.hearing or 0))
        if found is None:
            return UNKNOWN_HOPS
        pipe, side = found
        return message.hops[self._index.get(pipe.ends[1 - side][0].name, message.origin)]

    def arrived(self, host: Host, frame: bytes) -> None:
        """Count the copies of messages in a frame that reached a host."""
        for found in MARK.finditer(frame):
            number = int(found[1])
            if number < len(self.messages):
                self.messages[number].copies += 1

    def everywhere(self, numbers: Sequence[int]) -> bool:
        """Return True when every host that runs has these messages."""
        running = [index for index, host in enumerate(self._hosts) if host.node is not None]
        return all(
            self.messages[number].hops[index] != UNKNOWN_HOPS
            for number in numbers
            for index in running
        )

    def spread(self) -> list[tuple[float, float]]:
        """Return after how many seconds each hundredth of the deliveries had happened."""
        delays = sorted(self._delays)
        if not delays:
            return []
        shares = [hundredth / 100 for hundredth in range(101)]
        return [(round(delays[int(share * (len(delays) - 1))], 6), share) for share in shares]

    def figures(self, hosts: Sequence[Host]) -> dict[str, float | int | None]:
        """Return what is known of the messages, judged by what the hosts hold now."""
        acknowledged = [message for message in self.messages if message.acknowledged]
        if not acknowledged:
            return {"messages": 0}
        superseded = {number for numbers in self._on_key.values() for number in numbers[:-1]}
        held = {key: numbers[-1] for key, numbers in self._on_key.items()}
        by_number = {number: key for key, number in held.items()}
        wanted = missed = 0
        for message in acknowledged:
            if message.number in superseded:
                continue
            for host in hosts:
                if host.node is not None:
                    wanted += 1
                    found = host.node.get(self.channel, by_number[message.number])
                    missed += found is None or b"~%08d~" % message.number not in found
        arrived = sum(message.arrived for message in self.messages)
        spread = [message for message in acknowledged if message.arrived]
        delays = sorted(self._delays)
        return {
            "messages": len(self.messages),
            "delivery": (wanted - missed) / wanted if wanted else None,
            "missed": missed,
            "redundancy": (
                sum(message.copies for message in self.messages) / arrived - 1 if arrived else None
            ),
            "hops": _mean([message.last_hop for message in spread]),
            "hops_worst": max((message.last_hop for message in spread), default=None),
            "seconds": max((m.last_at - m.sent_at for m in spread), default=None),
            "seconds_mean": _mean([m.last_at - m.sent_at for m in spread]),
            "seconds_p99": delays[int(0.99 * (len(delays) - 1))] if delays else None,
        }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


class Deaths:
    """Counts hosts that were called dead although nothing was wrong with them."""

    def __init__(self, hosts: Sequence[Host], grace_s: float) -> None:
        self._false: list[tuple[float, str]] = []
        self.disturbed_at = 0.0
        """When the network last became whole; deaths from before say nothing."""
        self._grace_s = grace_s
        self._by_peer = {host.identity.peer: host for host in hosts}
        self._looked: dict[str, tuple[float, frozenset[PeerId]]] = {}
        """By host the time of the newest death that was judged, and whose those were."""

    def look(self, host: Host) -> None:
        """Look at what a host thinks of the others, where that changed."""
        node = host.node
        if node is None or not node.dead_since:
            return
        last, judged = self._looked.get(host.name, (-math.inf, frozenset()))
        newest, now_judged = last, set(judged)
        # Newest first, down to what was judged before, which may be gone from the table by now.
        for peer, since in reversed(node.dead_since.items()):
            if since < last or (since == last and peer in judged):
                break
            if since > newest:
                newest, now_judged = since, set()
            if since == newest:
                now_judged.add(peer)
            self._judge(host, peer, since)
        self._looked[host.name] = newest, frozenset(now_judged)

    def _judge(self, host: Host, peer: PeerId, since: float) -> None:
        subject = self._by_peer.get(peer)
        if subject is None or subject.node is None:
            return
        at = since - host.ahead_s
        if at >= max(subject.well_since, self.disturbed_at) + self._grace_s:
            self._false.append((at, f"t={at:.3f} {host.name} took {subject.name} for dead"))

    def after(self, joined_at: float | None) -> list[str]:
        """Return what was wrong once everybody knew everybody; all of it when that never was."""
        return [text for at, text in self._false if joined_at is None or at >= joined_at]

    def while_joining(self, joined_at: float | None) -> list[str]:
        """Return what was wrong before: not everybody had heard of everybody yet."""
        return [text for at, text in self._false if joined_at is not None and at < joined_at]


class Gauge:
    """Counts what goes over the wires while it is on."""

    def __init__(self, clock: Clockwork, network: Network, hosts: Sequence[Host]) -> None:
        self._clock = clock
        self._network = network
        self._hosts = hosts
        self._begun = (0.0, 0, 0)
        self._ended = (0.0, 0, 0)
        self._busiest = 0

    def _read(self) -> tuple[float, int, int]:
        return self._clock.now, self._network.frames, self._network.bytes_sent

    def begin(self) -> None:
        """Count from now."""
        self._begun = self._read()
        for host in self._hosts:
            host.bytes_sent = host.frames_sent = 0

    def end(self) -> None:
        """Count until now."""
        self._ended = self._read()
        self._busiest = max(host.bytes_sent for host in self._hosts)

    def figures(self) -> dict[str, float]:
        """Return what each host sent in each second, on average, and what the busiest sent."""
        seconds = self._ended[0] - self._begun[0]
        if seconds <= 0:
            return {}
        return {
            "bytes_per_node_second": (self._ended[2] - self._begun[2]) / seconds / len(self._hosts),
            "frames_per_node_second": (self._ended[1] - self._begun[1])
            / seconds
            / len(self._hosts),
            "bytes_per_second_busiest": self._busiest / seconds,
        }


def components(network: Network, hosts: Sequence[Host]) -> int:
    """Return how many parts the links of the running hosts make."""
    parents = {host.name: host.name for host in hosts if host.node is not None}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for (name, _), (pipe, side) in network.pipes.items():
        other = pipe.ends[1 - side][0].name
        if pipe.open and name in parents and other in parents:
            parents[root(name)] = root(other)
    return sum(name == parent for name, parent in parents.items())
