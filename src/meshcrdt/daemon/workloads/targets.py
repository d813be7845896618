"""What TARGET of attach means: a namespace path, a process, or a Docker container."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from meshcrdt.daemon.client import UnixConnection
from meshcrdt.daemon.exits import CommandError
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.namespaces import resolve_target
from meshcrdt.errors import UsageError

DOCKER_SOCKET = Path("/var/run/docker.sock")
DOCKER_TIMEOUT_S = 3.0


@frozen(kw_only=True)
class Place:
    """A workload's namespace."""

    id: str
    """What the node calls the workload: a container's full id, else the target as written."""
    namespace: str
    identity: str


def find_place(target: str) -> Place:
    """Resolve a target; blocks, so call it in a thread. Raises CommandError naming the target."""
    if not target.startswith(("netns:", "pid:")):
        container, pid = docker_container(target)
        found = _resolved(f"pid:{pid}", f"container {target!r}")
        return Place(id=container, namespace=found[0], identity=found[1])
    path, identity = _resolved(target, f"target {target!r}")
    return Place(id=target, namespace=path, identity=identity)


def _resolved(target: str, shown: str) -> tuple[str, str]:
    try:
        found = resolve_target(target)
    except (DataplaneError, UsageError) as error:
        raise CommandError(f"{shown}: {error}") from None
    return found.path, found.identity


def docker_container(name: str, socket_path: Path | None = None) -> tuple[str, int]:
    """Return the full id and the pid of a running container.

    `socket_path` is Docker's API socket (DOCKER_HOST where that is a Unix socket). Raises
    CommandError: no Docker, no such container, or one that does not run.
    """
    path = socket_path or docker_socket()
    connection = UnixConnection(str(path), DOCKER_TIMEOUT_S)
    try:
        connection.request("GET", f"/containers/{quote(name, safe='')}/json")
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(
            f"target {name!r} is neither netns:PATH nor pid:N, and Docker at {path} "
            f"cannot be asked: {reason}"
        ) from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise CommandError(f"target {name!r}: Docker knows no such container")
    pid = body.get("State", {}).get("Pid", 0)
    if not pid:
        raise CommandError(f"target {name!r}: the container does not run")
    return str(body["Id"]), int(pid)


def docker_socket() -> Path:
    """Return where Docker's API socket is."""
    host = os.environ.get("DOCKER_HOST", "")
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else DOCKER_SOCKET
