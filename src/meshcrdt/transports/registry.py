"""From URL to transport, through the entry point group `meshcrdt.transports`."""

from __future__ import annotations

from functools import cache
from typing import cast

from meshcrdt.abc import Transport
from meshcrdt.base.plugins import load_plugin, scheme_of

GROUP = "meshcrdt.transports"


def transport_for(url: str) -> Transport:
    """Return the transport that serves the scheme of `url`.

    One instance per scheme and process. Raises UsageError for text that is no URL and
    for an unknown scheme, naming the known ones.
    """
    return _instance(scheme_of(url, what="transport"))


@cache
def _instance(scheme: str) -> Transport:
    return cast(Transport, load_plugin(GROUP, scheme, what="transport")())
