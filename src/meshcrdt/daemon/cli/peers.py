"""Verbs about peers: status, connect, forget, rmpeer, token create."""

from __future__ import annotations

from typing import Any

import click

from meshcrdt.daemon import values
from meshcrdt.daemon.cli.app import Common, common_options, example_text, verb
from meshcrdt.daemon.cli.output import count, table
from meshcrdt.daemon.cli.parameters import MEMBER, PEER, TTL

CREATE_EXAMPLE = "meshcrdt token create | ssh host3 meshcrdt launch HOST1 --join-file -"


@verb("status", example="meshcrdt status --json")
def status(common: Common) -> None:
    """Show this daemon, its peers and connections, ranges and names."""
    shown = common.client().call("GET", "/v1/status")
    common.emit(shown, lambda: status_text(shown))


@verb("connect", example="meshcrdt connect 192.0.2.7:6783")
@click.argument("peers", metavar="PEER...", type=PEER, nargs=-1, required=True)
def connect(common: Common, peers: tuple[str, ...]) -> None:
    """Connect to PEER addresses; they are kept over restarts."""
    result = common.client().call("POST", "/v1/connect", body={"peers": list(peers)})
    common.emit(result)


@verb("forget", example="meshcrdt forget 192.0.2.7:6783")
@click.argument("peers", metavar="PEER...", type=MEMBER, nargs=-1, required=True)
def forget(common: Common, peers: tuple[str, ...]) -> None:
    """Stop connecting to PEER: an address, id, unique prefix or name."""
    result = common.client().call("POST", "/v1/forget", body={"peers": list(peers)})
    common.emit(result)


@verb("rmpeer", example="meshcrdt rmpeer host3")
@click.argument("peer", metavar="PEER", type=MEMBER)
@click.option("--force", is_flag=True, help="Also when it seems to be running.")
def rmpeer(common: Common, peer: str, force: bool) -> None:
    """Let PEER go for good: its names go, what it wrote into shared channels stays.

    PEER is an address, id, unique prefix or name. A majority of the guardians decides. A
    host that comes back after all is a member again.
    """
    body = {"peer": peer, "force": force}
    common.emit(common.client().call("POST", "/v1/rmpeer", body=body))


@click.group(
    "token",
    epilog=example_text(CREATE_EXAMPLE),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@common_options
def token() -> None:
    """Make tokens that add a host."""


@verb("create", example=CREATE_EXAMPLE)
@click.option(
    "--ttl",
    "ttl_s",
    metavar="S",
    type=TTL,
    default=f"{values.TOKEN_TTL_S:g}",
    show_default=True,
    help="How long the token opens the door.",
)
@click.option(
    "--uses",
    metavar="N",
    type=click.IntRange(1, values.TOKEN_USES_MAX),
    default=values.TOKEN_USES,
    show_default=True,
    help="How many hosts it lets in.",
)
def create(common: Common, ttl_s: float, uses: int) -> None:
    """Print one line: a token that lets hosts join this cluster."""
    body = {"ttl_s": ttl_s, "uses": uses}
    result = common.client().call("POST", "/v1/token", body=body)
    common.emit(result, result["token"])


token.add_command(create)


def status_text(shown: dict[str, Any]) -> str:
    """Return what `status` prints for people."""
    ipam = shown["ipam"]["universes"]
    head = [
        ("peer", f"{shown['peer']} ({shown['name']})"),
        ("cluster", shown["cluster"] or "none yet"),
        ("state", shown["state"] + (", in a minority" if shown["minority"] else "")),
        ("version", shown["version"]),
        *(
            (
                f"range {u['cidr']}",
                ", ".join(f"{what} {count(u[what])}" for what in ("owned", "free", "used")),
            )
            for u in ipam
        ),
        ("names", f"{shown['dns']['names']} in {shown['dns']['domain']}"),
        *((f"{name}", value) for name, value in _notes(shown)),
    ]
    width = max(len(label) for label, _ in head) + 1
    parts = ["\n".join(f"{label + ':':<{width}} {value}" for label, value in head)]
    peers = [(p["name"], p["peer"], p["state"], p["epoch"]) for p in shown["peers"]]
    if peers:
        parts.append(table(("PEER", "ID", "STATE", "EPOCH"), peers))
    connections = [
        (
            c["address"],
            c["peer"] or "-",
            c["state"],
            "yes" if c["encrypted"] else "no",
            "-" if c["rtt_ms"] is None else f"{c['rtt_ms']:.1f} ms",
            c.get("reason") or "",
        )
        for c in shown["connections"]
    ]
    if connections:
        parts.append(table(("ADDRESS", "PEER", "STATE", "SEALED", "RTT", "REASON"), connections))
    unreachable = _without_path(shown)
    if unreachable:
        parts.append(table(("NO PATH TO", "ID", "REASON"), unreachable))
    refused = [(c["address"], c["count"], c["reason"]) for c in shown.get("refused", ())]
    if refused:
        parts.append(table(("TURNED AWAY", "TIMES", "REASON"), refused))
    return "\n\n".join(parts)


def _notes(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines that only some nodes have."""
    notes = []
    if not shown.get("encryption", True):
        notes.append(("encryption", "off (--insecure)"))
    dataplane = shown.get("dataplane", {})
    if dataplane:
        text = dataplane.get("kind", "none")
        if dataplane.get("reason"):
            text += f": {dataplane['reason']}"
        notes.append(("dataplane", text))
        if dataplane.get("trusted"):
            notes.append(("trusted subnets", ", ".join(dataplane["trusted"])))
        notes += [("dataplane error", line) for line in dataplane.get("errors", ())]
    notes += [("alarm", line) for line in shown.get("alarms", ())]
    notes += [("quarantined", line) for line in shown.get("quarantined", ())]
    return notes


def _without_path(shown: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, id and reason of each peer that workload traffic cannot go to."""
    names = {peer["peer"]: peer["name"] for peer in shown["peers"]}
    paths = shown.get("dataplane", {}).get("paths", {})
    return [(names.get(peer, "-"), peer, reason) for peer, reason in paths.items() if reason]
