"""The nft program: read our table, replace it in one transaction, remove it.

Only our own table is ever named. The text comes from `rules`; what nft prints for it is
remembered, so that later looks tell an untouched table from a changed one.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.rules import RESTORE_MARK, restore_text, table_script

_TIMEOUT_S = 10.0
_ABSENT = (
    "nft is not installed (package nftables): without it nothing is masqueraded, and tunnel "
    "packets from strangers on the underlay are not dropped"
)

_SIGNS_OF_ABSENCE = (
    "Error: No such file or directory",
    "Error: Could not process rule: No such file or directory",
    "not supported",
)
"""How nft says that there is no table; the last where the kernel has no nftables at all."""


class Rules:
    """One nftables table of this network namespace."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._applied = ("", "")
        self._restore_forwarding = False

    def seen(self) -> str | None:
        """Return the text that we rendered, "" for another, None for no table (or no nft).

        Raises DataplaneError when nft cannot tell: then there may be one.
        """
        listed = self._list()
        if listed is None:
            return None
        if RESTORE_MARK in listed:
            # Kept here too: somebody may remove the table, and the note with it.
            self._restore_forwarding = True
        text, known = self._applied
        return text if listed == known else ""

    @property
    def restore_forwarding(self) -> bool:
        """The host did not forward before we asked it to; as of the last `seen`."""
        return self._restore_forwarding

    def replace(self, text: str, *, restore_forwarding: bool) -> None:
        """Replace the table. Raises DataplaneError with nft's first line."""
        restore = restore_text(restore_forwarding=restore_forwarding)
        _nft("-f", "-", script=table_script(self._table, text, restore=restore))
        self._applied = (text, self._list() or "")
        self._restore_forwarding = restore_forwarding

    def remove(self) -> None:
        """Remove the table. Raises DataplaneError with nft's first line."""
        _nft("delete", "table", "inet", self._table)
        self.forget()

    def forget(self) -> None:
        """Forwarding was put back: there is nothing to restore any more."""
        self._restore_forwarding = False

    def _list(self) -> str | None:
        try:
            return _nft("list", "table", "inet", self._table)
        except NoTable:
            return None


class NoTable(DataplaneError):
    """There is no such table: nft says so, or this host can have none."""


def _nft(*arguments: str, script: str | None = None) -> str:
    """Run nft and return what it prints. Raises DataplaneError."""
    program = shutil.which("nft")
    if program is None:
        raise NoTable(_ABSENT)
    try:
        done = subprocess.run(
            [program, *arguments],
            input=script or "",
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataplaneError(f"nft: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        is_absence = any(sign in lines[0] for sign in _SIGNS_OF_ABSENCE)
        raise (NoTable if is_absence else DataplaneError)(f"nft: {lines[0]}")
    return done.stdout
