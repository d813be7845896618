"""What a dataplane raises: one clear line that names the device, namespace or tool."""

from __future__ import annotations

from meshcrdt.errors import MeshError


class DataplaneError(MeshError):
    """The kernel, a tool or a namespace refused; the message names it. Other parts are applied."""


class NamespaceGone(DataplaneError):
    """A workload's network namespace does not exist, or no longer; the message names it."""


class DataplaneOff(DataplaneError):
    """This daemon runs without a dataplane; nothing was changed."""
