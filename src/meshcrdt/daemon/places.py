"""Where things are by default: state directory, API socket, run-time files.

Shared by the daemon and by client verbs, which have to agree without talking. Standard
library only, and the environment is an argument, so that every rule is a unit test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from meshcrdt.base.hosts import PORT_MAX, is_host, is_wildcard, number_within

SOCKET_NAME = "api.sock"
STORE_NAME = "mesh.db"
LOCK_NAME = "lock"
BEARER_NAME = "api.token"
ROOT_STATE_DIR = Path("/var/lib/meshcrdt")
ROOT_RUN_DIR = Path("/run/meshcrdt")

API_VARIABLE = "MESHCRDT_API"
STATE_DIR_VARIABLE = "MESHCRDT_STATE_DIR"


def is_root() -> bool:
    """Return True when this process may do as root does."""
    return os.geteuid() == 0


def default_state_dir(environ: Mapping[str, str], *, root: bool) -> Path:
    """Return the state directory of a daemon that was given none."""
    if root:
        return ROOT_STATE_DIR
    base = environ.get("XDG_STATE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "meshcrdt"
    return Path(environ.get("HOME", "~")).expanduser() / ".local" / "state" / "meshcrdt"


def default_api(environ: Mapping[str, str], *, root: bool) -> str:
    """Return the API address of a daemon that was given neither address nor state directory."""
    if root:
        return unix_url(ROOT_RUN_DIR / SOCKET_NAME)
    run = environ.get("XDG_RUNTIME_DIR")
    if run and Path(run).is_absolute():
        return unix_url(Path(run) / "meshcrdt" / SOCKET_NAME)
    # Hosts without a login session have no run-time directory; the state directory has one rule.
    return unix_url(default_state_dir(environ, root=root) / SOCKET_NAME)


def unix_url(path: Path) -> str:
    """Return the URL of a Unix socket."""
    return f"unix://{path.absolute()}"


def resolve_api(
    api: str | None, state_dir: str | None, environ: Mapping[str, str], *, root: bool
) -> str:
    """Return the URL of the daemon that a verb talks to.

    Order: `--api`, MESHCRDT_API, `api.sock` in the state directory where one is given by flag
    or variable, the default. Raises ValueError naming the value.
    """
    given = api or environ.get(API_VARIABLE)
    if given:
        return parse_api(given)
    directory = state_dir or environ.get(STATE_DIR_VARIABLE)
    if directory:
        return unix_url(Path(directory) / SOCKET_NAME)
    return default_api(environ, root=root)


def resolve_state_dir(state_dir: str | None, environ: Mapping[str, str], *, root: bool) -> Path:
    """Return the state directory that a verb means."""
    directory = state_dir or environ.get(STATE_DIR_VARIABLE)
    if directory:
        return Path(directory).absolute()
    return default_state_dir(environ, root=root)


def parse_api(text: str) -> str:
    """Return an API address as a URL: `unix:///path`, `/path`, or `http://host:port`.

    Raises ValueError for any other, and for every interface (0.0.0.0, ::): nobody is there.
    """
    text = text.strip()
    if text.startswith("unix://") and len(text) > len("unix://"):
        return unix_url(Path(text.removeprefix("unix://")))
    if text.startswith("http://"):
        host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
        good = bool(host) and is_host(host) and not is_wildcard(host.strip("[]"))
        if good and number_within(port, low=0, high=PORT_MAX) is not None:
            return f"http://{host}:{port}"
    elif "/" in text and "://" not in text:
        return unix_url(Path(text))
    raise ValueError(
        f"API address {text!r}: unix:///PATH, /PATH or http://HOST:PORT is accepted, "
        "where HOST is one address"
    )
