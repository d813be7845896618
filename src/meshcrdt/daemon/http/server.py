"""Sockets of the API, and anycorn on them.

A socket that nobody answers on is replaced; one that answers belongs to another daemon. A
missing directory is made 0750; the socket is 0660.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from pathlib import Path
from typing import Any

import anycorn
import trio
from starlette.types import ASGIApp

from meshcrdt.base.hosts import shown_host_port, split_host_port
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.places import BEARER_NAME
from meshcrdt.storage.files import replace_file

DIRECTORY_MODE = 0o750
SOCKET_MODE = 0o660
BACKLOG = 128
UNIX_PATH_BYTES_MAX = 107
IDLE_S = 1.0
"""How long an idle connection is kept. The server notices only then that its caller has gone,
so a script that calls in a loop would otherwise fill the table of descriptors."""
GRACE_S = 1.0
"""How long requests under way may go on when the daemon ends."""


def bind_api(url: str) -> socket.socket:
    """Open the API's listener. Raises CommandError naming the URL and the reason."""
    if url.startswith("unix://"):
        return bind_unix(Path(url.removeprefix("unix://")))
    return bind_tcp(*split_host_port(url.removeprefix("http://"), default_port=0))


def bind_unix(path: Path) -> socket.socket:
    """Open a listener on a Unix socket, replacing a socket that nobody answers on."""
    if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise CommandError(
            f"API socket {path} has {len(os.fsencode(path))} bytes: "
            f"a socket's path has at most {UNIX_PATH_BYTES_MAX}; --api names another"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            path.parent.chmod(DIRECTORY_MODE)
        if _answers(path):
            raise CommandError(f"API socket {path} is in use by another daemon")
        if path.is_socket():
            path.unlink()
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CommandError(f"API socket {path} cannot be opened: {error.strerror}") from None
    except BaseException:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            # A full backlog means that somebody is there; anything else is not a live socket.
            return error.errno in (errno.EAGAIN, errno.ETIMEDOUT) or isinstance(error, TimeoutError)
        return True


def bind_tcp(host: str, port: int) -> socket.socket:
    """Open a listener on TCP. Raises CommandError naming the address and the reason."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CommandError(
            f"API address {shown_host_port(host, port)} cannot be opened: {error.strerror or error}"
        ) from None
    return listener


def bearer_token(state_dir: Path) -> str:
    """Return the token of the TCP API, making it on first use; only its owner may read it."""
    path = state_dir / BEARER_NAME
    try:
        kept = path.read_text().strip()
        if kept:
            return kept
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(f"cannot read the API token in {path}: {error.strerror}") from None
    token = secrets.token_urlsafe(32)
    try:
        replace_file(path, f"{token}\n".encode())
    except OSError as error:
        raise CommandError(f"cannot write the API token to {path}: {error.strerror}") from None
    return token


async def serve_api(app: ASGIApp, listener: socket.socket, stop: trio.Event) -> None:
    """Serve until `stop`; takes over the listener."""
    config = anycorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("meshcrdt.http.server")
    config.errorlog.setLevel(logging.WARNING)
    config.include_server_header = False
    config.graceful_timeout = GRACE_S
    config.keep_alive_timeout = IDLE_S
    # Starlette and anycorn each spell the ASGI types in their own way.
    served: Any = app
    await anycorn.serve(served, config, shutdown_trigger=stop.wait, mode="asgi")
