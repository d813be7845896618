"""Joining: where a token comes from, and when a launch gives up.

A token comes from a file or standard input only, and no message shows it: errors name the
source. A node that never had a genesis keeps trying; only when every peer that answers
refuses it does the launch end, within ten seconds; or when its disk fails.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from meshcrdt.daemon.context import Control
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.observer import DialEnd, Observer
from meshcrdt.errors import NotReady, UsageError
from meshcrdt.trust.token import parse_token

if TYPE_CHECKING:
    from meshcrdt.mesh.mesh import Mesh

TOKEN_BYTES_MAX = 8_192
REFUSED_GRACE_S = 2.0
"""How long another peer has to answer better after the first refusal."""


def read_token(source: str) -> str:
    """Return the token in a file, or on standard input for "-"."""
    name = "standard input" if source == "-" else f"join file {source}"
    try:
        if source == "-":
            data = sys.stdin.buffer.read(TOKEN_BYTES_MAX + 1)
        else:
            with Path(source).open("rb") as stream:
                data = stream.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise CommandError(f"{name} holds no token: it is not text") from None
    if not token:
        raise CommandError(f"{name} holds no token: it is empty")
    if len(data) > TOKEN_BYTES_MAX or len(token.split()) != 1:
        raise CommandError(f"{name} holds no token: one line of one word is expected")
    try:
        parse_token(token, source=name)
    except UsageError as error:
        raise CommandError(str(error)) from None
    return token


def token_source(source: str) -> str:
    """Return how messages name where the token came from."""
    return "standard input" if source == "-" else source


def name_source(line: str, source: str | None) -> str:
    """Return an error's line with the source of the token that it is about."""
    if source is None or not line.startswith("the token "):
        return line
    return f"the token from {token_source(source)} {line.removeprefix('the token ')}"


def refusal(dials: Mapping[str, DialEnd]) -> str | None:
    """Return one refusal when every peer that answered refused, or None.

    A peer that nobody answers at says nothing; one that answered and let us in ends the
    joining before this is asked.
    """
    refused = [
        f"{address}: {end.reason}" for address, end in sorted(dials.items()) if end.is_refused
    ]
    return refused[0] if refused else None


async def give_up_when_refused(observer: Observer, control: Control, *, source: str | None) -> None:
    """End the launch when every peer that answers refuses; run it only until ready."""
    while True:
        changed = observer.dial_failed.next()
        if refusal(observer.dials) is not None:
            await trio.sleep(REFUSED_GRACE_S)
            reason = refusal(observer.dials)
            if reason is not None:
                what = "this node" if source is None else f"the token from {token_source(source)}"
                control.fail(CommandError(f"no peer that answered accepted {what}: {reason}"))
                return
        await changed.wait()


async def until_ready(
    mesh: Mesh, observer: Observer, control: Control, *, source: str | None
) -> bool:
    """Wait until the node has joined; False when the daemon is told to end before.

    Raises CommandError when it can join no more, because its disk failed.
    """
    failed: NotReady | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: give_up_when_refused(observer, control, source=source))
        nursery.start_soon(_cancel_when, control.stopping, nursery.cancel_scope)
        try:
            await mesh.ready()
        except NotReady as error:
            failed = error
        nursery.cancel_scope.cancel()
    if control.stopping.is_set():
        return False
    if failed is not None:
        failure = mesh.store_failure
        raise CommandError(str(failed) if failure is None else f"the store failed: {failure}")
    return True


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
