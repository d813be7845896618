"""Global truth: invariants over all hosts at once, which no host can see by itself.

Cheap checks run on the host that stepped, dear ones once a virtual second, all at the end.
Numbering as in docs/findings.md: L1 convergence, L2 no resurrection, I1 exclusive addresses.
"""

from __future__ import annotations

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.crdt import GCounter
from meshcrdt.errors import InternalError
from meshcrdt.gossip.durable import STREAM_TABLE
from meshcrdt.gossip.header import Envelope, StreamKey
from meshcrdt.ipam.audit import audit
from meshcrdt.node import events
from meshcrdt.node.durable import read_genesis
from meshcrdt.node.node import Node
from meshcrdt.sim.host import Host
from meshcrdt.sim.ledger import (
    CHANNEL,
    COUNTER,
    ENDPOINTS,
    NAMES,
    PEERS,
    PRESENT,
    SHARED,
    Asked,
    Count,
    Ledger,
    workload_text,
)
from meshcrdt.topology.outputs import PeerState
from meshcrdt.wire import decode

OVERDUE_SLACK_S = 45.0
"""Disk stalls and pauses delay answers to writes, which have no deadline of their own."""


def check_stepped(host: Host) -> list[str]:
    """Check what moved in the machines of a host since it was checked last."""
    if host.node is None:
        return []
    if host.node.rollbacks_seen and not host.dishonest:
        # Disks here lose nothing that they confirmed, so nobody may ever look rolled back.
        return [f"F15: {host.name} met writes of its own that its disk never confirmed"]
    try:
        host.node.check_moved()
    except InternalError as error:
        return [f"{host.name}: {error}"]
    return []


def check_whole(host: Host) -> list[str]:
    """Check everything that a host holds, from the ground up."""
    if host.node is None:
        return []
    try:
        host.node.check()
    except InternalError as error:
        return [f"{host.name}: {error}"]
    return []


def check_addresses(hosts: list[Host]) -> list[str]:
    """I1 and I2: no address is live at two hosts; blocks do not overlap."""
    running = [(host, host.node.core) for host in hosts if host.node is not None and host.node.core]
    found = list(audit([core.ipam for _, core in running]))
    holders: dict[str, str] = {}
    for host, core in running:
        for workload, addresses in core.ipam.entries().items():
            for address in addresses:
                plain = address.partition("/")[0]
                holder = holders.setdefault(plain, f"{host.name}/{workload}")
                if holder != f"{host.name}/{workload}":
                    found.append(f"I1: {plain} is held by {holder} and {host.name}/{workload}")
    return found


def check_held(ledger: Ledger, hosts: list[Host]) -> list[str]:
    """What was acknowledged is held, also after crashes (P7), and by one alone, dead or not."""
    found = []
    by_name = {host.name: host for host in hosts}
    holders: dict[str, str] = {}
    for (name, work), addresses in sorted(ledger.held.items()):
        node = by_name[name].node
        known = addresses if node is None else node.addresses(work)
        for address in sorted(addresses):
            if address not in known and not by_name[name].dishonest:
                found.append(f"{work} was given {address}, but {name} no longer knows it")
            holder = holders.setdefault(address, work)
            if holder != work:
                found.append(f"I1: {address} was promised to {holder} and to {work}")
    return found


def check_promises(ledger: Ledger) -> list[str]:
    """Every command has exactly one answer, in time."""
    found = list(ledger.promises_broken)
    ledger.promises_broken.clear()
    for asked in ledger.overdue(OVERDUE_SLACK_S):
        found.append(f"request {asked.request} at {asked.host} has no answer: {asked.command}")
        del ledger.open[asked.request]
    return found


def check_receipt(asked: Asked, command: events.AwaitReceipt, hosts: list[Host]) -> list[str]:
    """F25: a write that was said to be durable at its targets is on the disk of each, now."""
    by_peer = {host.identity.peer: host for host in hosts}
    origin = next(host for host in hosts if host.name == asked.host)
    stream = StreamKey(command.channel, origin.identity.peer)
    wanted = (Epoch(command.epoch_counter, command.epoch_instance), command.seq)
    found = []
    for peer in asked.targets:
        target = by_peer[peer]
        if origin.dishonest or target.dishonest:
            continue  # it may have been true when it was said, or a twin may have said it
        raw = target.disk.tables.get(STREAM_TABLE, {}).get(stream.raw)
        genesis = target.genesis or read_genesis(target.disk.tables)
        place = None
        if raw is not None and genesis is not None:
            header = Envelope.from_tree(decode(raw), genesis.hash).header
            place = (header.epoch, header.seq)
        if place is None or place < wanted:
            found.append(
                f"F25: {origin.name} was told that {wanted} of {command.channel} is durable at "
                f"{target.name}, whose disk has {place}"
            )
    return found


