"""What users hand in, checked where they still see the traceback of their own call.

The node runs in a task of its own: an argument of the wrong kind that surfaced there would
end the mesh instead of the call. So kinds and times are checked here, values by the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_interface
from typing import TypeVar

import trio

from meshcrdt.base.ids import PeerId
from meshcrdt.base.macs import parse_mac
from meshcrdt.errors import UsageError
from meshcrdt.node.events import Targets
from meshcrdt.ranges import Cidr, format_address, parse_address

T = TypeVar("T")


def text(value: object, what: str) -> str:
    """Return `value` when it is text that UTF-8 can hold; raises UsageError naming `what`."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is {type(value).__name__}: text is accepted")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} {value!r} is not text that UTF-8 can hold") from None
    return value


def texts(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return `values` as a tuple of texts; one text alone is refused, being a mistake.

    That one is not shown: it may be a token in the place of peers.
    """
    if isinstance(values, str | bytes):
        raise UsageError(f"{what} is one text: a list of texts is accepted")
    if not isinstance(values, Iterable):
        raise UsageError(f"{what} is {type(values).__name__}: a list of texts is accepted")
    return tuple(text(value, what) for value in values)


def cidrs(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return `values` as canonical CIDR ranges; raises UsageError naming `what`."""
    return tuple(str(_named(Cidr.parse, value, what)) for value in texts(values, what))


def addresses(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return `values` as canonical IP addresses; raises UsageError naming `what`."""
    return tuple(_address(value, what) for value in texts(values, what))


def held_addresses(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return `values`, addresses with or without their prefix lengths, canonical and without.

    What `allocate` gives has its prefix length, and is handed on as it is.
    """
    given = texts(values, what)
    for value in given:
        if "/" in value:
            _named(ip_interface, value, what)
    return tuple(_address(value.partition("/")[0], what) for value in given)


def mac(value: object, what: str) -> str:
    """Return `value` as a MAC in lower case, or "" for none; raises UsageError naming `what`."""
    shown = text(value, what)
    return _named(parse_mac, shown, what) if shown else ""


def _address(value: str, what: str) -> str:
    return format_address(*_named(parse_address, value, what))


def _named(parse: Callable[[str], T], value: str, what: str) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


def wait_s(value: float, what: str = "timeout") -> float:
    """Return a number of seconds to wait, which may be infinite; raises UsageError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN is not at least 0 either.
    if not (is_number and value >= 0):
        raise UsageError(f"{what} is {value!r}: a number of seconds, 0 or more, is accepted")
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"{what} is beyond all numbers: infinity is accepted") from None


def peers_or_targets(
    targets: Targets, peers: Iterable[PeerId] | None
) -> tuple[PeerId, ...] | Targets:
    """Return whom to ask; raises UsageError for what names nobody, or two sets at once."""
    if not isinstance(targets, Targets):
        raise UsageError(f"targets {targets!r} is not a Targets: ALL and LIVE are accepted")
    if peers is None:
        return targets
    if targets is not Targets.ALL:
        raise UsageError(f"peers are given, and {targets} beside them")
    named = tuple(peers)
    if not all(isinstance(peer, PeerId) for peer in named):
        raise UsageError("peers are to be peer ids")
    if not named:
        raise UsageError("peers is empty: what asks nobody says nothing")
    return named


def deadline(timeout: float) -> float:
    """Return the moment, on trio's clock, that is `timeout` seconds from now."""
    return trio.current_time() + wait_s(timeout)
