"""Addresses of endpoints as URLs: `tcp://10.0.0.1:6783`, `unix:///run/x.sock`, `mem://n1`.

The core treats an address as a name; only the scheme is looked at, to find a transport.
"""

from __future__ import annotations

from meshcrdt.errors import UsageError

CONTROL_PORT = 6783

SECRET_MARKS = ("mct1-", "mcs1-")
"""How join tokens and cluster secrets begin (`trust`): one of them given as an address
would be dialled, logged and stored, so it is refused and not shown."""


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
        return text
    # A port that no transport can use is refused where somebody still reads the answer.
    host, port = split_host_port(
        rest if separator else text, default_port=CONTROL_PORT, source=source
    )
    shown = f"[{host}]" if ":" in host else host
    return f"tcp://{shown}:{port}"


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
    if not host:
        raise bad
    if not port_text:
        return host, default_port
    if not port_text.isdigit() or not 0 <= int(port_text) <= 65_535:
        raise UsageError(f"{source} {text!r} has port {port_text!r}: 0 to 65535 is accepted")
    return host, int(port_text)
