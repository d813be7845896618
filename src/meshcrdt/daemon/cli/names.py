"""Verbs about names: dns-add, dns-remove, dns-lookup, dns-list."""

from __future__ import annotations

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.cli.output import table
from meshcrdt.daemon.cli.parameters import ADDRESS, NAME
from meshcrdt.daemon.client import segment


@verb("dns-add", example="meshcrdt dns-add web 10.32.0.7")
@click.argument("name", metavar="NAME", type=NAME)
@click.argument("addresses", metavar="ADDRESS...", type=ADDRESS, nargs=-1, required=True)
def dns_add(common: Common, name: str, addresses: tuple[str, ...]) -> None:
    """Set this node's addresses for NAME; other nodes' addresses stay."""
    result = common.client().call(
        "PUT", f"/v1/names/{segment(name)}", body={"addresses": list(addresses)}
    )
    common.emit(result, f"{result['name']} {' '.join(result['addresses'])}")


@verb("dns-remove", example="meshcrdt dns-remove web")
@click.argument("name", metavar="NAME", type=NAME)
@click.argument("addresses", metavar="[ADDRESS]...", type=ADDRESS, nargs=-1)
def dns_remove(common: Common, name: str, addresses: tuple[str, ...]) -> None:
    """Remove this node's ADDRESS from NAME, or all of this node's."""
    path = f"/v1/names/{segment(name)}"
    if addresses:
        path += "?" + "&".join(f"address={segment(address)}" for address in addresses)
    common.client().call("DELETE", path)
    common.emit({})


@verb("dns-lookup", example="meshcrdt dns-lookup web")
@click.argument("name", metavar="NAME", type=NAME)
def dns_lookup(common: Common, name: str) -> None:
    """Show the addresses that all nodes together give NAME."""
    found = common.client().call("GET", f"/v1/names/{segment(name)}")
    common.emit(found, "\n".join(found["addresses"]))


@verb("dns-list", example="meshcrdt dns-list --json")
def dns_list(common: Common) -> None:
    """List all names of the cluster and their addresses."""
    listing = common.client().call("GET", "/v1/names")
    rows = [(name, " ".join(addresses)) for name, addresses in sorted(listing["entries"].items())]
    common.emit(listing, lambda: table(("NAME", "ADDRESSES"), rows))
