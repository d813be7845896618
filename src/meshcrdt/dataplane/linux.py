"""The Linux dataplane: what a daemon talks to. It makes the kernel what was last desired.

Looking and changing happen in a thread, one at a time; watching does not. Stopping leaves
traffic flowing; a later run adopts what it finds. Hand in nothing before the durable state
is loaded: what is not desired is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import trio
from attrs import evolve, frozen

from meshcrdt.dataplane import paths
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.kernel import Kernel
from meshcrdt.dataplane.model import DataplaneConfig, Desired, Port, Remote, Report, Statistics
from meshcrdt.dataplane.observed import Observed
from meshcrdt.dataplane.operations import Operation
from meshcrdt.dataplane.overlap import why_overlapping
from meshcrdt.dataplane.plan import overlay_mtu, plan, plan_removal
from meshcrdt.dataplane.watch import Watch

T = TypeVar("T")

_ROUNDS_MAX = 3
"""Looking and applying again: a plan may meet what changed since it was made."""
_SETTLE_S = 0.05
"""Changes come in bursts: the look waits for the end of one, at most this long."""
_REST_FACTOR = 4.0
_LOOK_INTERVAL_S = 10.0
"""A look without a reason, for what no event tells."""
_REPORTS_MAX = 16


@frozen
class _Look:
    """What a look showed, and what is to be done about it, or why nothing can be."""

    seen: Observed | None
    operations: Sequence[Operation] = ()
    blocked: str | None = None


class LinuxDataplane:
    """Bridge, VXLAN, workload links and entries of one daemon on one host."""

    def __init__(self, config: DataplaneConfig, kernel: Kernel) -> None:
        self.config = config
        self._kernel = kernel
        self._limiter = trio.CapacityLimiter(1)
        self._lock = trio.Lock()
        self._desired: Desired | None = None
        self._last: Report | None = None
        self._statistics = Statistics()

    def why_off(self) -> str | None:
        """Return None: it carries at least what stays on this host."""
        return None

    async def check(self, universes: Iterable[str]) -> str | None:
        """Return one line that says why this dataplane cannot carry `universes` here, or None."""
        ranges = tuple(universes)
        reason = await self._in_thread(self._kernel.why_unable)
        if reason is not None:
            return reason
        routes = await self._in_thread(self._kernel.routes)
        return why_overlapping(ranges, routes, own_devices=(self.config.bridge,))

    def why_closed(self) -> str | None:
        """Return one line that says why no other host can be reached at all, or None."""
        return paths.why_no_trust(self.config)

    def why_no_path(self, remotes: Iterable[Remote]) -> dict[str, str]:
        """Return peer -> one line, for every remote that workload traffic cannot go to."""
        return paths.why_no_path(self.config, remotes)

    async def apply(self, desired: Desired) -> Report:
        """Make it so and keep it so while `run` is entered; return what came of it.

        Never raises for what the kernel refuses: the report's errors name it, and the rest
        is applied. Cancelling it may leave a part applied; the next call completes it.
        """
        async with self._lock:
            self._desired = desired
            self._last = await self._converge(desired)
            return self._last

    async def observe(self) -> Observed:
        """Return what exists now. Raises DataplaneError when the kernel cannot be asked."""
        return await self._look(self._desired or Desired())

    def statistics(self) -> Statistics:
        """Return what was done since this object was made."""
        return self._statistics

    async def reset(self) -> None:
        """Remove everything of ours, nftables table too. Raises DataplaneError naming the rest."""
        async with self._lock:
            self._desired = None
            failures: list[str] = []
            for _ in range(_ROUNDS_MAX):
                seen = await self.observe()
                operations = plan_removal(self.config, seen)
                if not operations:
                    return
                failures = await self._carry_out(operations)
            if plan_removal(self.config, await self.observe()):
                raise DataplaneError("; ".join(failures) or "the kernel keeps making it anew")

    @asynccontextmanager
    async def run(self) -> AsyncIterator[trio.MemoryReceiveChannel[Report]]:
        """Watch while entered, and restore what somebody removes.

        Yields a channel with the report of a look whenever it differs from the last one:
        a namespace gone, an error, a path. A reader that does not read misses reports and
        stops nothing. Leaving stops watching and leaves traffic flowing. Raises
        DataplaneError when nothing can be watched here.
        """
        send, receive = trio.open_memory_channel[Report](_REPORTS_MAX)
        try:
            watches = [await Watch.open_routes()]
        except OSError as error:
            raise DataplaneError(f"cannot watch the kernel: {error.strerror}") from error
        try:
            rules = await Watch.open_rules()
            watches += [] if rules is None else [rules]
            async with send, receive, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, watches, send)
                yield receive
                nursery.cancel_scope.cancel()
        finally:
            for watch in watches:
                watch.close()

    async def _watch(self, watches: Iterable[Watch], send: trio.MemorySendChannel[Report]) -> None:
        dirty_send, dirty = trio.open_memory_channel[None](1)

        async def listen(changed: Callable[[], Awaitable[None]]) -> None:
            while True:
                await changed()
                with suppress(trio.WouldBlock):
                    dirty_send.send_nowait(None)

        settle_s = _SETTLE_S
        async with trio.open_nursery() as nursery:
            for watch in watches:
                nursery.start_soon(listen, watch.changed)
            while True:
                with trio.move_on_after(_LOOK_INTERVAL_S):
                    await dirty.receive()
                    await trio.sleep(settle_s)
                    with suppress(trio.WouldBlock):
                        dirty.receive_nowait()
                began_s = trio.current_time()
                await self._restore(send)
                # However busy the host is, looking takes a fifth of the time at most.
                settle_s = max(_SETTLE_S, _REST_FACTOR * (trio.current_time() - began_s))

    async def _restore(self, send: trio.MemorySendChannel[Report]) -> None:
        """Look again, make right what is not, and tell when the report is another."""
        async with self._lock:
            if self._desired is None:
                return
            report = await self._converge(self._desired)
            if report != self._last:
                self._last = report
                _offer(send, report)

    async def _converge(self, desired: Desired) -> Report:
        errors: list[str] = []
        blocked: str | None = None
        seen = Observed()
        found = await self._in_thread(partial(paths.paths_to, self.config, desired.remotes))
        before: tuple[Sequence[Operation], list[str]] | None = None
        for _ in range(_ROUNDS_MAX):
            look = await self._look_and_plan(desired, found)
            seen, operations, blocked = look.seen or seen, look.operations, look.blocked
            if not operations:
                errors = [] if blocked is None else [blocked]
                break
            errors = await self._carry_out(operations)
            if (operations, errors) == before:
                # A lasting refusal: doing the same once more would end the same.
                break
            before = operations, errors
        unreachable = paths.reasons(found)
        unreadable = [*seen.unreadable.values(), *filter(None, [seen.rules_unreadable])]
        return Report(
            paths={remote.peer: unreachable.get(remote.peer) for remote in desired.remotes},
            gone=tuple(p.workload for p in desired.ports if self._is_gone(p, seen)),
            errors=tuple(dict.fromkeys([*errors, *unreadable])),
            blocked=blocked,
            mtu=overlay_mtu(self.config, seen),
        )

    def _is_gone(self, port: Port, seen: Observed) -> bool:
        return self.config.outside(port.workload) in seen.gone

    async def _look_and_plan(self, desired: Desired, found: paths.Paths) -> _Look:
        """Look and say what to do, both in the thread: either takes long in a large cluster."""

        def look() -> _Look:
            seen: Observed | None = None
            try:
                seen = self._kernel.observe(self.config, desired)
                return _Look(seen, plan(self.config, desired, seen, found))
            except DataplaneError as error:
                return _Look(seen, blocked=str(error))

        self._count_look()
        return await self._in_thread(look)

    def _count_look(self) -> None:
        self._statistics = evolve(self._statistics, looks=self._statistics.looks + 1)

    async def _look(self, desired: Desired) -> Observed:
        self._count_look()
        return await self._in_thread(partial(self._kernel.observe, self.config, desired))

    async def _carry_out(self, operations: Sequence[Operation]) -> list[str]:
        failures = await self._in_thread(partial(self._kernel.apply, self.config, operations))
        self._statistics = evolve(
            self._statistics,
            operations=self._statistics.operations + len(operations),
            failures=self._statistics.failures + len(failures),
        )
        return failures

    async def _in_thread(self, function: Callable[[], T]) -> T:
        # Not abandoned on cancellation: half a plan must not run on behind our back.
        return await trio.to_thread.run_sync(function, limiter=self._limiter)


def _offer(send: trio.MemorySendChannel[Report], report: Report) -> None:
    """Send without waiting; a reader that does not read loses reports, never stops us."""
    with suppress(trio.WouldBlock, trio.BrokenResourceError):
        send.send_nowait(report)


def open_linux(config: DataplaneConfig) -> LinuxDataplane:
    """Return the dataplane of this host (entry point `linux`).

    Raises MissingExtra when pyroute2 is not installed.
    """
    from meshcrdt.dataplane.linux_kernel import LinuxKernel

    return LinuxDataplane(config, LinuxKernel(config))
