"""One daemon per state directory: an advisory lock that dies with its process.

The lock file holds the pid for people; only the lock itself decides (flock(2)), so that a
daemon that was killed leaves nothing to clean up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.places import LOCK_NAME
from meshcrdt.errors import StoreError, StoreInUse
from meshcrdt.storage.files import PathLock

_LOG = logging.getLogger("meshcrdt.daemon")
LOCK_MODE = 0o640
_POLL_S = 0.02


class StateLock:
    """Holds a state directory for this process until `release` or the process's end."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / LOCK_NAME
        self._held: PathLock | None = None

    def acquire(self) -> None:
        """Take the lock and write the pid. Raises CommandError naming the pid that holds it."""
        try:
            self._held = PathLock(self.path.parent, lock_path=self.path, mode=LOCK_MODE)
        except StoreInUse as error:
            raise CommandError(f"state directory {error}") from None
        except StoreError as error:
            cause = error.__cause__
            reason = cause.strerror if isinstance(cause, OSError) else error
            raise CommandError(
                f"state directory {self.path.parent} cannot be used: {reason}"
            ) from None

    def release(self) -> None:
        """Give the lock back; idempotent."""
        if self._held is not None:
            self._held.release()
            self._held = None


def leave_word(path: Path, word: str) -> None:
    """Add to the lock file why its holder ends without having done what it was asked."""
    try:
        with path.open("a") as stream:
            stream.write(f"{word}\n")
    except OSError as error:
        # The pid alone is left there, from which the waiting one concludes the same.
        _LOG.warning("%s cannot be written: %s", path, error.strerror)


def word_left(path: str, pid: int) -> str | None:
    """Return why process `pid` ended without removing its lock file; None when it did remove it.

    Another process may have taken the lock since: then nothing can be known of the old one.
    """
    try:
        first, *words = Path(path).read_text().splitlines() or [""]
    except OSError:
        # Gone, as it should be, or not ours to read, as in `wait_until_free`.
        return None
    if first != str(pid):
        return None
    return words[0] if words else f"process {pid} ended before everything was removed"


def wait_until_free(path: str, *, timeout_s: float) -> bool:
    """Wait until no process holds the lock at `path`; return False when `timeout_s` has passed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        # Not ours to read: the daemon answered that it stops, and that is all we can know.
        return True
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_S)
            else:
                return True
    finally:
        os.close(fd)
