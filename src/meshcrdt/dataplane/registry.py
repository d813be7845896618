"""From a name to a dataplane, through the entry point group `meshcrdt.dataplanes`.

Another tool replaces ours by an entry point of its own in that group; `--dataplane NAME`
then opens it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from meshcrdt.abc import Dataplane
from meshcrdt.base.plugins import load_plugin
from meshcrdt.dataplane.model import DataplaneConfig
from meshcrdt.errors import MissingExtra

GROUP = "meshcrdt.dataplanes"


def known_dataplane(name: str) -> str:
    """Return `name` when a dataplane of that name is installed.

    Raises UsageError naming the known ones. What it lacks beyond that, `open_dataplane` says.
    """
    with suppress(MissingExtra):
        load_plugin(GROUP, name, what="dataplane")
    return name


def open_dataplane(name: str, config: DataplaneConfig) -> Dataplane:
    """Return the dataplane of that name for this host.

    Raises UsageError for an unknown name, naming the known ones, and MissingExtra when it
    needs something that is not installed.
    """
    return cast(Dataplane, load_plugin(GROUP, name, what="dataplane")(config))
