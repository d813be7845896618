"""Why something failed, in one line: what is shown to users of what anyone's code may raise."""

from __future__ import annotations

import logging

from meshcrdt.errors import MeshError

log = logging.getLogger("meshcrdt.mesh")


def reason_of(error: Exception) -> str:
    """Return one line that says why a link or a store failed.

    Either may be anyone's code: what only its author understands goes to the log whole.
    """
    if isinstance(error, MeshError):
        return str(error)
    log.debug("something raised what is no error of meshcrdt", exc_info=error)
    return repr(error)
