"""The key file: who this node is and what its cluster shares, beside the store, never in it.

A store may be copied, mailed with a bug report or backed up to a share; this file may
not. It is 0600 from its first byte, replaced atomically, and refused when others can
read it. No error shows what it holds.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from attrs import field, frozen

from meshcrdt.errors import CorruptStore, StoreError, WrongStore
from meshcrdt.storage.files import make_directory, replace_file

FORMAT = 1
SEED_BYTES = 32
SECRET_BYTES = 32
FILE_BYTES_MAX = 4_096


@frozen
class KeyMaterial:
    """The seed of the identity, and the cluster secret where the cluster has one."""

    seed: bytes = field(repr=False)
    secret: bytes | None = field(repr=False, default=None)


def read_key_file(path: Path) -> KeyMaterial | None:
    """Return what the file holds, or None when there is none.

    Raises StoreError when it cannot be read or is open to others, WrongStore for a newer
    format, CorruptStore when it is damaged; each names the path and never the content.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read key file {path}: {error.strerror}") from error
    try:
        content = _read(descriptor, path)
    except OSError as error:
        raise StoreError(f"cannot read key file {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return _parse(content, path)


def write_key_file(path: Path, material: KeyMaterial) -> None:
    """Store the material; when this returns it survives a power cut. Raises StoreError."""
    make_directory(path.parent)
    content = {
        "format": FORMAT,
        "seed": material.seed.hex(),
        "secret": None if material.secret is None else material.secret.hex(),
    }
    try:
        replace_file(path, json.dumps(content).encode() + b"\n")
    except OSError as error:
        raise StoreError(f"cannot write key file {path}: {error.strerror}") from error


def _read(descriptor: int, path: Path) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise StoreError(f"key file {path} is not a regular file")
    if stat.S_IMODE(mode) & 0o077:
        raise StoreError(
            f"key file {path} has mode {stat.S_IMODE(mode):04o}: others may use it; "
            f"0600 is accepted"
        )
    return os.read(descriptor, FILE_BYTES_MAX + 1)


def _parse(content: bytes, path: Path) -> KeyMaterial:
    damaged = CorruptStore(f"key file {path} is damaged")
    if len(content) > FILE_BYTES_MAX:
        raise damaged
    try:
        fields = json.loads(content)
        version = fields["format"]
        if type(version) is not int:
            raise damaged
        if version > FORMAT:
            raise WrongStore(f"key file {path} has format {version}: up to {FORMAT} is known here")
        seed = bytes.fromhex(fields["seed"])
        secret = None if fields["secret"] is None else bytes.fromhex(fields["secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        # Not chained: the text of these errors can hold what the file holds.
        raise damaged from None
    if len(seed) != SEED_BYTES or (secret is not None and len(secret) != SECRET_BYTES):
        raise damaged
    return KeyMaterial(seed, secret)
