"""What a daemon says to the one who started it: the lines at the start, or why it ended.

In the foreground that is the terminal; detached, it is a pipe to the waiting parent.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from meshcrdt.daemon.exits import CommandError

_LOG = logging.getLogger("meshcrdt.daemon")


class Starter(Protocol):
    """Whoever started the daemon and waits for news of it."""

    @property
    def is_terminal(self) -> bool:
        """Whether what is said is read by a person, and may carry a token."""
        ...

    def say(self, lines: Sequence[str]) -> None:
        """Say lines; may be called before the daemon is ready."""
        ...

    def ready(self) -> None:
        """The daemon is ready."""
        ...

    def failed(self, error: CommandError) -> None:
        """The daemon ends with an error."""
        ...


class Foreground:
    """Says everything on standard output; the error is the caller's to print."""

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return sys.stdout.isatty()

    def say(self, lines: Sequence[str]) -> None:
        """Print lines."""
        try:
            for line in lines:
                print(line, flush=True)
        except OSError as error:
            # A daemon does not end because nobody reads what it says at the start.
            _LOG.warning("standard output cannot be written: %s", error.strerror)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def ready(self) -> None:
        """Nothing to tell: whoever watches sees the log."""

    def failed(self, error: CommandError) -> None:
        """Nothing to tell: the command line prints it."""


class PipeStarter:
    """Tells a waiting parent through a pipe, one JSON object a line."""

    def __init__(self, fd: int, *, is_terminal: bool) -> None:
        self._fd: int | None = fd
        self._is_terminal = is_terminal

    @property
    def is_terminal(self) -> bool:
        """Whether the parent's standard output is a terminal."""
        return self._is_terminal

    def say(self, lines: Sequence[str]) -> None:
        """Hand lines to the parent."""
        self._tell({"say": list(lines)})

    def ready(self) -> None:
        """Let the parent return 0."""
        self._tell({"ready": True})
        self._close()

    def failed(self, error: CommandError) -> None:
        """Let the parent end with this error."""
        self._tell({"code": int(error.code), "line": str(error)})
        self._close()

    def _tell(self, message: dict[str, object]) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            # The parent was interrupted; the daemon lives on without it.
            self._close()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
