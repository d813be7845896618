"""Every option of `launch` in one table: flag, variable, key in the file, check and default.

The command line, the variables and the TOML file are all generated from it, so the four
sources cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import frozen

from meshcrdt.base.hosts import number_within, parse_peer_address
from meshcrdt.daemon import places, values

VARIABLE_PREFIX = "MESHCRDT_"
DEFAULT_LISTEN = ("tcp://0.0.0.0:6783",)
SEATS_MAX = 65_535
DEFAULT_DOMAIN = "mesh.internal."


class Kind(Enum):
    """What an option takes."""

    ONE = "one value"
    MANY = "values"
    SWITCH = "a switch"


@frozen(kw_only=True)
class Option:
    """One option. `name` is also the key in the file and, in capitals, the variable."""

    name: str
    flag: str
    kind: Kind
    help: str
    metavar: str = ""
    check: Callable[[str], Any] = str
    default: Any = None
    also: tuple[str, ...] = ()
    """Other spellings of the flag."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return VARIABLE_PREFIX + self.name.upper()


def _choice(what: str, *accepted: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"{what} {text!r}: {' or '.join(accepted)} is accepted")
        return text

    return check


def peer_address(text: str, source: str = "peer") -> str:
    """Return an address as a URL that a transport here serves. Raises UsageError."""
    from meshcrdt.transports.registry import transport_for

    url = parse_peer_address(text, source=source)
    transport_for(url)
    return url


def _dataplane(text: str) -> str:
    """Check that a dataplane of this name is installed. Raises UsageError."""
    from meshcrdt.dataplane.registry import known_dataplane

    return known_dataplane(text)


def _listen(text: str) -> str:
    return peer_address(text, "listener")


def _advertise(text: str) -> str:
    # Others may have transports that are not installed here.
    return parse_peer_address(text, source="advertised address")


def _display_name(text: str) -> str:
    return values.plain(text, "name", bytes_max=64)


def _is_count(text: str) -> bool:
    return number_within(text, low=1, high=SEATS_MAX) is not None


def _seat(text: str) -> str:
    """Check --ipalloc-init: seed=NAME,…, consensus[=N] or observer."""
    word, equals, rest = text.partition("=")
    good = (
        (word == "observer" and not equals)
        or (word == "consensus" and (not equals or _is_count(rest)))
        or (word == "seed" and rest != "" and all(part for part in rest.split(",")))
    )
    if not good:
        raise ValueError(
            f"--ipalloc-init {text!r}: seed=PEER,…, consensus, consensus=N or observer is accepted"
        )
    return text


OPTIONS: tuple[Option, ...] = (
    Option(
        name="peers",
        flag="PEER",
        kind=Kind.MANY,
        check=peer_address,
        default=(),
        help="Addresses of members to connect to.",
    ),
    Option(
        name="join_file",
        flag="--join-file",
        kind=Kind.ONE,
        metavar="FILE|-",
        help="File (or standard input) that holds the join token.",
    ),
    Option(
        name="name",
        flag="--name",
        also=("--nickname",),
        kind=Kind.ONE,
        metavar="NAME",
        check=_display_name,
        help="Name of this node for people; default: the host's name.",
    ),
    Option(
        name="listen",
        flag="--listen",
        kind=Kind.MANY,
        metavar="URL",
        check=_listen,
        default=DEFAULT_LISTEN,
        help="Where other nodes reach this one.",
    ),
    Option(
        name="advertise",
        flag="--advertise",
        kind=Kind.MANY,
        metavar="URL",
        check=_advertise,
        default=(),
        help="Addresses to tell others; default: the global addresses of the listeners.",
    ),
    Option(
        name="no_discovery",
        flag="--no-discovery",
        kind=Kind.SWITCH,
        default=False,
        help="Connect only to the peers given here.",
    ),
    Option(
        name="detection",
        flag="--detection",
        kind=Kind.ONE,
        metavar="links|probe",
        check=_choice("detection", "links", "probe"),
        default="links",
        help="Ask every quiet link (3 s), or one neighbour a second (9 s, a quarter of the bytes).",
    ),
    Option(
        name="http_addr",
        flag="--http-addr",
        kind=Kind.ONE,
        metavar="HOST:PORT",
        check=values.http_address,
        help="Serve the API there too, with the bearer token in the state directory.",
    ),
    Option(
        name="ipalloc_range",
        flag="--ipalloc-range",
        kind=Kind.MANY,
        metavar="CIDR",
        check=values.cidr,
        default=(),
        help="Ranges of a new cluster; default: 10.32.0.0/12 and an IPv6 /48.",
    ),
    Option(
        name="ipalloc_default_subnet",
        flag="--ipalloc-default-subnet",
        kind=Kind.ONE,
        metavar="CIDR",
        check=values.cidr,
        help="Where addresses come from when no subnet is named.",
    ),
    Option(
        name="ipalloc_init",
        flag="--ipalloc-init",
        kind=Kind.ONE,
        metavar="HOW",
        check=_seat,
        help="Who may start the ranges: seed=…, consensus[=N] or observer.",
    ),
    Option(
        name="dns_listen",
        flag="--dns-listen",
        kind=Kind.ONE,
        metavar="ADDR:PORT",
        check=values.host_port,
        help="Where names are served; default: port 53 of the overlay bridge.",
    ),
    Option(
        name="no_dns",
        flag="--no-dns",
        kind=Kind.SWITCH,
        default=False,
        help="Serve no names.",
    ),
    Option(
        name="dns_domain",
        flag="--dns-domain",
        kind=Kind.ONE,
        metavar="DOMAIN",
        check=values.domain,
        default=DEFAULT_DOMAIN,
        help="Domain of names without a dot. Remembered.",
    ),
    Option(
        name="dataplane",
        flag="--dataplane",
        kind=Kind.ONE,
        metavar="linux|none",
        check=_dataplane,
        help="What carries traffic; default: linux for root, else none.",
    ),
    Option(
        name="trusted_subnets",
        flag="--trusted-subnets",
        kind=Kind.MANY,
        metavar="CIDR",
        check=values.cidr,
        default=(),
        help="Underlay networks on which workloads may travel in the clear. Remembered.",
    ),
    Option(
        name="mtu",
        flag="--mtu",
        kind=Kind.ONE,
        metavar="N|auto",
        check=values.mtu,
        help="MTU of workloads in bytes; auto: what the underlay leaves. Remembered.",
    ),
    Option(
        name="insecure",
        flag="--insecure",
        kind=Kind.SWITCH,
        default=False,
        help="Use no secret and no encryption between nodes.",
    ),
    Option(
        name="log_level",
        flag="--log-level",
        kind=Kind.ONE,
        metavar="L",
        check=_choice("log level", "debug", "info", "warning", "error"),
        default="info",
        help="Least severity that is logged: debug, info, warning or error.",
    ),
    Option(
        name="log_format",
        flag="--log-format",
        kind=Kind.ONE,
        metavar="text|json",
        check=_choice("log format", "text", "json"),
        default="text",
        help="How the log is written to standard error.",
    ),
    Option(
        name="api",
        flag="--api",
        kind=Kind.ONE,
        metavar="URL",
        check=places.parse_api,
        help="Where the API is served.",
    ),
    Option(
        name="state_dir",
        flag="--state-dir",
        kind=Kind.ONE,
        metavar="DIR",
        help="Directory that holds all that a node remembers.",
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}
