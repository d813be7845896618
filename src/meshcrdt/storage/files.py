"""What keeps files safe: private modes, atomic replacement, and one holder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from meshcrdt.errors import StoreError, StoreInUse

FILE_MODE = 0o600
DIRECTORY_MODE = 0o750
LOCK_SUFFIX = ".lock"
NEW_SUFFIX = ".new"
"""Of the file that becomes another one; only a killed process leaves one behind."""


def make_directory(directory: Path) -> None:
    """Make a directory with mode 0750 when it is missing; an existing one is used as it is.

    Raises StoreError naming it when it cannot be made or is something else.
    """
    try:
        missing = [each for each in (directory, *directory.parents) if not each.exists()]
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if missing:
            directory.chmod(DIRECTORY_MODE)  # whatever the umask says
        for made in missing:  # each of them is only a name in the one above
            sync_directory(made.parent)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"{directory} is not a directory") from None
    except OSError as error:
        raise StoreError(f"cannot use directory {directory}: {error.strerror}") from error


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` with mode 0600: after a crash it is there whole or not at all.

    Raises OSError; the old content then still stands.
    """
    # One name, so that what a killed process left here does not stay, and a new file each
    # time: in one that somebody else made or holds open, the content would be theirs.
    beside = path.with_name(f"{path.name}{NEW_SUFFIX}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            os.fchmod(descriptor, FILE_MODE)
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    sync_directory(path.parent)


class PathLock:
    """One holder of a path at a time, among all processes of the host.

    The lock is the kernel's and ends with the process, however it ends. The file says
    who holds it and is never removed: removing it would let two holders lock two files.
    """

    def __init__(self, path: Path, *, lock_path: Path | None = None, mode: int = FILE_MODE) -> None:
        """Take the lock of `path`; raises StoreInUse naming the holder, or StoreError.

        The lock's file is `lock_path`, by default beside `path`; it is made with `mode`.
        """
        lock_path = lock_path or path.with_name(f"{path.name}{LOCK_SUFFIX}")
        try:
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        except OSError as error:
            raise StoreError(f"cannot open {lock_path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreInUse(f"{path} is in use by process {holder}") from None
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"cannot lock {lock_path}: {error.strerror}") from error
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let the next one in; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
