"""What users may command, one function per command.

Each returns the outcome at once, or None when it will be replied later: by a commit, by
ipam, or at its deadline. Misuse is an outcome too (`Failed`), found before anything changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcrdt.base.hosts import parse_peer_address
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.gossip.changes import Change, Drop, Over, Put
from meshcrdt.gossip.outputs import Committed
from meshcrdt.ipam.outcomes import Draining, Recovering
from meshcrdt.node import durable, events, lattices, schemas, views
from meshcrdt.node.core import Core
from meshcrdt.node.outcomes import Done, Failed, FailureKind
from meshcrdt.node.wiring import Wiring
from meshcrdt.node.workloads import endpoint_key, endpoint_value, endpoint_workload
from meshcrdt.topology.directory import Standing, UnknownPeer
from meshcrdt.topology.outputs import PeerState

if TYPE_CHECKING:
    from meshcrdt.node.node import Node

_ADDRESS_COMMANDS = (events.Allocate, events.Claim)
NO_ENDPOINT = b"\0"
"""A key that is no address: dropping it changes nothing, and is answered in its turn."""
_ALWAYS = (events.Drain, events.Connect, events.Forget, events.AwaitReceipt)


def refusal(node: Node, command: events.Command) -> object | None:
    """Return the outcome that refuses a command in the node's present state, or None."""
    if node.store_failure is not None:
        return Failed(FailureKind.STORE, f"the store failed: {node.store_failure}")
    if isinstance(command, _ALWAYS):
        return None
    if node.draining:
        reason = "this node is shutting down"
        if isinstance(command, _ADDRESS_COMMANDS):
            return Draining(reason)
        return Failed(FailureKind.DRAINING, reason)
    if node.core is None:
        reason = "this node has not joined a cluster yet: it has no genesis"
        if isinstance(command, _ADDRESS_COMMANDS):
            return Recovering(reason)
        return Failed(FailureKind.STARTING, reason)
    return None


def carry_out(node: Node, wiring: Wiring, command: events.Command, now: float) -> object | None:
    """Carry out one command; returns its outcome, or None when the reply comes later."""
    try:
        match command:
            case events.Connect():
                return _connect(node, wiring, command, now)
            case events.Forget():
                return _forget(node, wiring, command, now)
            case events.Drain():
                node.draining = True
                if node.core is not None:
                    wiring.run(node.core.ipam.drain(now), now)
                return Done()
            case _:
                if node.core is None:
                    return Failed(FailureKind.STARTING, "this node has no genesis yet")
                return _in_cluster(node, node.core, wiring, command, now)
    except UnknownPeer as error:
        return Failed(FailureKind.UNKNOWN, str(error))
    except UsageError as error:
        node.patience.answered(command.request)
        return Failed(FailureKind.USAGE, str(error))
    except CapacityError as error:
        node.patience.answered(command.request)
        return Failed(FailureKind.CAPACITY, str(error))


def _in_cluster(
    node: Node, core: Core, wiring: Wiring, command: events.Command, now: float
) -> object | None:
    match command:
        case events.Put():
            _check_type(node, core, command.channel, views.MAP_TYPE)
            value = views.map_encode(core.replica, command.channel, command.key, command.value)
            put = Put(command.key, value, Over.ALL)
            _write_typed(core, wiring, command, views.MAP_TYPE, [put])
        case events.PutMany():
            _check_type(node, core, command.channel, views.MAP_TYPE)
            _write_typed(core, wiring, command, views.MAP_TYPE, _map_changes(core, command))
        case events.Delete():
            views.check_user_channel(command.channel)
            _check_room(node, core, command.channel)
            wiring.write_for(command.request, command.channel, [Drop(command.key, Over.ALL)])
        case events.Mutate():
            _check_type(node, core, command.channel, command.lattice.__name__)
            change = Put(views.LATTICE_KEY, _mutated(node, core, command), Over.OWN)
            _write_typed(core, wiring, command, command.lattice.__name__, [change])
        case events.Speak():
            _speak(node, core, wiring, command)
        case events.Allocate():
            node.patience.expect(command.request, command.deadline)
            outputs = core.ipam.allocate(
                command.request, command.workload, command.subnet, now, deadline=command.deadline
            )
            wiring.run(outputs, now)
        case events.Claim():
            node.patience.expect(command.request, command.deadline)
            outputs = core.ipam.claim(
                command.request, command.workload, command.address, now, deadline=command.deadline
            )
            wiring.run(outputs, now)
        case events.Release():
            outputs = core.ipam.release(command.request, command.workload, command.address, now)
            wiring.run(outputs, now)
        case events.SetName():
            wiring.write_for(command.request, views.NAMES, [_name_change(core, command)])
        case events.SetWorkload():
            return _set_workload(core, wiring, command)
        case events.AwaitReceipt():
            _await_receipt(node, core, wiring, command, now)
        case events.AwaitFresh():
            questions = core.fresh.ask(
                command.request,
                command.channel,
                origins=_targets(node, command.targets),
                max_age_s=command.max_age_s,
                now=now,
                deadline=command.deadline,
            )
            wiring.run(questions, now)
        case events.Evict():
            return node.chamber.evict(core, command, now)
        case events.Leave():
            _leave(node, core, wiring, command)
        case _:
            return Failed(FailureKind.USAGE, f"{type(command).__name__} is not a command")
    return None


