"""sqlite:///path/to/file: the durable store of a node.

SQLite in WAL mode with synchronous=FULL: a batch is one transaction, and when `write`
returns the log is fsynced (https://www.sqlite.org/pragma.html#pragma_synchronous). One
writer at a time: the calls run in a worker thread behind a limiter of one, in order. One
process at a time: a lock file beside the store names the holder.

After a failed write nothing more is acknowledged. An fsync that failed once may succeed
the next time without the data being on disk (Rebello et al., "Can applications recover
from fsync failures?", ATC 2020), so the only honest answer is to stop.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from meshcrdt.abc import Row
from meshcrdt.errors import ClosedError, CorruptStore, StoreError, UsageError, WrongStore
from meshcrdt.storage.files import FILE_MODE, PathLock, make_directory, sync_directory
from meshcrdt.storage.registry import path_in

SCHEME = "sqlite"
FORMAT = 1
T = TypeVar("T")

_SCHEMA = """
CREATE TABLE format (version INTEGER NOT NULL) STRICT;
CREATE TABLE rows (
    name TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, key)
) STRICT;
"""
_PUT = "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_DROP = "DELETE FROM rows WHERE name = ? AND key = ?"


async def open_sqlite(url: str) -> SqliteStore:
    """Open or create the store; takes it for this process alone.

    Raises UsageError for a bad URL, StoreInUse naming the process that holds it,
    WrongStore for a newer format, CorruptStore for a damaged file, else StoreError; each
    names the path.
    """
    if url.partition("://")[0].lower() != SCHEME:
        raise UsageError(f"{url!r} is not a sqlite store: sqlite:///path is accepted")
    path = path_in(url)
    limiter = trio.CapacityLimiter(1)
    lock, connection = await trio.to_thread.run_sync(_open, path, limiter=limiter)
    return SqliteStore(path, lock, connection, limiter)


class SqliteStore:
    """A `meshcrdt.abc.Store` in one SQLite file."""

    def __init__(
        self,
        path: Path,
        lock: PathLock,
        connection: sqlite3.Connection,
        limiter: trio.CapacityLimiter,
    ) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._limiter = limiter
        self._closed = False
        self._failed: str | None = None

    async def load(self) -> Mapping[str, Mapping[bytes, bytes]]:
        """Return every table, after SQLite's own check; see `meshcrdt.abc.Store.load`."""
        self._check_usable()
        return await self._in_thread(self._load)

    async def write(self, rows: Sequence[Row]) -> None:
        """Apply all rows or none, fsynced; see `meshcrdt.abc.Store.write`.

        Cancelled before it began it did nothing; once begun it is not interrupted.
        """
        self._check_usable()
        await self._in_thread(lambda: self._write(rows))

    async def aclose(self) -> None:
        """Finish what is being written and release the file; idempotent."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            await self._in_thread(self._close)

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError(f"store {self._path} is closed")
        if self._failed is not None:
            raise StoreError(f"store {self._path} failed earlier: {self._failed}")

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    def _load(self) -> dict[str, dict[bytes, bytes]]:
        try:
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise CorruptStore(f"store {self._path} is damaged: {verdict}")
            tables: dict[str, dict[bytes, bytes]] = {}
            for name, key, value in self._connection.execute("SELECT name, key, value FROM rows"):
                tables.setdefault(name, {})[key] = value
        except sqlite3.Error as error:
            raise _mapped(self._path, error) from error
        return tables

    def _write(self, rows: Sequence[Row]) -> None:
        # Again, now that it is this batch's turn: the one before it may have failed.
        if self._failed is not None:
            raise StoreError(f"store {self._path} failed earlier: {self._failed}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for name, key, value in rows:
                if value is None:
                    self._connection.execute(_DROP, (name, key))
                else:
                    self._connection.execute(_PUT, (name, key, value))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed = str(error)
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise _mapped(self._path, error) from error

    def _close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            # The log stays and is read at the next start: nothing acknowledged is lost.
            self._failed = str(error)
        finally:
            self._lock.release()


def _open(path: Path) -> tuple[PathLock, sqlite3.Connection]:
    make_directory(path.parent)
    lock = PathLock(path)
    connection: sqlite3.Connection | None = None
    try:
        is_new = _create_file(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        _prepare(connection, path)
        if is_new:
            sync_directory(path.parent)
    except BaseException as error:
        if connection is not None:
            connection.close()
        lock.release()
        if isinstance(error, sqlite3.Error):
            raise _mapped(path, error) from error
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(f"cannot open store {path}: {error.strerror}") from error
        raise
    return lock, connection


def _create_file(path: Path) -> bool:
    """Create the file with its mode, so that it is never open to others; False if it exists."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        # Opened for writing here, so that the reason is the system's and not SQLite's.
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return False
    return True


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # The format is read first: nothing in a newer or foreign file is touched.
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if names:
        _check_format(connection, names, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if not names:
        connection.execute("BEGIN EXCLUSIVE")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))
        connection.execute("COMMIT")


def _check_format(connection: sqlite3.Connection, names: set[str], path: Path) -> None:
    if "format" not in names:
        raise WrongStore(f"{path} is an SQLite file of another program")
    row = connection.execute("SELECT version FROM format").fetchone()
    if row is None or "rows" not in names:
        raise CorruptStore(f"store {path} is damaged: its tables are incomplete")
    if row[0] > FORMAT:
        raise WrongStore(f"store {path} has format {row[0]}: up to {FORMAT} is known here")


def _mapped(path: Path, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptStore(f"store {path} is damaged: {error}")
    return StoreError(f"store {path} failed: {error}")
