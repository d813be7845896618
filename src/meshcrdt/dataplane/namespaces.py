"""Network namespaces of workloads: by path or by process, never by accident the host's.

A visit runs in a thread of its own that ends afterwards: a thread that could not come
back would otherwise serve later calls in the wrong namespace. Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from attrs import frozen

from meshcrdt.dataplane.errors import DataplaneError, NamespaceGone
from meshcrdt.errors import UsageError

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_OWN_PATH = "/proc/thread-self/ns/net"
_NAMED_DIRECTORY = "/run/netns"


@frozen(kw_only=True)
class Target:
    """A namespace that a workload can be attached in."""

    path: str
    identity: str
    """Device and inode of the namespace: tells it from a later one under the same path."""


def target_path(target: str) -> str:
    """Return the path of `netns:PATH`, `netns:NAME` or `pid:N`; raises UsageError naming it."""
    kind, colon, rest = target.partition(":")
    if colon and kind == "pid" and rest.isdecimal() and int(rest) > 0:
        return f"/proc/{int(rest)}/ns/net"
    if colon and kind == "netns" and rest and rest not in {".", ".."}:
        return rest if rest.startswith("/") else os.path.join(_NAMED_DIRECTORY, rest)
    raise UsageError(f"target {target!r} is not accepted: netns:PATH or pid:N is")


def resolve_target(target: str) -> Target:
    """Return the namespace that a target names now.

    Raises UsageError for a malformed target, NamespaceGone when there is none, and
    DataplaneError when it is not a network namespace, or is the host's own.
    """
    path = target_path(target)
    with opened(path) as descriptor:
        identity = _identity(os.fstat(descriptor))
    if identity == own_identity():
        raise DataplaneError(f"{path} is the host's own network namespace, not a workload's")
    return Target(path=path, identity=identity)


def own_identity() -> str:
    """Return the identity of the namespace that this thread is in."""
    return _identity(os.stat(_OWN_PATH))


@contextmanager
def opened(path: str, identity: str | None = None) -> Iterator[int]:
    """Open a network namespace for the length of a block; yields its descriptor.

    Raises NamespaceGone when the path is missing, stands for nothing, or for another
    namespace than `identity`; DataplaneError when it is no network namespace.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        raise NamespaceGone(f"network namespace {path} does not exist") from None
    except OSError as error:
        raise DataplaneError(f"network namespace {path}: {error.strerror}") from error
    try:
        try:
            kind = fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
        except OSError:
            # What `ip netns del` leaves while the name is being removed is a plain file.
            raise NamespaceGone(f"{path} is not a network namespace") from None
        if kind != _CLONE_NEWNET:
            raise DataplaneError(f"{path} is a namespace, but not a network namespace")
        if identity is not None and _identity(os.fstat(descriptor)) != identity:
            raise NamespaceGone(f"{path} is another network namespace than the one attached")
        yield descriptor
    finally:
        os.close(descriptor)


def call_inside(path: str, identity: str | None, function: Callable[[], T]) -> T:
    """Return `function()` run inside a namespace, in a thread of its own.

    Raises what the function raises, and what `opened` does.
    """
    with opened(path, identity) as descriptor:
        results: list[T] = []
        failures: list[BaseException] = []

        def visit() -> None:
            try:
                _enter(descriptor, path)
                results.append(function())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=visit, name=f"inside {path}", daemon=True)
        thread.start()
        thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _enter(descriptor: int, path: str) -> None:
    # os.setns exists from Python 3.12 on; one call of libc serves 3.11 as well.
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DataplaneError(f"cannot enter network namespace {path}: {reason}")


def _identity(found: os.stat_result) -> str:
    return f"{found.st_dev}:{found.st_ino}"
