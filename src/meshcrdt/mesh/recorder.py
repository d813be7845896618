"""Records what a real node is told and does, so that an incident can be replayed.

    with TraceRecorder("incident.trace") as recorder:
        async with open_mesh(..., instrument=recorder) as mesh:
            ...

No key and no secret is ever written; values of channels are: keep a trace as you keep the
store. `meshcrdt sim replay` and `meshcrdt.sim.replay` give it to a node again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType

from meshcrdt import __version__
from meshcrdt.base.dice import Dice
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.node import Node
from meshcrdt.sim.trace import Recorder

log = logging.getLogger("meshcrdt.mesh")


class TraceRecorder:
    """An instrument for `open_mesh` that writes each turn of the node as one line of JSON.

    Lines are buffered by the file and written within the turn; a disk that fails ends the
    recording, and never the node. One recorder takes one node.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open the file for writing; raises OSError."""
        self._path = Path(path)
        self._stream = self._path.open("w", encoding="utf-8")
        self._path.chmod(0o600)
        self._recorder = Recorder(self._write, version=__version__)

    @property
    def recording(self) -> bool:
        """Return True until the recorder is closed or its disk failed."""
        return not self._stream.closed

    def node(self, config: NodeConfig, dice: Dice) -> Node:
        """Return the node that is recorded; `open_mesh` asks for it."""
        return self._recorder.node(config.name, config, dice)

    def before_handle(self, event: object, now: float) -> None:
        """Do nothing: the node itself says what goes in and out."""

    def after_handle(self, event: object, effects: Sequence[object], now: float) -> None:
        """Do nothing: the node itself says what goes in and out."""

    def close(self) -> None:
        """Write what is buffered and close the file."""
        try:
            self._stream.close()
        except OSError as error:
            log.warning("the trace %s is not whole: %s", self._path, error.strerror)

    def __enter__(self) -> TraceRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, line: str) -> None:
        if self._stream.closed:
            return
        try:
            self._stream.write(line + "\n")
        except OSError as error:
            log.warning("the trace %s ends here: %s", self._path, error.strerror)
            self.close()
