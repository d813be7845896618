"""From URL to an open store, through the entry point group `meshcrdt.stores`.

An entry is `async def open(url: str) -> Store`, which takes the store for this process
alone or raises a StoreError naming it.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from meshcrdt.abc import Store
from meshcrdt.base.plugins import load_plugin, scheme_of
from meshcrdt.errors import UsageError

GROUP = "meshcrdt.stores"
KEY_SUFFIX = ".key"


async def open_store(url: str) -> Store:
    """Open the store that `url` names.

    Raises UsageError for a bad URL or an unknown scheme, StoreInUse when another process
    or another part of this one holds it, and WrongStore, CorruptStore or StoreError.
    """
    entry = load_plugin(GROUP, scheme_of(url, what="store"), what="store")
    return cast(Store, await entry(url))


def path_in(url: str) -> Path:
    """Return the file that a store URL names; raises UsageError when it names none."""
    _, _, text = url.partition("://")
    if not text or "\0" in text or text.endswith("/"):
        raise UsageError(f"store {url!r} names no file: SCHEME:///absolute/path is accepted")
    return Path(text)


def key_path(url: str) -> Path | None:
    """Return where the keys beside a store live, or None for one that is not on disk."""
    if scheme_of(url, what="store") == "mem":
        return None
    path = path_in(url)
    return path.with_name(path.name + KEY_SUFFIX)
