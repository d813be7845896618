"""What values are accepted on a command line, in a file and in a request: one rule each.

Every check raises ValueError with one line that names the value and what is accepted.
Standard library only: client verbs check their arguments before any daemon is asked.
"""

from __future__ import annotations

import ipaddress
import re

from meshcrdt.base.dnsname import check_name
from meshcrdt.base.hosts import PORT_MAX, is_host, is_wildcard, number_within, split_host_port

IDENTIFIER_BYTES_MAX = 256
CHANNEL_BYTES_MAX = 128
RESERVED_CHANNELS = frozenset({"channels", "directory", "endpoints", "governance", "ipam", "names"})
"""Those of `node.views`, which a verb has no time to load; a test compares the two."""
KEY_BYTES_MAX = 1_024
PID_MAX = 2**22
"""Linux hands out none above (proc(5), pid_max)."""
MTU_MIN = 576
MTU_MAX = 65_535
MTU_AUTO = "auto"
TIMEOUT_S_MAX = 300.0
TOKEN_TTL_S = 3_600.0
TOKEN_TTL_S_MAX = 86_400.0 * 30
TOKEN_USES = 100
TOKEN_USES_MAX = 65_535

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")
_UNIT_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def plain(text: str, what: str, *, bytes_max: int) -> str:
    """Return `text` when it is not empty, has no control characters and is short enough."""
    if not text:
        raise ValueError(f"{what} is empty: at least one character is expected")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise ValueError(f"{what} {text!r} has control characters: printable text is accepted")
    size = len(text.encode())
    if size > bytes_max:
        raise ValueError(
            f"{what} {text[:32]!r}… has {size} bytes: at most {bytes_max} are accepted"
        )
    return text


def identifier(text: str) -> str:
    """Check the id of a workload."""
    return plain(text, "id", bytes_max=IDENTIFIER_BYTES_MAX)


def channel(text: str) -> str:
    """Check the name of a channel that people may use: not one of the mesh's own."""
    plain(text, "channel", bytes_max=CHANNEL_BYTES_MAX)
    if text.startswith("~"):
        raise ValueError(f"channel {text!r} begins with '~': that prefix is the mesh's own")
    if text in RESERVED_CHANNELS:
        raise ValueError(
            f"channel {text!r} is the mesh's own: "
            f"any name but {', '.join(sorted(RESERVED_CHANNELS))} is accepted"
        )
    return text


def key(text: str) -> str:
    """Check the key of a channel's entry."""
    return plain(text, "key", bytes_max=KEY_BYTES_MAX)


def dns_name(text: str) -> str:
    """Check a DNS name as the mesh does (`base.dnsname`); the final dot is optional."""
    check_name(text)
    return text


def address(text: str) -> str:
    """Check an address, with or without its prefix length, and return it without."""
    host, slash, length = text.partition("/")
    try:
        parsed = ipaddress.ip_address(host)
        if slash:
            ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"address {text!r}: an IPv4 or IPv6 address is accepted") from None
    if "%" in host or (slash and number_within(length, low=0, high=128) is None):
        raise ValueError(f"address {text!r}: an IPv4 or IPv6 address is accepted")
    return str(parsed)


def cidr(text: str) -> str:
    """Check a range such as 10.32.0.0/12; host bits are refused by naming the range meant."""
    try:
        interface = ipaddress.ip_interface(text)
        if "/" not in text:
            raise ValueError
    except ValueError:
        raise ValueError(f"range {text!r}: a CIDR such as 10.32.0.0/12 is accepted") from None
    if interface.ip != interface.network.network_address:
        raise ValueError(f"range {text!r} has host bits: {interface.network} is accepted")
    return str(interface.network)


def attach_address(text: str) -> str:
    """Check one ADDR of attach: an address, ip:ADDRESS, net:CIDR or net:default."""
    if text == "net:default":
        return text
    if text.startswith("net:"):
        return "net:" + cidr(text.removeprefix("net:"))
    return address(text.removeprefix("ip:"))


def attached_address(text: str) -> str:
    """Check one ADDR of detach or hide: an address that is there, not a range to take one from."""
    if text.startswith("net:"):
        raise ValueError(f"address {text!r}: what goes away is named by its address, not by net:")
    return address(text.removeprefix("ip:"))


def target(text: str) -> str:
    """Check TARGET of attach: netns:PATH, pid:N, or a container's name."""
    plain(text, "target", bytes_max=IDENTIFIER_BYTES_MAX)
    if text.startswith("pid:") and number_within(text[4:], low=1, high=PID_MAX) is None:
        raise ValueError(f"target {text!r}: pid:N with a positive number is accepted")
    if text.startswith("netns:") and not text.removeprefix("netns:"):
        raise ValueError(f"target {text!r}: netns:PATH with a path is accepted")
    return text


def host_port(text: str) -> str:
    """Check HOST:PORT with a numeric port; the host may be a bracketed IPv6 address."""
    host, _, port = text.rpartition(":")
    if not host or number_within(port, low=0, high=PORT_MAX) is None:
        raise ValueError(f"{text!r}: HOST:PORT is accepted, such as 127.0.0.1:6784")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r}: an IPv6 address is written [ADDRESS]:PORT")
    if not is_host(host):
        raise ValueError(f"{text!r}: {host!r} is no IPv4 address")
    return text


def http_address(text: str) -> str:
    """Check where the API is served on TCP: HOST:PORT of one interface.

    Callers have to name the listener in their Host header, and nobody can name every interface.
    """
    host, _ = split_host_port(host_port(text), default_port=0)
    if is_wildcard(host):
        raise ValueError(
            f"{text!r}: {host} means every interface, and callers name one; "
            "HOST:PORT of one address is accepted, such as 127.0.0.1:6784"
        )
    return text


def domain(text: str) -> str:
    """Check a DNS domain and return it with its final dot, in lower case."""
    dns_name(text)
    return text.removesuffix(".").lower() + "."


def mtu(text: str) -> int:
    """Check an MTU in bytes; "auto" is 0: what the underlay leaves."""
    if text == MTU_AUTO:
        return 0
    size = number_within(text, low=MTU_MIN, high=MTU_MAX)
    if size is None:
        raise ValueError(f"mtu {text!r}: {MTU_MIN} to {MTU_MAX} bytes are accepted, or {MTU_AUTO}")
    return size


def duration(text: str) -> float:
    """Read seconds, or a number with ms, s, m, h or d, as seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"duration {text!r}: seconds are accepted, or such as 500ms, 10m, 1h")
    return float(match[1]) * _UNIT_S[match[2]]


def timeout(text: str) -> float:
    """Read how long a call may wait, in seconds."""
    return _between(duration(text), TIMEOUT_S_MAX, f"timeout {text!r}")


def token_ttl(text: str) -> float:
    """Read how long a token lives, in seconds."""
    return _between(duration(text), TOKEN_TTL_S_MAX, f"ttl {text!r}")


def _between(value_s: float, high_s: float, what: str) -> float:
    if not 0 < value_s <= high_s:
        raise ValueError(f"{what}: more than 0 and at most {high_s:,.0f} s are accepted")
    return value_s
