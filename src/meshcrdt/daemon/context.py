"""What the surfaces of one daemon share: its mesh, settings and the way to end it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from meshcrdt.daemon.config import Settings
from meshcrdt.daemon.exits import CommandError

if TYPE_CHECKING:
    from meshcrdt.daemon.workloads.attach import Workloads
    from meshcrdt.mesh.mesh import Mesh

_LOG = logging.getLogger("meshcrdt.daemon")


@define
class Control:
    """How a surface asks the daemon to end; the first asker decides how."""

    lock_path: Path
    pid: int = field(factory=os.getpid)
    stopping: trio.Event = field(factory=trio.Event)
    wipe: bool = False
    """Whether the end also forgets everything on this host (`reset`)."""
    failure: CommandError | None = None
    """Why the daemon ends by itself, and with which code."""

    def stop(self, asked_by: str) -> None:
        """End in an orderly way; the log says who asked first."""
        if not self.stopping.is_set():
            _LOG.info("stopping: %s", asked_by)
        self.stopping.set()

    def fail(self, error: CommandError) -> None:
        """End with a failure, unless the daemon is already ending."""
        if not self.stopping.is_set():
            self.failure = error
            self.stopping.set()


@define
class Daemon:
    """One running daemon as its surfaces see it."""

    mesh: Mesh
    settings: Settings
    control: Control
    workloads: Workloads | None = None
    """None when no dataplane runs here."""
    dataplane_reason: str | None = None
    """Why there is no dataplane, or no path for workloads, in one line."""
    dns_address: str | None = None
    """Where names are served, or None."""
