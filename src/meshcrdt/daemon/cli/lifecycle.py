"""Verbs about the daemon as a process: stop, reset, version."""

from __future__ import annotations

from typing import Any

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.lock import wait_until_free, word_left

STOP_TIMEOUT_S = 12.0
"""The daemon drains for at most ten seconds."""


@verb("stop", example="meshcrdt stop")
def stop(common: Common) -> None:
    """Stop the daemon and wait until it has gone; workload traffic goes on."""
    answer = common.client().call("POST", "/v1/stop", body={})
    _wait(answer)
    common.emit({})


@verb("reset", example="meshcrdt reset")
@click.option("--force", is_flag=True, help="Forget this host's state although no daemon answers.")
def reset(common: Common, force: bool) -> None:
    """Leave the cluster, remove what was set up on this host, and forget everything."""
    try:
        answer = common.client().call("POST", "/v1/reset", body={}, timeout_s=STOP_TIMEOUT_S)
    except CommandError as error:
        if error.code is not ExitCode.NO_DAEMON:
            raise
        if not force:
            raise CommandError(
                f"{error}; --force forgets {common.resolved_state_dir()} "
                "without telling the cluster",
                code=ExitCode.NO_DAEMON,
            ) from None
        from meshcrdt.daemon.reset import reset_offline

        reset_offline(common.resolved_state_dir())
    else:
        _wait(answer)
        # The daemon forgets after its last answer: only what it leaves tells how that ended.
        word = word_left(answer["lock"], answer["pid"])
        if word is not None:
            raise CommandError(word)
    common.emit({})


def _wait(answer: dict[str, Any]) -> None:
    if not wait_until_free(answer["lock"], timeout_s=STOP_TIMEOUT_S):
        raise CommandError(
            f"process {answer['pid']} has not ended within {STOP_TIMEOUT_S:g} s of being asked"
        )


@verb("version", example="meshcrdt version")
def version(common: Common) -> None:
    """Print the version of this program."""
    from meshcrdt.daemon.version import version_text

    common.emit({"version": version_text()}, f"meshcrdt {version_text()}")
