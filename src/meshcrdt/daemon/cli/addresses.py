"""Verbs about addresses: allocate, claim, release, lookup, ps."""

from __future__ import annotations

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.cli.output import table
from meshcrdt.daemon.cli.parameters import ADDRESS, CIDR, ID, TIMEOUT
from meshcrdt.daemon.client import segment

ALLOCATE_TIMEOUT_S = 5.0


@verb("allocate", example="meshcrdt allocate web-1 --json")
@click.argument("workload", metavar="ID", type=ID)
@click.option("--subnet", metavar="CIDR", type=CIDR, help="Take the address from this range.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=TIMEOUT,
    default=f"{ALLOCATE_TIMEOUT_S:g}",
    show_default=True,
    help="How long to wait for an address.",
)
def allocate(common: Common, workload: str, subnet: str | None, timeout_s: float) -> None:
    """Give the workload ID one address; the same ID always gets the same address."""
    body: dict[str, object] = {"id": workload, "timeout_s": timeout_s}
    if subnet is not None:
        body["subnet"] = subnet
    outcome = common.client().call("POST", "/v1/ipam/allocate", body=body, timeout_s=timeout_s)
    common.emit(outcome, outcome["address"])


@verb("claim", example="meshcrdt claim web-1 10.32.0.7")
@click.argument("workload", metavar="ID", type=ID)
@click.argument("address", metavar="ADDRESS", type=ADDRESS)
def claim(common: Common, workload: str, address: str) -> None:
    """Take ADDRESS for the workload ID, if nobody holds it."""
    body = {"id": workload, "address": address}
    outcome = common.client().call(
        "POST", "/v1/ipam/claim", body=body, timeout_s=ALLOCATE_TIMEOUT_S
    )
    common.emit(outcome, f"claimed {outcome.get('address', address)}")


@verb("release", example="meshcrdt release web-1")
@click.argument("workload", metavar="ID", type=ID)
@click.argument("address", metavar="[ADDRESS]", type=ADDRESS, required=False)
def release(common: Common, workload: str, address: str | None) -> None:
    """Give back ADDRESS of the workload ID, or all its addresses."""
    path = f"/v1/ipam/{segment(workload)}"
    if address is not None:
        path += f"/{segment(address)}"
    common.client().call("DELETE", path)
    common.emit({})


@verb("lookup", example="meshcrdt lookup web-1")
@click.argument("workload", metavar="ID", type=ID)
def lookup(common: Common, workload: str) -> None:
    """Show the addresses of the workload ID on this node."""
    found = common.client().call("GET", f"/v1/ipam/{segment(workload)}")
    common.emit(found, "\n".join(found["addresses"]))


@verb("ps", example="meshcrdt ps --json")
def ps(common: Common) -> None:
    """List the workloads of this node and their addresses."""
    listing = common.client().call("GET", "/v1/ipam")
    rows = [(name, " ".join(addresses)) for name, addresses in sorted(listing["entries"].items())]
    common.emit(listing, lambda: table(("ID", "ADDRESSES"), rows))
