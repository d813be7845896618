"""Global truth: invariants over all hosts at once, which no host can see by itself.

Cheap checks run on the host that stepped, dear ones once a virtual second, all at the end.
Numbering as in the design: L1 convergence, L2 no resurrection, I1 exclusive addresses.
"""

from __future__ import annotations

from meshcrdt.errors import InternalError
from meshcrdt.ipam.audit import audit
from meshcrdt.node import events
from meshcrdt.node.node import Node
from meshcrdt.sim.host import Host
from meshcrdt.sim.workload import CHANNEL, SHARED, Workload

OVERDUE_SLACK_S = 45.0
"""Disk stalls and pauses delay answers to writes, which have no deadline of their own."""


def check_stepped(host: Host) -> list[str]:
    """Check what moved in the machines of a host since it was checked last."""
    if host.node is None:
        return []
    if host.node.rollbacks_seen:
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


def check_held(workload: Workload, hosts: list[Host]) -> list[str]:
    """What was acknowledged as allocated is held, also after crashes (P7)."""
    found = []
    by_name = {host.name: host for host in hosts}
    for (name, work), address in sorted(workload.held.items()):
        node = by_name[name].node
        if node is not None and address not in node.addresses(work):
            found.append(f"{work} was given {address}, but {name} no longer knows it")
    return found


def check_promises(workload: Workload) -> list[str]:
    """Every command has exactly one answer, in time."""
    found = list(workload.promises_broken)
    workload.promises_broken.clear()
    for asked in workload.overdue(OVERDUE_SLACK_S):
        found.append(f"request {asked.request} at {asked.host} has no answer: {asked.command}")
        del workload.open[asked.request]
    return found


def converged(hosts: list[Host]) -> bool:
    """L1: every host runs, knows its cluster, and all digests are equal."""
    digests = []
    for host in hosts:
        if host.node is None or host.node.core is None:
            return False
        digests.append(host.node.core.replica.digests())
    return all(digest == digests[0] for digest in digests)


def check_end(workload: Workload, hosts: list[Host], now: float) -> list[str]:
    """L1, L2 and the ledger, once everything is healed."""
    found = []
    nodes = [host.node for host in hosts if host.node is not None]
    for host in hosts:
        found += check_whole(host)
    if not converged(hosts):
        found.append("L1: the digests differ after everything healed: " + _difference(nodes))
        return found
    views = [node.items(CHANNEL) for node in nodes]
    if any(view != views[0] for view in views):
        found.append("L1: equal digests, but the visible entries differ")
    found += _check_registers(workload, nodes[0], now)
    for node in nodes:
        states = {str(m.peer): m.state.value for m in node.statistics().members}
        wrong = {peer: state for peer, state in states.items() if state != "alive"}
        if wrong or len(states) != len(hosts) - 1:
            found.append(f"{node.config.name} sees {wrong or 'too few members'} after healing")
    return found


def _check_registers(workload: Workload, node: Node, now: float) -> list[str]:
    found = []
    for (channel, key), register in sorted(workload.registers.items()):
        value: bytes | None
        if channel == CHANNEL:
            value = node.get(CHANNEL, key)
        else:
            value = ",".join(node.lookup_name(key.decode(), now)).encode() or None
        if value not in register.possible:
            found.append(
                f"L2: {channel} {key!r} reads {value!r}; promised was one of {register.possible}"
            )
    shared = node.get(CHANNEL, SHARED)
    if shared is not None and shared not in _values(workload):
        found.append(f"L2: the shared key reads {shared!r}, which nobody wrote")
    return found


def _values(workload: Workload) -> set[bytes]:
    return {
        asked.command.value
        for asked in workload.asked.values()
        if isinstance(asked.command, events.Put)
    }


def _difference(nodes: list[Node]) -> str:
    parts = []
    for node in nodes:
        digests = node.statistics().digests
        short = {channel: digest[:8] for channel, digest in sorted(digests.items())}
        parts.append(f"{node.config.name} {short}")
    return "; ".join(parts)