def _name_change(core: Core, command: events.SetName) -> Change:
    if not command.addresses:
        return Drop(core.names.normalise(command.name), Over.OWN)
    key, record = core.names.record(command.name, command.addresses)
    return Put(key, record.encode(), Over.OWN)


def _check_type(node: Node, core: Core, channel: str, type_name: str) -> None:
    """Raise UsageError when a channel is of another type, CapacityError when it has no room."""
    views.check_user_channel(channel)
    _check_room(node, core, channel)
    declared = views.declared_type(core.replica, channel)
    if declared is None:
        staged = core.replica.own_value(views.CHANNELS, channel.encode())
        if staged is None:
            return
        declared = type_name if staged == views.declaration(type_name) else "another type"
    if declared != type_name:
        raise UsageError(f"channel {channel!r} holds {declared}, it cannot be used as {type_name}")


def _check_room(node: Node, core: Core, channel: str) -> None:
    """Raise CapacityError when one more channel would leave no room for the node's own."""
    mine = core.replica.own_channels()
    channels_max = node.limits.streams_per_origin_max
    if channel not in mine and len(mine | views.NODE_CHANNELS) >= channels_max:
        # One more would take the place of the node's own, and others would not see it any more.
        raise CapacityError(
            f"channel {channel!r} is one too many: streams_per_origin_max is {channels_max}, "
            f"{len(views.NODE_CHANNELS)} of them for the node itself"
        )


def _mutated(node: Node, core: Core, command: events.Mutate) -> bytes:
    """Return this node's part of a lattice after a change; raises UsageError."""
    reading = node.lattices.read(core.replica, command.channel, command.lattice)
    for each in node.lattices.news(command.channel, reading):
        node.outbox.notice("warning", str(each), each.origin)
    delta = command.mutator(reading.value)
    return lattices.contribution(
        core.replica, command.channel, command.lattice, reading.value, delta
    )


def _map_changes(core: Core, command: events.PutMany) -> list[Change]:
    """Return the changes of one write to a map; of several of one key the last counts."""
    changes: list[Change] = []
    for key, value in dict(command.changes).items():
        if value is None:
            changes.append(Drop(key, Over.ALL))
        else:
            raw = views.map_encode(core.replica, command.channel, key, value)
            changes.append(Put(key, raw, Over.ALL))
    return changes


def _write_typed(
    core: Core,
    wiring: Wiring,
    command: events.Put | events.PutMany | events.Mutate,
    type_name: str,
    changes: list[Change],
) -> None:
    """Stage a user's write, and the type of a channel that nobody has declared: both or none.

    The type goes first. A write that is staged is answered at its commit, so nothing that
    comes after it may fail; and a write that is refused must not settle the type.
    """
    key = command.channel.encode()
    replica = core.replica
    is_news = (
        not replica.visible(views.CHANNELS, key) and replica.own_value(views.CHANNELS, key) is None
    )
    if is_news:
        wiring.write_own(views.CHANNELS, {key: views.declaration(type_name)})
    try:
        wiring.write_for(command.request, command.channel, changes)
    except (UsageError, CapacityError):
        if is_news:
            wiring.write_own(views.CHANNELS, {key: None})
        raise


