"""Running commands as a user without root, also where that user cannot see this Python.

A developer's interpreter may live under a home directory that others may not enter. Then
the command runs in a mount namespace in which that directory holds what Python needs and
nothing else.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from pathlib import Path

import meshcrdt

USER = "nobody"


def why_no_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for tool, package in (("setpriv", "util-linux"), ("unshare", "util-linux")):
        if shutil.which(tool) is None:
            return f"needs {tool} (package {package})"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return f"needs a user {USER!r}"
    return None


def as_user() -> list[str]:
    """Return what runs a command without root; nothing when this is not root anyway."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(USER)
    drop = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    drop += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    needed = {Path(p).resolve() for p in (sys.base_prefix, sys.prefix, source())}
    closed = {top for path in needed if (top := _closed(path)) is not None}
    if not closed:
        return drop
    inside = [path for path in needed if any(path.is_relative_to(top) for top in closed)]
    lines = ["set -e"]
    for number, path in enumerate(inside):
        lines += [f"aside{number}=$(mktemp -d)", f"mount --bind {path} $aside{number}"]
    lines += [f"mount -t tmpfs -o mode=755 none {top}" for top in closed]
    for number, path in enumerate(inside):
        lines += [f"mkdir -p {path}", f"mount --bind $aside{number} {path}"]
        lines += [f"umount $aside{number}", f"rmdir $aside{number}"]
    lines += ['exec "$@"']
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", *drop]


def source() -> str:
    return str(Path(next(iter(meshcrdt.__path__))).parent)


def _closed(path: Path) -> Path | None:
    """Return the first directory on the way to `path` that others may not enter."""
    for each in reversed((path, *path.parents)):
        if not each.stat().st_mode & stat.S_IXOTH:
            return each
    return None
