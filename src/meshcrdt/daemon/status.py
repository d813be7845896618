"""The only place that shapes the contract's status object; keys are added, never renamed."""

from __future__ import annotations

from functools import cache
from typing import Any

from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.version import version_text
from meshcrdt.topology.report import ConnectionInfo


@cache
def _version() -> str:
    return version_text()


def status_object(daemon: Daemon) -> dict[str, Any]:
    """Return what `status --json` and GET /v1/status show."""
    seen = daemon.mesh.status()
    shown: dict[str, Any] = {
        "peer": str(seen.peer),
        "name": seen.name,
        "cluster": seen.cluster,
        "version": _version(),
        "state": seen.state,
        "minority": seen.minority,
        "epoch": str(seen.epoch),
        "peers": [
            {
                "peer": str(member.peer),
                "name": member.name,
                "state": member.state.value,
                "epoch": str(member.epoch),
                "addresses": list(member.addresses),
            }
            for member in seen.members
        ],
        "connections": [_connection(info) for info in seen.connections],
        "view": {
            "mode": seen.view.mode.value,
            "active": seen.view.active,
            "passive": seen.view.passive,
            "temporary": seen.view.temporary,
        },
        "refused": [
            {"address": caller.source, "reason": caller.reason, "count": caller.count}
            for caller in daemon.mesh.activity().refused
        ],
        "ipam": {
            "universes": [
                {"cidr": u.cidr, "owned": u.owned, "free": u.free, "used": u.used}
                for u in seen.universes
            ]
        },
        "dns": {
            "domain": daemon.settings.dns_domain,
            "names": seen.names_count,
            "listen": daemon.dns_address,
        },
        "digests": dict(seen.digests),
        "encryption": not daemon.settings.insecure,
        "dataplane": _dataplane(daemon),
        "quarantined": list(seen.quarantined),
        "alarms": list(seen.alarms),
    }
    return shown


def _connection(info: ConnectionInfo) -> dict[str, Any]:
    return {
        "peer": None if info.peer is None else str(info.peer),
        "address": info.address,
        "transport": info.transport,
        "state": info.state.value,
        "encrypted": info.encrypted,
        "rtt_ms": info.rtt_ms,
        "reason": info.reason or None,
        "purpose": None if info.purpose is None else info.purpose.value,
    }


def _dataplane(daemon: Daemon) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kind": daemon.settings.dataplane,
        "reason": daemon.dataplane_reason,
        "trusted": list(daemon.settings.trusted_subnets),
        "paths": {},
    }
    if daemon.workloads is not None:
        shown.update(daemon.workloads.status())
    return shown
