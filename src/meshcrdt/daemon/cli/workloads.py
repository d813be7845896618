"""Verbs about workloads: attach, detach, expose, hide."""

from __future__ import annotations

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.cli.parameters import ATTACH_ADDRESS, ATTACHED_ADDRESS, NAME, TARGET
from meshcrdt.daemon.exits import one_line

ATTACH_TIMEOUT_S = 15.0
"""Two addresses, each with its own deadline, and the kernel."""


@verb("attach", example="meshcrdt attach netns:/run/netns/web --name web.mesh.internal")
@click.argument("target", metavar="TARGET", type=TARGET)
@click.argument("addresses", metavar="[ADDR]...", type=ATTACH_ADDRESS, nargs=-1)
@click.option("--name", metavar="FQDN", type=NAME, help="Name that resolves to the workload.")
def attach(common: Common, target: str, addresses: tuple[str, ...], name: str | None) -> None:
    """Connect TARGET: netns:PATH, pid:N or a container.

    ADDR is an address (also as ip:ADDRESS), net:CIDR or net:default.
    """
    body: dict[str, object] = {"target": target}
    if addresses:
        body["addresses"] = list(addresses)
    if name is not None:
        body["name"] = name
    result = common.client().call("POST", "/v1/attach", body=body, timeout_s=ATTACH_TIMEOUT_S)
    common.emit(result, "\n".join(result["addresses"]))
    for peer, reason in result.get("no_path", {}).items():
        click.echo(f"meshcrdt: no path to {peer}: {one_line(reason)}", err=True)


@verb("detach", example="meshcrdt detach netns:/run/netns/web")
@click.argument("target", metavar="TARGET", type=TARGET)
@click.argument("addresses", metavar="[ADDR]...", type=ATTACHED_ADDRESS, nargs=-1)
def detach(common: Common, target: str, addresses: tuple[str, ...]) -> None:
    """Disconnect TARGET, or take single addresses from it."""
    body: dict[str, object] = {"target": target}
    if addresses:
        body["addresses"] = list(addresses)
    result = common.client().call("POST", "/v1/detach", body=body, timeout_s=ATTACH_TIMEOUT_S)
    common.emit(result)


@verb("expose", example="meshcrdt expose")
@click.argument("addresses", metavar="[ADDR]...", type=ATTACH_ADDRESS, nargs=-1)
def expose(common: Common, addresses: tuple[str, ...]) -> None:
    """Give this host addresses on the overlay, and let workloads reach the outside."""
    result = common.client().call(
        "POST", "/v1/expose", body={"addresses": list(addresses)}, timeout_s=ATTACH_TIMEOUT_S
    )
    common.emit(result, "\n".join(result["addresses"]))


@verb("hide", example="meshcrdt hide")
@click.argument("addresses", metavar="[ADDR]...", type=ATTACHED_ADDRESS, nargs=-1)
def hide(common: Common, addresses: tuple[str, ...]) -> None:
    """Close the way outside, or take single addresses from the host."""
    result = common.client().call(
        "POST", "/v1/hide", body={"addresses": list(addresses)}, timeout_s=ATTACH_TIMEOUT_S
    )
    common.emit(result)
