"""Parameter types: the rules of `daemon.values` as click sees them.

A value that one of them refuses ends the verb with exit 2, before any daemon is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from meshcrdt.daemon import values


class Checked(click.ParamType[Any]):
    """A parameter that is whatever `check` accepts and returns."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the checked value, or fail with the rule's own line."""
        if not isinstance(value, str):
            return value
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def peer_address(text: str) -> str:
    """Check the address of a peer."""
    from meshcrdt.base.hosts import parse_peer_address

    return parse_peer_address(text)


def member(text: str) -> str:
    """Check what names a member: an id, a unique prefix, a name or an address."""
    return values.plain(text, "peer", bytes_max=512)


ID = Checked("id", values.identifier)
CHANNEL = Checked("channel", values.channel)
KEY = Checked("key", values.key)
NAME = Checked("name", values.dns_name)
ADDRESS = Checked("address", values.address)
ATTACH_ADDRESS = Checked("addr", values.attach_address)
ATTACHED_ADDRESS = Checked("addr", values.attached_address)
TARGET = Checked("target", values.target)
CIDR = Checked("cidr", values.cidr)
PEER = Checked("peer", peer_address)
MEMBER = Checked("peer", member)
TIMEOUT = Checked("seconds", values.timeout)
TTL = Checked("seconds", values.token_ttl)
