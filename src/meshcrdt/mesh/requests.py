"""Commands that wait for their reply: numbers out, outcomes back.

Every command is answered by exactly one `Reply`, at the latest at its deadline; the node
promises that. A caller that was cancelled is forgotten here, and its late answer dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import trio
from attrs import define, field

from meshcrdt.errors import (
    CapacityError,
    ClosedError,
    Declined,
    MeshError,
    NoMajority,
    NotReady,
    StoreError,
    UsageError,
)
from meshcrdt.node.events import Command, Event
from meshcrdt.node.outcomes import Failed, FailureKind

_ERRORS: dict[FailureKind, type[MeshError]] = {
    FailureKind.USAGE: UsageError,
    FailureKind.UNKNOWN: UsageError,
    FailureKind.CAPACITY: CapacityError,
    FailureKind.STARTING: NotReady,
    FailureKind.DRAINING: NotReady,
    FailureKind.STORE: StoreError,
    FailureKind.REFUSED: Declined,
    FailureKind.UNREACHABLE: NoMajority,
}


@define(eq=False)
class _Waiter:
    event: trio.Event = field(factory=trio.Event)
    outcome: object = None
    error: MeshError | None = None


class Requests:
    """The callers of one mesh that wait for an answer."""

    def __init__(self, inbox: trio.MemorySendChannel[Event]) -> None:
        self._inbox = inbox
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiter] = {}
        self._ended: MeshError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, make: Callable[[int], Command]) -> Any:
        """Hand a command to the node and return its outcome.

        A `Failed` outcome is raised as the error of its kind: UsageError, CapacityError,
        NotReady, Declined, NoMajority or StoreError. ClosedError after the mesh was closed.
        """
        if self._ended is not None:
            await trio.lowlevel.checkpoint()
            raise _again(self._ended)
        number = next(self._numbers)
        waiter = self._waiting[number] = _Waiter()
        try:
            await self._inbox.send(make(number))
            await waiter.event.wait()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            # The mesh ended while its inbox was full: the command never went in.
            waiter.error = self._ended or ClosedError("the mesh is closed")
        finally:
            self._waiting.pop(number, None)
        if waiter.error is not None:
            raise _again(waiter.error)
        if isinstance(waiter.outcome, Failed):
            raise _ERRORS[waiter.outcome.kind](waiter.outcome.reason)
        return waiter.outcome

    def answer(self, request: int, outcome: object) -> None:
        """Wake the caller of a request, if it still waits."""
        waiter = self._waiting.get(request)
        if waiter is not None:
            waiter.outcome = outcome
            waiter.event.set()

    def fail_all(self, error: MeshError) -> None:
        """Wake everyone who waits now with an error."""
        for waiter in self._waiting.values():
            if not waiter.event.is_set():
                waiter.error = error
                waiter.event.set()

    def end(self, error: MeshError) -> None:
        """Raise `error` from every call, those that wait and those to come."""
        self._ended = error
        self.fail_all(error)


def _again(error: MeshError) -> MeshError:
    """A fresh error of the same kind: one exception object must not be raised in two tasks."""
    return type(error)(*error.args)
