"""Addresses of endpoints as URLs: `tcp://10.0.0.1:6783`, `unix:///run/x.sock`, `mem://n1`.

The core treats an address as a name; only the scheme is looked at, to find a transport.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from meshcrdt.errors import UsageError

CONTROL_PORT = 6783
PORT_MAX = 65_535

SECRET_MARKS = ("mct1-", "mcs1-")
"""How join tokens and cluster secrets begin (`trust`): one of them given as an address
would be dialled, logged and stored, so it is refused and not shown."""


_NUMBER_CHARACTERS_MAX = 20
_OF_URLS = frozenset("/@?#")
"""What ends a host in a URL: a text with one of them has more than a host and a port."""


def number_within(text: str, *, low: int, high: int) -> int | None:
    """Return the whole number that `text` spells within [low, high], or None.

    Only 0 to 9 are digits here: `str.isdigit` also holds for those that `int` refuses ("²"),
    and `int` refuses a text of thousands of digits.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > _NUMBER_CHARACTERS_MAX:
        return None
    number = int(text)
    return number if low <= number <= high else None


def parse_peer_address(text: str, *, source: str = "peer") -> str:
    """Return the canonical URL of a peer address.

    Accepted: a URL with a scheme, or HOST, HOST:PORT, [IPV6]:PORT, which mean tcp. A tcp
    URL without a port gets the control port.
    Raises UsageError naming the text and where it came from.
    """
    if not isinstance(text, str):
        raise UsageError(f"{source} is {type(text).__name__}: HOST[:PORT] or URL is accepted")
    text = text.strip()
    if (text.partition("://")[2] or text).lower().startswith(SECRET_MARKS):
        raise UsageError(f"{source} is a token or a secret where an address is expected")
    is_short = not text or text.endswith("://")
    if is_short or " " in text or not text.isprintable() or len(text) > 512:
        raise UsageError(f"{source} {text!r} is not an address: HOST[:PORT] or URL is accepted")
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() != "tcp":
        return f"{scheme.lower()}://{rest}"
    # A port that no transport can use is refused where somebody still reads the answer.
    host, port = split_host_port(
        rest.rstrip("/") if separator else text, default_port=CONTROL_PORT, source=source
    )
    return f"tcp://{shown_host_port(host, port)}"


def is_host(text: str) -> bool:
    """Return False for what looks like an IPv4 address and is none, such as 300.1.1.1 or 1.2.3.

    A name whose last label is a number is nobody's (RFC 1123, section 2.1; the URL standard
    has the same rule), and resolvers disagree about what it means.
    """
    if not text.rstrip(".").rpartition(".")[2].isdigit():
        return True
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Return True for the address that means every interface: 0.0.0.0 or ::, in any spelling."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def split_host_port(text: str, *, default_port: int, source: str = "address") -> tuple[str, int]:
    """Split HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; raises UsageError naming the text."""
    bad = UsageError(f"{source} {text!r} is not an address: HOST[:PORT] is accepted")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise bad
        port_text = rest[1:]
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    if not host or not _OF_URLS.isdisjoint(host):
        raise bad
    is_ipv6 = ":" in host or text.startswith("[")
    if is_ipv6 and not _is_ipv6(host):
        raise UsageError(
            f"{source} {text!r} is not an address: IPv6 with a port is written [ADDRESS]:PORT"
        )
    if not is_ipv6 and not is_host(host):
        raise UsageError(f"{source} {text!r} is not an address: {host!r} is no IPv4 address")
    if not port_text:
        return host, default_port
    port = number_within(port_text, low=0, high=PORT_MAX)
    if port is None:
        raise UsageError(f"{source} {text!r} has port {port_text!r}: 0 to 65535 is accepted")
    return host, port


def shown_host_port(host: str, port: int) -> str:
    """Return HOST:PORT as it is written: an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
