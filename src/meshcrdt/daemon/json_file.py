"""One JSON object in a file of the state directory, with the number of its format.

It is replaced atomically and is on disk before whoever wrote it goes on; what cannot be read
is named with the reason, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from meshcrdt.daemon.exits import CommandError
from meshcrdt.storage.files import replace_file

T = TypeVar("T")
_FORMAT_KEY = "format"


def load_json(path: Path, read: Callable[[Any], T], *, absent: T, file_format: int) -> T:
    """Return what `read` makes of the object in a file, or `absent` where there is no file.

    Raises CommandError naming the file: another format, not readable, or damaged, which
    `read` says by ValueError, KeyError or TypeError.
    """
    try:
        content = json.loads(path.read_bytes())
        if content[_FORMAT_KEY] != file_format:
            raise CommandError(
                f"{path} has format {content[_FORMAT_KEY]!r}: {file_format} is accepted"
            )
        return read(content)
    except FileNotFoundError:
        return absent
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CommandError(f"{path} is damaged: {error!r}") from None


def save_json(path: Path, content: Mapping[str, Any], *, file_format: int) -> None:
    """Replace the file; returns when it is on disk. Raises CommandError."""
    text = json.dumps({_FORMAT_KEY: file_format, **content}, indent=1)
    try:
        replace_file(path, text.encode() + b"\n")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
