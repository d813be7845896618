"""A small deterministic world of replicas for the tests of gossip.

Hosts with disks that confirm late, links that lose, repeat and reorder messages,
partitions, crashes that lose what was not on disk. Every message and row crosses the
codec. After each step `World.check` compares what every replica shows with what origins
signed; a broken rule of replication shows up as a Violation.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Dot, Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.gossip import (
    Committed,
    Drop,
    Misbehaved,
    Over,
    OwnStreamAhead,
    Push,
    Put,
    Quarantined,
    Replica,
    Serve,
    Spread,
    Store,
    StreamChanged,
    ToLink,
)
from meshcrdt.gossip.header import Dep, Header, KeyOnWire, Ref, seal
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.messages import Delta, build
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State
from meshcrdt.trust.identity import Identity, verify
from meshcrdt.wire import decode, encode

GENESIS = b"g" * 32
LIMITS = Limits()
cached_verify = lru_cache(maxsize=100_000)(verify)


@lru_cache(maxsize=1_024)
def identity_of(number: int) -> Identity:
    return Identity(bytes([number % 255 + 1]) * 31 + bytes([number // 255 or number + 1]))


class Violation(AssertionError):
    """A replica shows what it must not."""


class Host:
    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.identity = identity_of(number)
        self.peer = self.identity.peer
        self.disk: dict[str, dict[bytes, bytes]] = {}
        self.unsynced: list[Store] = []
        self.boots = 0
        self.starts = 0
        self.snapshot: tuple[int, dict[str, dict[bytes, bytes]]] = (0, {})
        self.replica: Replica | None = None
        self.events: list[object] = []
        self.committed: dict[int, Committed] = {}
        self.gone: dict[tuple[str, bytes], set[object]] = {}
        self.shown: dict[tuple[str, bytes], set[object]] = {}

    def start(self) -> None:
        self.boots += 1
        self.starts += 1
        dice = Dice(b"%d/%d/%d" % (self.world.seed, self.number, self.starts))
        self.replica = Replica(
            identity=self.identity,
            genesis=GENESIS,
            epoch=Epoch(self.boots, dice.raw(8)),
            dice=dice,
            limits=self.world.limits,
            verify=cached_verify,
            adjacent=self.world.adjacent,
            spread=self.world.spread,
        )
        self.gone, self.shown = {}, {}
        self.perform(self.replica.load(self.disk, self.world.now))
        self.settle()

    def crash(self) -> None:
        """Lose memory and what the disk has not confirmed."""
        self.replica = None
        self.unsynced = []

    def keep_snapshot(self) -> None:
        """Remember the disk and the boot counter as they are."""
        self.snapshot = (self.boots, {name: dict(rows) for name, rows in self.disk.items()})

    def roll_back(self) -> None:
        """Put the remembered disk back, as a restored virtual machine does."""
        self.world.disks_roll_back = True
        self.boots = self.snapshot[0]
        self.disk = {name: dict(rows) for name, rows in self.snapshot[1].items()}

    def perform(self, outputs: list[object]) -> None:
        for output in outputs:
            self.events.append(output)
            match output:
                case ToLink(link, _, message):
                    self.world.transmit(self, link, encode(message))
                case Serve(link, request):
                    for data in self.running.serve(link, request):
                        self.world.transmit(self, link, data)
                case Push(link, stream, since):
                    data = self.running.render(link, stream, since)
                    if data is not None:
                        self.world.transmit(self, link, data)
                case Store():
                    self.unsynced.append(output)
                case Committed(ticket):
                    self.committed[ticket] = output
                case OwnStreamAhead(_, epoch, _):
                    self.boots = max(self.boots, epoch.counter) + 1
                    self.running.reepoch(Epoch(self.boots, b"reepoch!"))
                case Misbehaved(link, reason):
                    raise Violation(f"host {self.number} closes an honest link: {reason}")
                case Quarantined(origin, channel, rule, _) if self.world.all_honest:
                    raise Violation(f"host {self.number}: {channel}/{origin.short}: {rule}")
                case StreamChanged():
                    self.note_visible(output)

    @property
    def running(self) -> Replica:
        assert self.replica is not None
        return self.replica

    def note_visible(self, change: StreamChanged) -> None:
        """Fail when a dot that was seen to go comes back (L2)."""
        for key in change.keys:
            place = (change.channel, key)
            now = {(v.origin, v.dot) for v in self.running.visible(*place)}
            before = self.shown.get(place, set())
            gone = self.gone.setdefault(place, set())
            if now & gone and not self.world.disks_roll_back:
                raise Violation(f"host {self.number}: {place} is back: {now & gone}")
            gone |= before - now
            self.shown[place] = now

    def settle(self) -> None:
        """What the node does after every event."""
        if self.replica is not None:
            self.perform(self.replica.flush(self.world.now))
            self.world.note_signed(self)

    def sync_disk(self, count: int | None = None) -> None:
        """Confirm the oldest unsynced transactions."""
        if self.replica is None:
            return
        for store in self.unsynced[:count]:
            for table, key, value in store.rows:
                rows = self.disk.setdefault(table, {})
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            self.unsynced.remove(store)
            self.world.note_persisted(self, store)
            self.perform(self.running.stored(store.token, self.world.now))
        self.settle()

    def write(self, channel: str, *changes: Put | Drop) -> int:
        ticket = self.running.write(channel, changes)
        self.settle()
        return ticket

    def put(self, key: bytes, value: bytes, over: Over = Over.ALL, channel: str = "c") -> int:
        return self.write(channel, Put(key, value, over))

    def drop(self, key: bytes, over: Over = Over.ALL, channel: str = "c") -> int:
        return self.write(channel, Drop(key, over))

    def view(self, channel: str = "c") -> dict[bytes, list[bytes]]:
        return {key: sorted(v.value for v in found) for key, found in self.running.entries(channel)}


class World:
    """Hosts that are all linked to each other, or by the given pairs only."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        limits: Limits = LIMITS,
        pairs: Iterable[tuple[int, int]] | None = None,
        spread: Spread = Spread.TREE,
        sees_links: bool = False,
    ) -> None:
        self.spread = spread
        self.sees_links = sees_links
        self.open_links: set[frozenset[PeerId]] = set()
        self.seed = seed
        self.limits = limits
        self.now = 0.0
        self.dice = Dice(b"world/%d" % seed)
        self.wire: list[tuple[int, int, bytes]] = []
        self.cut: set[frozenset[int]] = set()
        self.signed: dict[tuple[str, PeerId, object], dict[bytes, object]] = {}
        self.persisted: set[tuple[str, PeerId, object]] = set()
        self.loss = self.repeat = 0.0
        self.all_honest = True
        self.disks_roll_back = False
        self.hosts = [Host(self, number) for number in range(count)]
        for host in self.hosts:
            host.start()
        every = [(a, b) for a in range(count) for b in range(a + 1, count)]
        self.pairs = {frozenset(pair) for pair in (every if pairs is None else pairs)}
        for a, b in every:
            if frozenset((a, b)) in self.pairs:
                self.open(a, b)

    # --- links: the link number on one host is the number of the other ------------------

    def adjacent(self, one: PeerId, other: PeerId) -> bool:
        return self.sees_links and frozenset((one, other)) in self.open_links

    def open(self, a: int, b: int) -> None:
        ends = (self.hosts[a], self.hosts[b])
        if all(host.replica is not None for host in ends):
            self.open_links.add(frozenset(host.peer for host in ends))
        for one, other in ((a, b), (b, a)):
            host = self.hosts[one]
            if host.replica is not None and self.hosts[other].replica is not None:
                peer = self.hosts[other].peer
                host.perform(host.replica.link_opened(other, peer, self.now))

    def close(self, a: int, b: int) -> None:
        self.wire = [item for item in self.wire if {item[0], item[1]} != {a, b}]
        self.open_links.discard(frozenset((self.hosts[a].peer, self.hosts[b].peer)))
        for one, other in ((a, b), (b, a)):
            replica = self.hosts[one].replica
            if replica is not None:
                self.hosts[one].perform(replica.link_closed(other, self.now))

    def partition(self, a: int, b: int) -> None:
        if frozenset((a, b)) not in self.cut and frozenset((a, b)) in self.pairs:
            self.cut.add(frozenset((a, b)))
            self.close(a, b)

    def heal(self, a: int, b: int) -> None:
        if frozenset((a, b)) in self.cut:
            self.cut.remove(frozenset((a, b)))
            self.open(a, b)

    def crash(self, number: int) -> None:
        if self.hosts[number].replica is None:
            return
        self.hosts[number].crash()
        for other in range(len(self.hosts)):
            if other != number:
                self.close(number, other)

    def restart(self, number: int) -> None:
        if self.hosts[number].replica is not None:
            return
        self.hosts[number].start()
        for other in range(len(self.hosts)):
            if other != number and frozenset((number, other)) in self.pairs - self.cut:
                self.open(min(number, other), max(number, other))

    def transmit(self, host: Host, link: int, data: bytes) -> None:
        assert len(data) <= self.limits.frame_bytes_max
        copies = 2 if self.dice.chance(self.repeat) else 1
        if not self.dice.chance(self.loss):
            self.wire += [(host.number, link, data)] * copies

    def deliver(self, index: int = 0) -> bool:
        """Deliver one message under way; returns False when there is none."""
        if not self.wire:
            return False
        source, target, data = self.wire.pop(index % len(self.wire))
        host = self.hosts[target]
        if host.replica is not None:
            message = decode(data)
            assert isinstance(message, tuple)
            host.perform(host.replica.received(source, message, self.now))
            host.settle()
        return True

    def run(self, *, steps_max: int = 20_000) -> None:
        """Deliver everything in order, the disk keeping up, until nothing moves."""
        for _ in range(steps_max):
            for host in self.hosts:
                host.sync_disk()
            if not self.deliver() and not any(host.unsynced for host in self.hosts):
                return
        raise Violation("the messages do not come to an end")

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for host in self.hosts:
            if host.replica is None:
                continue
            due = host.replica.next_deadline()
            if due is not None and due <= self.now:
                host.perform(host.replica.handle_timeout(self.now))
                host.settle()

    def beat(self) -> None:
        """Let heartbeats show both ends of every open link the other's roots."""
        shown = [host.running.root_prefix() if host.replica else b"" for host in self.hosts]
        for host in self.hosts:
            for link in sorted(host.replica._context.links) if host.replica else ():
                host.perform(host.running.root_seen(link, shown[link], self.now))
                host.settle()

    def rounds(self, count: int) -> None:
        """Let anti-entropy run on a good network."""
        self.loss = self.repeat = 0.0
        self.run()
        for _ in range(count):
            self.tick(4.0)
            self.run()

    # --- the oracle ---------------------------------------------------------------------

    def note_signed(self, host: Host) -> None:
        """Remember what each header meant when its origin signed it."""
        for own in host.running._local._channels.values():
            states = [own.flight.state] if own.flight is not None else []
            held = host.running._local.held(own.name)
            if held is not None and held.header.epoch == host.running.epoch:
                states.append(held)
            for state in states:
                place = (own.name, host.peer, state.ref)
                if place not in self.signed:
                    self.signed[place] = {e.key: e.value for e in state.tree.entries()}

    def note_persisted(self, host: Host, store: Store) -> None:
        for own in host.running._local._channels.values():
            if own.flight is not None and host.running._local._flights.get(store.token) == own.name:
                self.persisted.add((own.name, host.peer, own.flight.state.ref))

    def check(self) -> None:
        """Compare everything that is held with what was signed and stored."""
        for host in self.hosts:
            if host.replica is None:
                continue
            host.replica.check()
            for key, stream in host.replica._context.holdings.streams():
                place = (key.channel, key.origin, stream.state.ref)
                meant = self.signed.get(place)
                held = {e.key: e.value for e in stream.state.tree.entries()}
                if meant != held:
                    raise Violation(f"host {host.number} shows {key} as its origin never signed it")
                if not key.channel.startswith("~") and place not in self.persisted:
                    raise Violation(f"host {host.number} shows {key} before its origin stored it")

    def check_converged(self) -> None:
        self.check()
        running = [host for host in self.hosts if host.replica is not None]
        if len({host.running.root for host in running}) != 1:
            raise Violation("roots differ after healing")
        if len({str(sorted(host.running.digests().items())) for host in running}) != 1:
            raise Violation("digests differ after healing")
        channels = {name for host in running for name in host.running.channels()}
        for name in channels:
            views = [host.view(name) for host in running]
            if any(view != views[0] for view in views):
                raise Violation(f"visible values of {name!r} differ after healing: {views}")


