"""The two verbs that a kernel offers a dataplane: look, and change one thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from meshcrdt.dataplane.model import DataplaneConfig, Desired
from meshcrdt.dataplane.observed import Observed
from meshcrdt.dataplane.operations import Operation
from meshcrdt.dataplane.overlap import HostRoute


class Kernel(Protocol):
    """Blocking calls; the dataplane makes them in a thread, one at a time."""

    def observe(self, config: DataplaneConfig, desired: Desired) -> Observed:
        """Return what exists now. Raises DataplaneError when the kernel cannot be asked."""
        ...

    def apply(self, config: DataplaneConfig, operations: Sequence[Operation]) -> list[str]:
        """Apply in order, each on its own; return one line for each that failed."""
        ...

    def routes(self) -> Sequence[HostRoute]:
        """Return the routes and addresses of this host."""
        ...

    def why_unable(self) -> str | None:
        """Return one line that says what this host lacks, or None."""
        ...
