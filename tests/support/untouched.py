"""What a refused command leaves as it was: digests of a daemon, before and after."""

from __future__ import annotations

from collections.abc import Mapping


def wrote_itself(digests: Mapping[str, str]) -> bool:
    """Tell whether a daemon's own entry in the directory has reached its disk.

    Ready does not wait for that, so digests that are compared are taken after it. For a
    daemon in whose cluster nobody has a name yet: its names are an empty channel.
    """
    return digests["directory"] != digests["names"]


def settled(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests that only a command changes.

    Blocks of addresses are taken ahead of need, whenever that may be: compare the addresses
    that are held instead.
    """
    return {name: value for name, value in digests.items() if name != "ipam"}
