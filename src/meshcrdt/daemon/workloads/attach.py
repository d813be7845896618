"""Attach and detach: addresses, the kernel, names and the file, in an order that can fail.

Attaching remembers first, so that a crash at any point leaves a record to clean up from;
whatever fails later is taken back. A workload whose namespace vanishes is detached.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve

from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.workloads.addresses import Addresses
from meshcrdt.daemon.workloads.desired import bare, bares
from meshcrdt.daemon.workloads.plane import Plane
from meshcrdt.daemon.workloads.records import Attached, HostPresence, Remembered, save_records
from meshcrdt.daemon.workloads.targets import Place, find_place
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.mac import mac_of
from meshcrdt.dataplane.namespaces import opened
from meshcrdt.errors import MeshError

if TYPE_CHECKING:
    from meshcrdt.mesh.mesh import Mesh

_LOG = logging.getLogger("meshcrdt.workloads")
HOST_ID = "meshcrdt:host"
"""The workload that stands for the host itself."""
TAKE_BACK_S_MAX = 5.0
"""How long undoing may go on, also after its caller has gone."""


class Workloads:
    """Everything attached on this host."""

    def __init__(
        self,
        mesh: Mesh,
        state_dir: Path,
        remembered: Remembered,
        *,
        default_subnet: str | None = None,
    ) -> None:
        self._mesh = mesh
        self._state_dir = state_dir
        self._addresses = Addresses(mesh, default_subnet)
        self._lock = trio.Lock()
        self.remembered = remembered
        self.plane: Plane | None = None

    # --- attach ----------------------------------------------------------------------------

    async def attach(
        self, target: str, wanted: Sequence[str], *, name: str | None
    ) -> dict[str, Any]:
        """Connect a target; returns the contract's object. Raises CommandError."""
        plane = self._plane_with_path()
        place = await trio.to_thread.run_sync(find_place, target)
        async with self._lock:
            before = await self._at(place)
            entry = before or _fresh(target, place, kept=self._mesh.ipam.lookup(place.id))
            if before is not None and before.identity != place.identity:
                entry = evolve(before, namespace=place.namespace, identity=place.identity)
            if before is None:
                self._remember(entry)
            try:
                entry = await self._with_addresses(entry, wanted)
                if name is not None and name not in entry.names:
                    entry = evolve(entry, names=(*entry.names, name))
                self._remember(entry)
                await self._go_live(entry, plane)
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + TAKE_BACK_S_MAX):
                    await self._take_back(entry, before)
                raise
            return {
                "id": entry.id,
                "addresses": list(entry.addresses),
                "names": list(entry.names),
                "mac": entry.mac,
                "mtu": plane.report.mtu,
                "no_path": plane.without_path(),
            }

    def _plane_with_path(self) -> Plane:
        if self.plane is None:
            raise CommandError("this node has not joined a cluster yet: it has no addresses")
        reason = self.plane.why_closed()
        if reason is not None:
            raise CommandError(reason, code=ExitCode.FEATURE_OFF)
        return self.plane

    async def _with_addresses(self, entry: Attached, wanted: Sequence[str]) -> Attached:
        """Return the entry with the addresses that were asked for, or one of each family."""
        addresses = list(entry.addresses)
        for ask in wanted or self._addresses.one_of_each_family(addresses):
            address = await self._addresses.take(entry.id, ask)
            if address not in addresses:
                addresses.append(address)
        return evolve(entry, addresses=tuple(addresses), mac=mac_of(addresses[0]))

    async def _go_live(self, entry: Attached, plane: Plane) -> None:
        known = frozenset(plane.report.errors)
        await self._mesh.workloads.set(entry.id, bares(entry.addresses), mac=entry.mac)
        report = await plane.settle()
        if entry.id in report.gone:
            raise CommandError(f"target {entry.target!r}: its network namespace has gone")
        # What already failed elsewhere on this host is no reason to refuse one more workload.
        own = (entry.namespace, plane.config.outside(entry.id))
        for line in report.errors:
            if line == report.blocked or line not in known or any(part in line for part in own):
                raise CommandError(f"target {entry.target!r}: {line}")
        for name in entry.names:
            await self._mesh.names.add(name, bares(entry.addresses))

    async def _take_back(self, entry: Attached, before: Attached | None) -> None:
        """Undo an attach that failed: back to `before`."""
        try:
            stays = () if before is None else before.addresses
            named = () if before is None else before.names
            for name in entry.names:
                kept = bares(stays) if name in named else ()
                gone = [a for a in bares(entry.addresses) if a not in kept]
                if not set(gone).isdisjoint(self._mesh.names.lookup(name)):
                    await self._mesh.names.remove(name, gone)
            await self._give_back(entry, self._beyond(entry, stays))
            if before is None:
                self._drop(entry.id)
                await self._mesh.workloads.remove(entry.id)
            else:
                self._remember(before)
                await self._mesh.workloads.set(before.id, bares(before.addresses), mac=before.mac)
            if self.plane is not None:
                await self.plane.settle()
        except (MeshError, CommandError) as error:
            _LOG.warning(
                "what a failed attach of %s took was not all given back: %s", entry.id, error
            )

    # --- detach ----------------------------------------------------------------------------

    async def detach(self, target: str, addresses: Sequence[str]) -> dict[str, Any]:
        """Disconnect a target, or take single addresses from it."""
        async with self._lock:
            entry = self._by_target(target)
            if entry is None:
                place = await trio.to_thread.run_sync(find_place, target)
                entry = await self._at(place)
            if entry is None:
                raise CommandError(f"target {target!r} is not attached here")
            going = [a for a in entry.addresses if not addresses or bare(a) in addresses]
            missing = set(addresses) - set(bares(entry.addresses))
            if missing:
                raise CommandError(f"target {target!r} has no address {sorted(missing)[0]}")
            await self._take_away(entry, going)
            return {"id": entry.id, "addresses": going}

    async def _take_away(self, entry: Attached, going: Sequence[str]) -> None:
        """Names first, then the path, then the addresses: nobody is sent to what has gone."""
        for name in entry.names:
            await self._mesh.names.remove(name, bares(going))
        staying = tuple(a for a in entry.addresses if a not in going)
        if staying:
            left = evolve(
                entry,
                addresses=staying,
                mac=mac_of(staying[0]),
            )
            self._remember(left)
            await self._mesh.workloads.set(entry.id, bares(staying), mac=left.mac)
        else:
            self._drop(entry.id)
            await self._mesh.workloads.remove(entry.id)
        if self.plane is not None:
            await self.plane.settle()
        await self._give_back(entry, going)

    async def _give_back(self, entry: Attached, going: Sequence[str]) -> None:
        """Release addresses of an id, except those that it held before attach."""
        kept = set(bares(entry.kept))
        for address in bares(going):
            if address not in kept:
                await self._mesh.ipam.release(entry.id, address)

    def _beyond(self, entry: Attached, staying: Sequence[str]) -> list[str]:
        """Return what the id holds now besides `staying`: what an unfinished attach took."""
        return [a for a in self._mesh.ipam.lookup(entry.id) if bare(a) not in bares(staying)]

    async def release_gone(self, ids: Sequence[str]) -> None:
        """Detach the workloads whose namespace no longer exists."""
        async with self._lock:
            for workload in ids:
                entry = self._find(workload)
                # It may have been attached anew while this waited for its turn.
                if entry is None or await trio.to_thread.run_sync(_is_there, entry):
                    continue
                _LOG.info("workload %s has gone: its addresses and names go too", workload)
                await self._take_away(entry, entry.addresses)

    # --- the host itself -------------------------------------------------------------------

    async def ensure_host(self) -> None:
        """Give the host its own addresses, once. Raises CommandError while there are none."""
        async with self._lock:
            host = self.remembered.host
            if host.addresses:
                return
            # What came before a refusal stays the host's: the next try gets it again.
            asks = self._addresses.one_of_each_family()
            addresses = [await self._addresses.take(HOST_ID, ask) for ask in asks]
            await self._set_host(evolve(host, addresses=tuple(addresses)))

    async def expose(self, wanted: Sequence[str]) -> dict[str, Any]:
        """Let workloads reach the outside, and give the host more addresses where asked."""
        self._plane_with_path()
        await self.ensure_host()
        async with self._lock:
            before = self.remembered.host
            held = self._mesh.ipam.lookup(HOST_ID)
            addresses = list(before.addresses)
            try:
                for ask in wanted:
                    address = await self._addresses.take(HOST_ID, ask)
                    if address not in addresses:
                        addresses.append(address)
                await self._set_host(HostPresence(addresses=tuple(addresses), is_exposed=True))
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + TAKE_BACK_S_MAX):
                    await self._take_host_back(before, held)
                raise
            return {"addresses": addresses}

    async def _take_host_back(self, before: HostPresence, held: Sequence[str]) -> None:
        """Undo an expose that failed: the host is as it was, and holds what it held."""
        try:
            if self.remembered.host != before:
                await self._set_host(before)
            for address in self._mesh.ipam.lookup(HOST_ID):
                if address not in held:
                    await self._mesh.ipam.release(HOST_ID, bare(address))
        except (MeshError, CommandError) as error:
            _LOG.warning("what a failed expose took was not all given back: %s", error)

    async def hide(self, addresses: Sequence[str]) -> dict[str, Any]:
        """Close the way outside; or take only these addresses from the host."""
        async with self._lock:
            host = self.remembered.host
            missing = set(addresses) - set(bares(host.addresses))
            if missing:
                raise CommandError(f"this host has no address {sorted(missing)[0]}")
            going = [a for a in host.addresses if bare(a) in addresses]
            staying = tuple(a for a in host.addresses if a not in going)
            await self._set_host(
                HostPresence(addresses=staying, is_exposed=host.is_exposed and bool(addresses))
            )
            for address in going:
                await self._mesh.ipam.release(HOST_ID, bare(address))
            return {"addresses": list(staying)}

    async def _set_host(self, host: HostPresence) -> None:
        self.remembered = evolve(self.remembered, host=host)
        self._save()
        if host.addresses:
            await self._mesh.workloads.set(
                HOST_ID, bares(host.addresses), mac=mac_of(host.addresses[0])
            )
        else:
            await self._mesh.workloads.remove(HOST_ID)
        if self.plane is not None:
            await self.plane.settle()

    # --- after a restart -------------------------------------------------------------------

    async def restore(self) -> None:
        """Finish or undo what a crash left half done, and publish what is attached again."""
        for entry in self.remembered.workloads:
            if not entry.addresses:
                _LOG.info("an attach of %s did not finish before the last end", entry.id)
                await self._give_back(entry, self._beyond(entry, ()))
                self._drop(entry.id)
                continue
            await self._mesh.workloads.set(entry.id, bares(entry.addresses), mac=entry.mac)

    def status(self) -> dict[str, Any]:
        """Return what `status` shows of workloads and paths."""
        shown: dict[str, Any] = {
            "workloads": len(self.remembered.workloads),
            "exposed": self.remembered.host.is_exposed,
            "host": list(self.remembered.host.addresses),
        }
        if self.plane is not None:
            shown.update(self.plane.status())
            shown["reason"] = self.plane.why_closed()
        return shown

    # --- the file --------------------------------------------------------------------------

    def _find(self, workload: str) -> Attached | None:
        return next((e for e in self.remembered.workloads if e.id == workload), None)

    async def _at(self, place: Place) -> Attached | None:
        """Return what is attached at a place, also under another spelling of its path."""
        found = self._find(place.id)
        if found is not None:
            return found
        for entry in self.remembered.workloads:
            # An inode number may come again after its namespace has gone.
            if entry.identity == place.identity and await trio.to_thread.run_sync(_is_there, entry):
                return entry
        return None

    def _by_target(self, target: str) -> Attached | None:
        return next((e for e in self.remembered.workloads if e.target == target), None)

    def _remember(self, entry: Attached) -> None:
        others = tuple(e for e in self.remembered.workloads if e.id != entry.id)
        self.remembered = evolve(self.remembered, workloads=(*others, entry))
        self._save()

    def _drop(self, workload: str) -> None:
        others = tuple(e for e in self.remembered.workloads if e.id != workload)
        self.remembered = evolve(self.remembered, workloads=others)
        self._save()

    def _save(self) -> None:
        save_records(self._state_dir, self.remembered)


def _fresh(target: str, place: Place, *, kept: tuple[str, ...]) -> Attached:
    return Attached(
        id=place.id,
        target=target,
        namespace=place.namespace,
        identity=place.identity,
        addresses=(),
        kept=kept,
        names=(),
        mac="",
        since=time.time(),
    )


def _is_there(entry: Attached) -> bool:
    """Return True when the namespace that was attached still exists; blocks."""
    try:
        with opened(entry.namespace, entry.identity):
            return True
    except DataplaneError:
        return False
