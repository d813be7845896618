"""This node's own writes: staged, flushed under one signed header, shown when durable.

Group commit: while one flush of a channel is at the disk, later writes to it wait
together and become the next flush. A durable flush enters the replicated state only when
the store has confirmed it (rule R13, finding F15); a volatile one enters at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from meshcrdt.base.ids import Dot
from meshcrdt.errors import CapacityError, InternalError, UsageError
from meshcrdt.gossip.cancels import Deps, Intent, Purpose, record_after
from meshcrdt.gossip.changes import Change, Over, Put, Writer
from meshcrdt.gossip.channels import Kind, Scope, kind_of, scope_of
from meshcrdt.gossip.context import Context, Settled
from meshcrdt.gossip.durable import state_rows
from meshcrdt.gossip.header import Dep, Header, Ref, StreamKey, seal
from meshcrdt.gossip.merkle import NO_HASH, MerkleMap
from meshcrdt.gossip.outputs import Committed
from meshcrdt.gossip.record import RECORD_OVERHEAD_BYTES, Record, records_root
from meshcrdt.gossip.stream import State, changed_tree


@frozen
class Flight:
    """A flush that is at the disk."""

    state: State
    changed: frozenset[bytes]
    tickets: tuple[int, ...]


@frozen
class _Growth:
    """How much what is staged can add to the stream at most."""

    keys: int = 0
    size_bytes: int = 0

    def plus(self, other: _Growth) -> _Growth:
        return _Growth(self.keys + other.keys, self.size_bytes + other.size_bytes)

    def minus(self, other: _Growth) -> _Growth:
        return _Growth(self.keys - other.keys, self.size_bytes - other.size_bytes)


def _growth(intent: Intent | None, current: Record | None) -> _Growth:
    """Return an upper bound of what an intent adds; only what users stage is counted."""
    if intent is None or intent.purpose not in (Purpose.PUT, Purpose.DROP):
        return _Growth()
    named = len(intent.over) + (0 if current is None else len(current.supersedes))
    value_bytes = 0 if intent.value is None else len(intent.value)
    if intent.purpose is Purpose.DROP and not named:
        return _Growth()
    size = len(intent.key) + value_bytes + RECORD_OVERHEAD_BYTES * (1 + named)
    if current is None:
        return _Growth(1, size)
    return _Growth(0, size - current.cost_bytes)


@define
class _OwnChannel:
    """What waits in one channel, and what its next headers must say."""

    name: str
    staged: dict[bytes, Intent] = field(factory=dict)
    growth: _Growth = _Growth()
    tickets: list[int] = field(factory=list)
    flight: Flight | None = None
    deps: Deps = field(factory=Deps)
    written: Ref | None = None
    """The newest header that this process wrote and holds."""
    base: Ref | None = None
    """The header on which this process opened its epoch here."""


class Local:
    """The writing side of one replica."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._channels: dict[str, _OwnChannel] = {}
        self._flights: dict[int, str] = {}
        self._last_ticket = 0
        self._waiting = 0

    # --- writing -----------------------------------------------------------------------

    def write(self, channel: str, changes: Sequence[Change], writer: Writer) -> int:
        """Stage changes as one atomic write; see `Replica.write`."""
        own = self._channels.get(channel) or _OwnChannel(channel)
        intents = self._intents(own, changes, writer)
        self._channels[channel] = own
        for intent in intents:
            own.staged[intent.key] = intent
        self._last_ticket += 1
        own.tickets.append(self._last_ticket)
        self._waiting += 1
        return self._last_ticket

    def _intents(self, own: _OwnChannel, changes: Sequence[Change], writer: Writer) -> list[Intent]:
        limits = self._context.limits
        name_bytes = len(own.name.encode())
        if not 0 < name_bytes <= limits.channel_name_bytes_max:
            raise UsageError(
                f"channel {own.name!r} has {name_bytes} bytes: "
                f"1 to {limits.channel_name_bytes_max} are accepted"
            )
        if not changes:
            raise UsageError(f"a write to channel {own.name!r} needs at least one change")
        if len(changes) > limits.flush_records_max and writer is Writer.USER:
            raise CapacityError(
                f"{len(changes)} changes in one write: flush_records_max is "
                f"{limits.flush_records_max}"
            )
        if self._waiting >= limits.write_queue_max and writer is Writer.USER:
            raise CapacityError(
                f"write_queue_max is reached: {limits.write_queue_max} writes wait for the disk"
            )
        names = self.own_channels()
        if own.name not in names and len(names) >= limits.streams_per_origin_max:
            raise CapacityError(
                f"streams_per_origin_max is reached: {limits.streams_per_origin_max} channels"
            )
        intents: dict[bytes, Intent] = {}
        for change in changes:
            before = intents.get(change.key) or own.staged.get(change.key)
            intents[change.key] = self._intent(own, change, before)
        self._admit(own, intents)
        return list(intents.values())

    def _intent(self, own: _OwnChannel, change: Change, before: Intent | None) -> Intent:
        context = self._context
        limits = context.limits
        if not 0 < len(change.key) <= limits.key_bytes_max:
            raise UsageError(
                f"a key has {len(change.key)} bytes: 1 to {limits.key_bytes_max} are accepted"
            )
        value = change.value if isinstance(change, Put) else None
        if value is not None and len(value) > limits.value_bytes_max:
            raise UsageError(
                f"the value of key {change.key!r} has {len(value)} bytes: "
                f"at most {limits.value_bytes_max} are accepted"
            )
        over: frozenset[Dot] = frozenset() if before is None else before.over
        if before is not None and before.keep is not None:
            over |= frozenset(before.keep.supersedes)
        if change.over is Over.ALL and scope_of(own.name) is Scope.OWNED:
            raise UsageError(
                f"channel {own.name!r} is owned: only own records can be changed in it"
            )
        if change.over is Over.ALL:
            # Observed now, not at the flush: what arrives in between is concurrent and stays.
            over |= context.holdings.channel(own.name).live_elsewhere(change.key, context.me)
        current = self._base_tree(own).get(change.key)
        if len(over) + (0 if current is None else len(current.supersedes)) > limits.supersedes_max:
            raise CapacityError(
                f"key {change.key!r} has too many concurrent records to go over: "
                f"supersedes_max is {limits.supersedes_max}"
            )
        purpose = Purpose.DROP if value is None else Purpose.PUT
        return Intent(change.key, purpose, value=value, over=over)

    def _admit(self, own: _OwnChannel, fresh: dict[bytes, Intent]) -> None:
        """Raise CapacityError when the stream could outgrow its published quota."""
        limits = self._context.limits
        tree = self._base_tree(own)
        state = self._base(own)
        growth = own.growth
        for key, intent in fresh.items():
            current = tree.get(key)
            growth = growth.plus(_growth(intent, current)).minus(
                _growth(own.staged.get(key), current)
            )
        keys = growth.keys + (0 if state is None else state.header.live_keys)
        size = growth.size_bytes + (0 if state is None else state.header.live_bytes)
        if keys > limits.stream_keys_max:
            raise CapacityError(
                f"channel {own.name!r} would hold {keys} keys of this node: "
                f"stream_keys_max is {limits.stream_keys_max}"
            )
        if size > limits.stream_bytes_max:
            raise CapacityError(
                f"channel {own.name!r} would hold {size} bytes of this node: "
                f"stream_bytes_max is {limits.stream_bytes_max}"
            )
        own.growth = growth

    def stage(self, channel: str, intent: Intent) -> None:
        """Stage an internal change; a user's staged change of the key goes first."""
        own = self._own(channel)
        before = own.staged.get(intent.key)
        yields = before is not None and before.purpose in (Purpose.SEEN, Purpose.TIDY)
        if before is None or (yields and intent.purpose is not Purpose.TIDY):
            own.staged[intent.key] = intent  # each purpose drops needless dots as TIDY does

    def _own(self, channel: str) -> _OwnChannel:
        own = self._channels.get(channel)
        if own is None:
            own = self._channels[channel] = _OwnChannel(channel)
        return own

    # --- reading -----------------------------------------------------------------------

    def own_value(self, channel: str, key: bytes) -> bytes | None:
        """Return this node's value of a key, writes that wait for the disk included."""
        own = self._channels.get(channel) or _OwnChannel(channel)
        intent = own.staged.get(key)
        if intent is not None and intent.purpose in (Purpose.PUT, Purpose.DROP):
            return intent.value
        if intent is not None and intent.keep is not None:
            return intent.keep.value
        record = self._base_tree(own).get(key)
        return None if record is None else record.value

    def own_channels(self) -> frozenset[str]:
        """Return the channels of this node, those that wait for their first flush included."""
        held = self._context.holdings.channels_of(self._context.me)
        return held.union(o.name for o in self._channels.values() if o.staged or o.flight)

    def own_keys(self, channel: str) -> list[bytes]:
        """Return the keys under which `own_value` finds something, sorted."""
        own = self._channels.get(channel) or _OwnChannel(channel)
        known = {entry.key for entry in self._base_tree(own).entries()} | own.staged.keys()
        return sorted(key for key in known if self.own_value(channel, key) is not None)

    def held(self, channel: str) -> State | None:
        """Return the own state that is part of the replicated state."""
        return self._context.holdings.state(StreamKey(channel, self._context.me))

    def _base(self, own: _OwnChannel) -> State | None:
        """Return the own state that the next flush builds on; a flush at the disk counts."""
        if own.flight is not None:
            return own.flight.state
        state = self.held(own.name)
        if state is None:
            return None
        if kind_of(own.name) is Kind.VOLATILE and state.header.epoch != self._context.epoch:
            return None
        return state

    def _base_tree(self, own: _OwnChannel) -> MerkleMap[Record]:
        state = self._base(own)
        return MerkleMap() if state is None else state.tree

    def is_busy(self, key: StreamKey) -> bool:
        """Return whether this is an own stream whose flush is at the disk."""
        own = self._channels.get(key.channel)
        return key.origin == self._context.me and own is not None and own.flight is not None

    def base_ref(self, channel: str) -> Ref | None:
        """Return the header on which this process opened its epoch in the channel."""
        own = self._channels.get(channel)
        return None if own is None else own.base

    def set_base(self, channel: str, ref: Ref) -> None:
        """Note that everything up to a header of an older epoch is known here by now."""
        self._own(channel).base = ref

    def is_blocked(self, channel: str) -> bool:
        """Return whether the own head was not written by this process and a new epoch is due."""
        state = self.held(channel)
        if state is None or state.header.epoch < self._context.epoch:
            return False
        own = self._channels.get(channel)
        return own is None or own.written != state.ref

    # --- flushing ----------------------------------------------------------------------

    def flush(self) -> list[Flight]:
        """Sign what is staged; returns the volatile flushes, which enter at once."""
        ready: list[Flight] = []
        due = [
            own
            for own in self._channels.values()
            if own.flight is None and (own.staged or own.tickets)
        ]
        for own in due:
            if self.is_blocked(own.name):
                continue
            flight = self._build(own)
            if flight is None:
                if own.written is None and self.held(own.name) is None:
                    del self._channels[own.name]  # nothing came of it: it takes no one's place
                continue
            if kind_of(own.name) is Kind.VOLATILE:
                ready.append(flight)
            else:
                own.flight = flight
                state = flight.state
                settled = Settled(state.header.stream, state.ref)
                token = self._context.store(state_rows(state, flight.changed), (settled,))
                self._flights[token] = own.name
        return ready

    def _build(self, own: _OwnChannel) -> Flight | None:
        context = self._context
        channel = context.holdings.channel(own.name)
        head = self.held(own.name)
        state = self._base(own)
        tickets, own.tickets = tuple(own.tickets), []
        staged, own.staged = own.staged, {}
        own.growth = _Growth()
        same_epoch = head is not None and head.header.epoch == context.epoch
        seq = head.header.seq + 1 if head is not None and same_epoch else 1
        dot = Dot(context.me, context.epoch, seq)
        puts: list[Record] = []
        drops: list[bytes] = []
        passing: list[Dep] = []
        tree = MerkleMap[Record]() if state is None else state.tree
        for key in sorted(staged):
            current = tree.get(key)
            record = record_after(
                staged[key], current, channel=channel, dot=dot, deps=own.deps, passing=passing
            )
            if record is not None and record != current:
                puts.append(record)
            elif record is None and current is not None:
                drops.append(key)
        if not puts and not drops:
            self._answer_unchanged(tickets, head)
            return None
        context.counters.flushes += 1
        after, cost = changed_tree(state, puts, drops)
        header = Header(
            genesis=context.genesis,
            channel=own.name,
            origin=context.me,
            epoch=context.epoch,
            seq=seq,
            previous=NO_HASH if head is None else head.header.hash,
            base=state.ref if state is not None and not same_epoch else None,
            records_root=records_root(puts, drops),
            state_root=after.root,
            live_keys=len(after),
            live_bytes=cost,
            deps=own.deps.listed(passing),
        )
        if header.base is not None:
            own.base = header.base
        changed = frozenset(drops) | {record.key for record in puts}
        if state is None and head is not None:
            changed |= {entry.key for entry in head.tree.entries()}
        return Flight(State(seal(header, context.identity), after), changed, tickets)

    def _answer_unchanged(self, tickets: tuple[int, ...], head: State | None) -> None:
        self._waiting -= len(tickets)
        epoch = self._context.epoch if head is None else head.header.epoch
        seq = 0 if head is None else head.header.seq
        self._context.out += [Committed(ticket, epoch, seq) for ticket in tickets]

    def stored(self, token: int) -> Flight | None:
        """Take the confirmation of a flush; returns the flush that enters now."""
        name = self._flights.pop(token, None)
        if name is None:
            return None
        own = self._channels[name]
        flight, own.flight = own.flight, None
        return flight

    def commit(self, flight: Flight) -> None:
        """Answer the writes of a flush that has entered the replicated state."""
        header = flight.state.header
        self._own(header.channel).written = flight.state.ref
        self._waiting -= len(flight.tickets)
        self._context.out += [Committed(t, header.epoch, header.seq) for t in flight.tickets]

    def inherit(self, state: State) -> None:
        """Go on from an own state of the store or of a peer: its deps bind later headers too."""
        self._own(state.header.channel).deps.inherit(state.header.deps)

    @property
    def waiting(self) -> int:
        """How many writes wait for the disk."""
        return self._waiting

    def check(self) -> None:
        """Raise InternalError when a count or a flush at the disk is not what it should be."""
        waiting = 0
        for own in self._channels.values():
            waiting += len(own.tickets)
            if own.flight is None:
                continue
            waiting += len(own.flight.tickets)
            header = own.flight.state.header
            if own.flight.state.tree.root != header.state_root:
                raise InternalError(f"{header.stream}: a flush does not match its own root")
            held = self.held(own.name)
            if held is not None and held.ref >= own.flight.state.ref:
                raise InternalError(f"{header.stream}: a flush was overtaken at the disk")
        if waiting != self._waiting:
            raise InternalError(f"{self._waiting} writes are counted, {waiting} wait")
