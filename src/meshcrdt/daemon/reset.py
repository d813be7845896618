"""Forgetting: what `reset` removes of a state directory, and a reset without a daemon.

Only files that the daemon makes are removed, by name: a directory that was given may hold
other things.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from meshcrdt.daemon import places
from meshcrdt.daemon.detach import LOG_NAME
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.lock import StateLock, leave_word
from meshcrdt.daemon.memory import MEMORY_NAME, load_memory
from meshcrdt.daemon.workloads.records import RECORDS_NAME
from meshcrdt.storage.files import LOCK_SUFFIX, NEW_SUFFIX
from meshcrdt.storage.registry import KEY_SUFFIX

_LOG = logging.getLogger("meshcrdt.daemon")
OWN_FILES = (
    places.STORE_NAME,
    *(
        places.STORE_NAME + suffix
        for suffix in ("-wal", "-shm", "-journal", LOCK_SUFFIX, KEY_SUFFIX)
    ),
    places.BEARER_NAME,
    places.SOCKET_NAME,
    RECORDS_NAME,
    MEMORY_NAME,
    LOG_NAME,
)


def wipe_state(state_dir: Path) -> None:
    """Remove what the daemon made in its state directory, the lock last.

    The directory goes too, where a launch made it and nothing else is in it.

    Whoever calls holds the lock. Raises CommandError naming what could not be removed and
    why; the lock file then stays, and says the same to whoever waited for the lock.
    """
    may_remove_directory = _is_ours(state_dir)
    *files, lock = traces(state_dir)
    failures = remove_files(files) or remove_files([lock])
    if failures:
        reason = f"not everything could be removed: {'; '.join(failures)}"
        leave_word(lock, reason)
        raise CommandError(reason)
    if may_remove_directory and not any(state_dir.iterdir()):
        state_dir.rmdir()


def _is_ours(state_dir: Path) -> bool:
    """Return True when a launch made the directory: one that somebody else made stays."""
    try:
        return load_memory(state_dir).made_directory
    except CommandError as error:
        _LOG.warning("the state directory stays: %s", error)
        return False


def traces(state_dir: Path) -> tuple[Path, ...]:
    """Return every file that a daemon may make in its state directory, the lock last."""
    # What a write that was killed leaves; it may hold a secret.
    leftovers = [f"{name}{NEW_SUFFIX}" for name in OWN_FILES]
    return tuple(state_dir / name for name in (*OWN_FILES, *leftovers, places.LOCK_NAME))


def remove_files(paths: Sequence[Path]) -> list[str]:
    """Remove files; returns what could not be removed, each with its reason."""
    failures = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failures.append(f"{path}: {error.strerror}")
    return failures


def reset_offline(state_dir: Path) -> None:
    """Forget a node whose daemon does not run: its cluster is not told.

    Raises CommandError naming the process when one runs after all.
    """
    if not state_dir.is_dir():
        return
    lock = StateLock(state_dir)
    lock.acquire()
    try:
        _remove_dataplane(state_dir)
        wipe_state(state_dir)
    finally:
        lock.release()


def _remove_dataplane(state_dir: Path) -> None:
    """Remove devices and rules that the daemon of this directory left; root only makes any.

    Which dataplane it had is not remembered: ours is the one whose traces are looked for.
    """
    if not places.is_root():
        return
    import trio

    from meshcrdt.daemon.workloads.plane import bare_plane, bridge_name

    trio.run(bare_plane("linux", bridge_name(state_dir)).reset)
