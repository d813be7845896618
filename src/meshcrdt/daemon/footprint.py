"""What a launch adds to its state directory, so that one that is refused leaves no trace.

Only a first launch is undone, and only before it was ready: from then on the directory
holds an identity that others know. What was there before stays in any case.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from attrs import define

from meshcrdt.daemon import places
from meshcrdt.daemon.reset import remove_files, traces

_LOG = logging.getLogger("meshcrdt.daemon")


@define
class Footprint:
    """The state directory as a launch found it."""

    state_dir: Path
    entries: frozenset[str]
    missing: tuple[Path, ...]
    """The directory and those above it that have to be made, the innermost first."""
    is_first: bool
    """Whether nothing was there that a node could be resumed from."""
    _is_kept: bool = False

    @classmethod
    def before(cls, state_dir: Path) -> Footprint:
        """Look at a directory that need not exist; call it before anything is made."""
        found = frozenset(os.listdir(state_dir)) if state_dir.is_dir() else frozenset()
        return cls(
            state_dir,
            found,
            missing=tuple(each for each in (state_dir, *state_dir.parents) if not each.exists()),
            is_first=places.STORE_NAME not in found,
        )

    @property
    def made_directory(self) -> bool:
        """Whether this launch makes the state directory."""
        return self.state_dir in self.missing

    def keep(self) -> None:
        """Note that the launch succeeded: nothing of it is undone any more."""
        self._is_kept = True

    def undo(self) -> None:
        """Remove what a first launch that was refused has made; the caller holds the lock."""
        if self._is_kept or not self.is_first:
            return
        failures = remove_files(
            [path for path in traces(self.state_dir) if path.name not in self.entries]
        )
        for failure in failures:
            _LOG.warning("a refused launch leaves %s", failure)
        for directory in self.missing:
            if any(directory.iterdir()):
                break
            directory.rmdir()