def _speak(node: Node, core: Core, wiring: Wiring, command: events.Speak) -> None:
    """Say in the directory what this node reads.

    Also when it is said already: that may still wait for the disk, and so does this answer.
    """
    views.check_user_channel(command.channel)
    reads = schemas.check_reads(command.reads)
    spoken = schemas.to_say(core.replica, command.channel, reads, command.writes)
    schemas.check_spoken(core.replica, command.channel)

    def answer(_done: Committed, _now: float) -> None:
        node.outbox.reply(command.request, Done())

    wiring.write_own(
        views.DIRECTORY, {schemas.schema_key(command.channel): spoken.encode()}, answer
    )


def _set_workload(core: Core, wiring: Wiring, command: events.SetWorkload) -> object | None:
    value = endpoint_value(command.workload, command.mac)
    wanted = dict.fromkeys(endpoint_key(address) for address in command.addresses)
    changes: list[Change] = [Put(key, value, Over.OWN) for key in wanted]
    for key in core.replica.own_keys(views.ENDPOINTS):
        if key not in wanted and _is_of(core, key, command.workload):
            changes.append(Drop(key, Over.OWN))
    if not changes:
        if views.ENDPOINTS not in core.replica.own_channels():
            return Done()
        # Nothing is left to withdraw, but what withdrew it may still wait for the disk.
        changes.append(Drop(NO_ENDPOINT, Over.OWN))
    wiring.write_for(command.request, views.ENDPOINTS, changes)
    return None


def _is_of(core: Core, key: bytes, workload: str) -> bool:
    """Return whether an own endpoint is a workload's; what waits for the disk counts."""
    return endpoint_workload(core.replica.own_value(views.ENDPOINTS, key)) == workload


def _targets(node: Node, targets: tuple[PeerId, ...] | events.Targets) -> tuple[PeerId, ...]:
    """Return the other members that are meant, frozen now, dead ones included (finding F25)."""
    if isinstance(targets, events.Targets):
        members = node.topology.members().items()
        present = (peer for peer, member in members if member.standing is Standing.IN)
        if targets is events.Targets.LIVE:
            present = (peer for peer in present if node.topology.state(peer) is PeerState.ALIVE)
        targets = tuple(sorted(present))
    return tuple(peer for peer in targets if peer != node.me)


def _await_receipt(
    node: Node, core: Core, wiring: Wiring, command: events.AwaitReceipt, now: float
) -> None:
    outputs = core.receipts.ask(
        command.request,
        command.channel,
        Epoch(command.epoch_counter, command.epoch_instance),
        command.seq,
        targets=_targets(node, command.targets),
        fraction=command.fraction,
        level=command.level.value,
        deadline=command.deadline,
        now=now,
    )
    wiring.run(outputs, now)


def _leave(node: Node, core: Core, wiring: Wiring, command: events.Leave) -> None:
    for channel in (views.NAMES, views.ENDPOINTS):
        own = core.replica.own_keys(channel)
        if own:
            wiring.write_own(channel, dict.fromkeys(own))
    node.draining = True

    def left(_done: Committed, _now: float) -> None:
        node.outbox.reply(command.request, Done())

    node.presence.leave(node.epoch, left)


def _connect(node: Node, wiring: Wiring, command: events.Connect, now: float) -> object | None:
    addresses = [parse_peer_address(text) for text in command.addresses]
    row = durable.peers_row(node.given.union(addresses), limits=node.limits)
    wiring.run(node.topology.add_targets(addresses, now), now)
    node.given.update(addresses)
    node.outbox.rows.append(row)
    _reply_durably(node, command.request)
    return None


def _forget(node: Node, wiring: Wiring, command: events.Forget, now: float) -> object | None:
    addresses: set[str] = set()
    for text in command.peers:
        try:
            addresses |= node.addresses_meant(text)
        except UnknownPeer as error:
            return Failed(FailureKind.UNKNOWN, str(error))
    node.given -= addresses
    wiring.run(node.topology.forget(sorted(addresses), now), now)
    node.outbox.rows.append(durable.peers_row(node.given))
    _reply_durably(node, command.request)
    return None


def _reply_durably(node: Node, request: int) -> None:
    """Answer once the rows of this turn are on disk."""
    node.barrier.when_durable(lambda _later: node.outbox.reply(request, Done()))
