"""Finding extensions by URL scheme: transports, stores and dataplanes.

Each kind has an entry point group; the name of an entry point is the scheme that it
serves. An unknown scheme is the caller's mistake, so the answer names the known ones.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from meshcrdt.errors import MissingExtra, UsageError


def scheme_of(url: str, *, what: str) -> str:
    """Return the scheme of a URL; raises UsageError where there is none.

    `what` says in the message what kind of URL it is, such as "transport".
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise UsageError(f"{what} {url!r} is not a URL: SCHEME://... is accepted")
    return scheme.lower()


def load_plugin(group: str, scheme: str, *, what: str) -> Any:
    """Return the object behind the entry point `scheme` of `group`.

    Raises UsageError naming the known schemes when there is none of that name, and
    MissingExtra when its module needs something that is not installed.
    """
    known = _known(group)
    if scheme not in known:
        accepted = ", ".join(sorted(known)) or "none is installed"
        raise UsageError(f"unknown {what} scheme {scheme!r}: known schemes are {accepted}")
    entry = known[scheme]
    try:
        return entry.load()
    except MissingExtra:
        raise
    except ImportError as error:
        raise MissingExtra(scheme, error.name or entry.module) from error


@cache
def _known(group: str) -> dict[str, Any]:
    """Scanning the installed distributions takes milliseconds, so it is done once a group."""
    return {entry.name: entry for entry in entry_points(group=group)}
