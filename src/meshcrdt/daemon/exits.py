"""Exit codes and the one error that carries them: what scripts rely on (contract: exit codes).

Standard library only: client verbs load this before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What a verb's process returns."""

    DONE = 0
    FAILED = 1
    """Refused or failed: also whatever a file, a host, a peer or a daemon shows."""
    USAGE = 2
    """The command line alone is wrong, found before any daemon is asked."""
    FEATURE_OFF = 4
    NO_DAEMON = 5


class CommandError(Exception):
    """A verb ends here: one line for standard error, and the exit code.

    `body` is the object that `--json` prints although the verb failed, such as the outcome
    of an allocation that was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        code: ExitCode = ExitCode.FAILED,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(one_line(message))
        self.code = code
        self.body = body


def one_line(text: str) -> str:
    """Return `text` as one printable line: errors name foreign values, and may not forge lines."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split("\n")))