def converged(hosts: list[Host]) -> bool:
    """L1: every host runs, knows its cluster, and all roots are equal."""
    roots = set()
    for host in hosts:
        if host.node is None or host.node.core is None:
            return False
        roots.add(host.node.core.replica.root)
    return len(roots) <= 1


def check_end(ledger: Ledger, everyone: list[Host], read: list[Host]) -> list[str]:
    """L1, L2 and the ledger, once everything is healed; hosts that are gone for good aside.

    `read` are the hosts whose whole state is looked at: with equal roots, some stand for all.
    """
    found = []
    hosts = [host for host in everyone if not host.gone]
    gone = {host.identity.peer for host in everyone if host.gone}
    nodes = [host.node for host in read if host.node is not None]
    for host in read:
        found += check_whole(host)
    if not converged(hosts):
        found.append("L1: the digests differ after everything healed: " + _difference(nodes))
        return found
    views = [_view(node) for node in nodes]
    if any(view != views[0] for view in views):
        found.append("L1: equal digests, but what is read differs")
    found += _check_registers(ledger, hosts)
    found += _check_counts(ledger, hosts, read)
    for host in hosts:
        found += _check_states(host, gone, len(hosts) - 1)
    return found


def _check_states(host: Host, gone: set[PeerId], others: int) -> list[str]:
    """Everyone who runs is a member and alive for everyone else."""
    node = host.node
    if node is None:
        return []
    states = {peer: node.topology.state(peer) for peer in node.topology.members()}
    states.pop(node.me, None)
    wrong = {
        str(peer): state.value
        for peer, state in states.items()
        if (state is not PeerState.ALIVE) is (peer not in gone)
    }
    if wrong or len(states.keys() - gone) != others:
        return [f"{node.config.name} sees {wrong or 'too few members'} after healing"]
    return []


def _view(node: Node) -> tuple[object, ...]:
    return node.items(CHANNEL), node.value(COUNTER, GCounter), node.endpoints(), node.names()


def _check_registers(ledger: Ledger, hosts: list[Host]) -> list[str]:
    found = []
    by_name = {host.name: host for host in hosts}
    for (channel, name, key), promise in sorted(ledger.registers.items()):
        if name not in by_name:
            continue  # its host is gone for good
        value = _read(by_name[name], channel, key)
        if value not in promise.possible:
            found.append(
                f"L2: {channel} {key!r} of {name} reads {value!r}; "
                f"promised was one of {promise.possible}"
            )
    node = hosts[0].node
    shared = None if node is None else node.get(CHANNEL, SHARED)
    if shared is not None and shared not in _values(ledger):
        found.append(f"L2: the shared key reads {shared!r}, which nobody wrote")
    return found


def _read(host: Host, channel: str, key: bytes) -> bytes | None:
    """Return what a register reads at its own host; elsewhere the views are the same."""
    node = host.node
    if node is None:
        return None
    if channel not in (NAMES, PEERS, ENDPOINTS):
        return node.get(channel, key)
    text = key.decode()
    if channel == NAMES:
        return ",".join(node.lookup_name(text, host.time())).encode() or None
    if channel == PEERS:
        return PRESENT if text in node.given else None
    mine = [each for each in node.endpoints() if (each.peer, each.workload) == (node.me, text)]
    macs = {each.mac for each in mine}
    return workload_text(tuple(each.address for each in mine), "/".join(sorted(macs)))


def _check_counts(ledger: Ledger, hosts: list[Host], read: list[Host]) -> list[str]:
    """No acknowledged increment is lost, and none is counted twice."""
    found = []
    for host in read:
        if host.node is None:
            continue
        totals = host.node.value(COUNTER, GCounter).totals
        for origin in hosts:
            if origin.dishonest:
                continue
            count = ledger.counts.get(origin.name, Count())
            total = totals.get(origin.identity.peer, 0)
            if not count.acknowledged <= total <= count.attempted:
                found.append(
                    f"L2: {host.name} counts {total} of {origin.name}: {count.acknowledged} "
                    f"were acknowledged, {count.attempted} attempted"
                )
    return found


def _values(ledger: Ledger) -> set[bytes]:
    return {
        asked.command.value
        for asked in ledger.asked.values()
        if isinstance(asked.command, events.Put)
    }


def _difference(nodes: list[Node]) -> str:
    parts = []
    for node in nodes:
        digests = node.statistics().digests
        short = {channel: digest[:8] for channel, digest in sorted(digests.items())}
        parts.append(f"{node.config.name} {short}")
    return "; ".join(parts)
