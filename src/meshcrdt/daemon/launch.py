"""From settings to a running daemon: what is checked before anything changes, then trio.

Everything that can be refused is refused here or in `run`, as one CommandError; a bug shows
one line too, and its traceback only at log level debug.
"""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import trio

from meshcrdt.daemon import places
from meshcrdt.daemon.config import Settings
from meshcrdt.daemon.detach import log_to_file, run_detached
from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.footprint import Footprint
from meshcrdt.daemon.joining import read_token
from meshcrdt.daemon.lines import Foreground, Starter
from meshcrdt.daemon.lock import StateLock
from meshcrdt.daemon.log import set_up_log
from meshcrdt.daemon.memory import Memory, load_memory, save_memory, with_memory
from meshcrdt.daemon.run import Launch, run_daemon
from meshcrdt.errors import InternalError, MeshError, StoreError
from meshcrdt.storage.files import make_directory

_LOG = logging.getLogger("meshcrdt.daemon")
DESCRIPTORS_MAX = 65_536


def launch_daemon(settings: Settings) -> int:
    """Run the daemon in this process until it ends; returns its exit code."""
    return _work(settings, Foreground(), token=_token(settings))


def launch_detached(settings: Settings) -> int:
    """Run the daemon in a process of its own; returns when it is ready or has failed."""
    # Standard input is the caller's: a token on it is read before the daemon lets go of it.
    token = _token(settings)
    return run_detached(lambda starter: _work(settings, starter, token=token, detached=True))


def _token(settings: Settings) -> str | None:
    source = settings.join_file
    return None if source is None else read_token(source)


def _work(
    settings: Settings, starter: Starter, *, token: str | None, detached: bool = False
) -> int:
    state_dir: Path = settings.state_dir
    _refuse_what_is_not_there_yet(settings)
    footprint = _open_state_dir(state_dir)
    lock = StateLock(state_dir)
    lock.acquire()
    try:
        if detached:
            log_to_file(state_dir)
        set_up_log(settings.log_level, settings.log_format)
        _allow_many_descriptors()
        _say_defaults(settings, starter)
        memory = load_memory(state_dir)
        if footprint.made_directory:
            # At once, so that whatever comes after, `reset` knows whose the directory is.
            memory = Memory(made_directory=True)
            save_memory(state_dir, memory)
        launch = Launch(
            settings=with_memory(settings, memory),
            memory=memory,
            footprint=footprint,
            token=token,
            starter=starter,
            lock_path=lock.path,
        )
        trio.run(run_daemon, launch)
    except BaseException as error:
        shown = _as_command_error(error)
        if detached:
            # Once the parent has gone, nobody else is told.
            _LOG.error("ended: %s", shown)
        if isinstance(shown, CommandError) and _bug(error) is None:
            footprint.undo()
        raise shown from None
    finally:
        lock.release()
    return int(ExitCode.DONE)


def _allow_many_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: a link to every peer is a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_state_dir(state_dir: Path) -> Footprint:
    """Make or check the state directory; returns how it was before.

    Raises CommandError naming it and the reason.
    """
    try:
        footprint = Footprint.before(state_dir)
        make_directory(state_dir)
    except StoreError as error:
        raise CommandError(f"state directory: {error}") from None
    except OSError as error:
        raise CommandError(
            f"state directory {state_dir} cannot be used: {error.strerror}"
        ) from None
    try:
        entries = os.listdir(state_dir)
        probe = state_dir / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
        for name in entries:
            if name.startswith(places.STORE_NAME):
                with (state_dir / name).open("rb"):
                    pass
    except OSError as error:
        named = error.filename or state_dir
        raise CommandError(
            f"state directory {state_dir} cannot be used: {named}: {error.strerror}"
        ) from None
    return footprint


def _say_defaults(settings: Settings, starter: Starter) -> None:
    """Say what a user without root gets instead of what the manual says (contract)."""
    if places.is_root():
        return
    if not settings.of("dataplane").given:
        starter.say(["not root: --dataplane none, this daemon carries no workload traffic"])
    if not settings.of("state_dir").given:
        starter.say([f"not root: the state directory is {settings.state_dir}"])


def _refuse_what_is_not_there_yet(settings: Settings) -> None:
    """Refuse options of the contract that this version cannot honour, rather than ignore them."""
    seat: str | None = settings.ipalloc_init
    if seat is None or seat in ("consensus", "consensus=1"):
        return
    if seat == "observer" and (settings.peers or settings.join_file):
        return
    origin = settings.of("ipalloc_init").origin
    raise CommandError(
        f"{origin} {seat!r}: here the first launch without PEER starts the ranges by itself; "
        "consensus is accepted, and observer with a PEER",
        code=ExitCode.FEATURE_OFF,
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _bug(error: BaseException) -> BaseException | None:
    """Return the first part of an error that nobody raised on purpose, or None.

    One alone makes the whole a bug: what else is in a group came of it, such as the
    ClosedError of everyone who used what it ended.
    """
    for leaf in _leaves(error):
        if isinstance(leaf, InternalError) or not isinstance(
            leaf, CommandError | MeshError | trio.Cancelled | KeyboardInterrupt | SystemExit
        ):
            return leaf
    return None


def _as_command_error(error: BaseException) -> BaseException:
    """Return what the command line shows for whatever ended the daemon."""
    _LOG.debug("what ended the daemon", exc_info=error)
    bug = _bug(error)
    if bug is not None:
        return CommandError(
            f"internal error: {type(bug).__name__}: {bug} (--log-level debug shows where)"
        )
    leaves = [leaf for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)]
    for kind in (CommandError, KeyboardInterrupt | SystemExit):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return CommandError(str(leaves[0] if leaves else error))