SAMPLE_EPOCH = Epoch(3, b"instance")
SAMPLE_REF = Ref(Epoch(2, b"instance"), 9, b"h" * 32)


def sample_header(**changes: object) -> Header:
    """Return a header of the first host in which every field says something."""
    fields: dict[str, object] = {
        "genesis": GENESIS,
        "channel": "c",
        "origin": identity_of(0).peer,
        "epoch": SAMPLE_EPOCH,
        "seq": 1,
        "previous": b"p" * 32,
        "base": SAMPLE_REF,
        "records_root": b"r" * 32,
        "state_root": b"s" * 32,
        "live_keys": 2,
        "live_bytes": 300,
        "deps": (Dep(identity_of(1).peer, SAMPLE_REF),),
        "capability": b"c" * 32,
    }
    return Header(**(fields | changes))


def forged(
    number: int,
    records: dict[bytes, bytes],
    *,
    channel: str = "c",
    epoch: Epoch | None = None,
    seq: int = 1,
    dot_seq: int | None = None,
    supersedes: dict[bytes, tuple[Dot, ...]] | None = None,
    **overrides: object,
) -> State:
    """Sign a state as an origin would, or, with overrides, as a liar would."""
    identity = identity_of(number)
    epoch = epoch or Epoch(1, b"forgery!")
    over = supersedes or {}
    made = [
        Record(key, Dot(identity.peer, epoch, dot_seq or seq), value, over.get(key, ()))
        for key, value in records.items()
    ]
    tree = MerkleMap[Record]().updated((r.key, r.hash, r) for r in made)
    fields: dict[str, object] = {
        "genesis": GENESIS,
        "channel": channel,
        "origin": identity.peer,
        "epoch": epoch,
        "seq": seq,
        "previous": b"\0" * 32,
        "base": None,
        "records_root": b"\0" * 32,
        "state_root": tree.root,
        "live_keys": len(made),
        "live_bytes": sum(record.cost_bytes for record in made),
    }
    return State(seal(Header(**(fields | overrides)), identity), tree)


def whole(state: State) -> tuple[object, ...]:
    """Return the delta message that carries a whole state."""
    records = tuple(entry.value for entry in state.tree.entries())
    return build(Delta(state.envelope, None, records, ()), KeyOnWire.SENT)
