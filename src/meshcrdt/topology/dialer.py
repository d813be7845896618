"""Whom to dial, and when.

Targets are the configured addresses and, while discovery is on, those of members wanted now:
a handful. In a large cluster configured addresses rest while the view is full: they are
seeds. Four rules make a heal take about `dial_backoff_max_s` after an outage of any length:

* Backoff is exponential with jitter, but for members that cannot be reached, for configured
  addresses, and for everything while there is no link at all, it is capped at
  `dial_backoff_max_s`. Only addresses that refused, or that the directory names for a member
  whom others reach and that never answered, go up to eight times that.
* Configured addresses that never answered share that promptness: of more than
  `PROMPT_CONFIGURED_MAX` each waits in proportion longer, up to the same eight times, so a
  long list of dead seeds costs no more dials a second than a short one.
* A dial into a black hole hangs until the shell's timeout. It does not hold the address:
  further attempts start on the same schedule beside it, at most
  `ATTEMPTS_PER_ADDRESS_MAX` at once.
* Any first link after total loss, and `reset`, forget all backoffs.

An address is remembered with the peer that answered there, so an address whose peer is
already linked (dialled from either side) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.topology.addresses import AddressBook
from meshcrdt.topology.targets import (
    DialerStatistics,
    Seeds,
    Surroundings,
    Target,
    cap_s,
    leads,
    likely_peer,
)

__all__ = ["Dialer", "DialerStatistics", "Discovery", "Seeds", "Surroundings"]

ATTEMPTS_PER_ADDRESS_MAX = 4
ATTEMPTS_MAX = 64
BESIDE_HANGING_S_MIN = 1.0
"""A second attempt beside a hanging one starts no sooner: slow paths are given a chance."""
SAME_PEER_PAUSE_S = 0.25
"""Pause between two addresses of one peer, as in RFC 8305, so that the first may win."""
DOUBLINGS_MAX = 16


class Discovery(Enum):
    """Whether addresses from the directory are dialled."""

    ON = "on"
    OFF = "off"


class Dialer:
    """The dialling policy of one node.

    Args:
        me: This node.
        limits: The `dial_*` and `handshake_timeout_s` bounds are used.
        dice: Jitter.
        discovery: Whether directory addresses are dialled.
        own_addresses: Never dialled.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        limits: Limits,
        dice: Dice,
        discovery: Discovery,
        own_addresses: Iterable[str] = (),
    ) -> None:
        self._me = me
        self._limits = limits
        self._dice = dice
        self._discovery = discovery
        self._own = set(own_addresses)
        self._book = AddressBook()
        self._targets: dict[str, Target] = {}
        self._forgotten: set[str] = set()
        self._around = Surroundings()
        self._unanswered = 0
        self._peer_started_at: dict[PeerId, float] = {}
        self._deadline: float | None = None
        self._moved = False
        self._dials_total = 0
        self._failures_total = 0

    # --- what there is to dial ---------------------------------------------------------

    def add(self, addresses: Iterable[str], now: float) -> None:
        """Take addresses as configured: dialled now, kept, no longer forgotten."""
        for address in addresses:
            target = self._target(address, now)
            target.configured = target.untried = True
            target.refused = False
            target.failures = 0
            target.due_at = min(target.due_at, now)
            self._forgotten.discard(address)
        self._count_unanswered()

    def forget(self, addresses: Iterable[str]) -> None:
        """Stop dialling addresses, also where the directory names them; live links stay."""
        for address in addresses:
            target = self._targets.get(address)
            if target is None and address not in self._book:
                continue
            self._forgotten.add(address)
            if target is not None:
                target.configured = False
                self._drop_unused(target)
        self._count_unanswered()

    def directory_changed(self, peer: PeerId, addresses: Iterable[str], now: float) -> None:
        """Replace the addresses that the directory names for a peer; none removes it."""
        if peer == self._me:
            self._own.update(addresses)
            return
        for address in self._book.replace(peer, addresses):
            target = self._targets.get(address)
            if target is not None:
                target.owners = set(self._book.owners(address))
                if peer in target.owners and target.leads_to != peer:
                    target.leads_to = None  # it may have moved: what answered there is hearsay
                self._drop_unused(target)
            elif address not in self._book:
                self._forgotten.discard(address)
        if peer in self._around.wanted:
            self._aim(peer, now)

    # --- what became of it -------------------------------------------------------------

    def opened(self, address: str, peer: PeerId) -> None:
        """Note that a dial of `address` reached `peer`; our own address is never tried again."""
        target = self._targets.get(address)
        if target is None:
            return
        if target.attempts:
            target.attempts.pop(0)
        self._moved = True
        target.untried = False
        target.reason = ""
        target.refused = False
        target.leads_to = peer
        if peer == self._me:
            self._own.add(address)
        self._drop_unused(target)

    def failed(self, address: str, reason: str, now: float, *, refused: bool) -> None:
        """Note that a dial came to nothing; `refused` when somebody answered and said no."""
        target = self._targets.get(address)
        if target is None:
            return
        self._failures_total += 1
        self._moved = True
        target.untried = False
        if target.attempts:
            target.attempts.pop(0)
        target.reason = reason
        target.refused = refused
        again_at = now + self._interval_s(target)
        if refused:
            target.due_at = again_at
        elif not target.attempts:
            # Sooner, never later: what hung may fail when the next attempt is due already.
            target.due_at = min(target.due_at, again_at)
        self._drop_unused(target)

    def lost(self, peer: PeerId, now: float, *, lived_s: float) -> None:
        """Schedule the addresses of a peer whose last link ended after `lived_s`.

        A link that lived shorter than the longest backoff forgives no failures: a peer
        that accepts and drops us at once is not dialled in a tight loop.
        """
        self._moved = True
        for target in self._targets.values():
            if leads(target, peer):
                if lived_s >= self._limits.dial_backoff_max_s:
                    target.failures = 0
                target.due_at = now + self._interval_s(target)

    def reset(self, now: float, *, spared: frozenset[PeerId] = frozenset()) -> None:
        """Forget all backoffs; everything that is wanted is dialled within the least backoff.

        Addresses of `spared` peers keep theirs: a peer that accepts and drops us would
        otherwise, where it is the only one, wipe out its own damping each time.
        """
        self._moved = True
        for target in self._targets.values():
            if any(leads(target, peer) for peer in spared):
                continue
            target.failures = 0
            soon = now + self._dice.uniform(0.0, self._limits.dial_backoff_min_s)
            target.due_at = min(target.due_at, soon)

    def look(self, around: Surroundings, now: float) -> None:
        """Take in who is linked, wanted and reachable; a need that grew shortens its wait."""
        before, self._around = self._around, around
        for peer in sorted(around.wanted - before.wanted):
            self._aim(peer, now)
        if before.wanted - around.wanted:
            for target in list(self._targets.values()):
                self._drop_unused(target)
        self._count_unanswered()
        for target in self._targets.values():
            longest_s = self._longest_s(target)
            if target.due_at > now + longest_s:
                target.due_at = now + self._dice.uniform(0.5, 1.0) * longest_s

    # --- time --------------------------------------------------------------------------

    def poll(self, now: float) -> list[str]:
        """Return the addresses to dial now, and count them as being dialled."""
        due_at = self.next_deadline()
        if due_at is None or now < due_at:
            return []
        self._moved = True
        self._expire(now)
        free = ATTEMPTS_MAX - sum(len(target.attempts) for target in self._targets.values())
        due = [t for t in self._targets.values() if now >= t.due_at and self._may_start(t)]
        due.sort(key=lambda target: (len(target.attempts), target.due_at, target.address))
        started: list[str] = []
        for target in due:
            if len(started) >= free:
                break
            peer = likely_peer(target)
            last = None if peer is None else self._peer_started_at.get(peer)
            if last is not None and now < last + SAME_PEER_PAUSE_S:
                target.due_at = last + SAME_PEER_PAUSE_S
                continue
            if peer is not None:
                self._peer_started_at[peer] = now
            target.attempts.append(now)
            target.started_at = now
            target.failures = min(target.failures + 1, DOUBLINGS_MAX)
            target.due_at = now + max(BESIDE_HANGING_S_MIN, self._interval_s(target))
            started.append(target.address)
        self._dials_total += len(started)
        return started

    def next_deadline(self) -> float | None:
        """Return when `poll` may have something to do, or None."""
        if self._moved:
            self._moved = False
            self._deadline = self._earliest()
        return self._deadline

    def _earliest(self) -> float | None:
        busy = [target.attempts for target in self._targets.values() if target.attempts]
        times = [attempts[0] + self._answer_s() for attempts in busy]
        if sum(map(len, busy)) < ATTEMPTS_MAX:
            times.extend(t.due_at for t in self._targets.values() if self._may_start(t))
        return min(times, default=None)

    # --- queries -----------------------------------------------------------------------

    def configured(self) -> tuple[str, ...]:
        """Return the configured addresses, sorted: what a node keeps over restarts."""
        return tuple(sorted(t.address for t in self._targets.values() if t.configured))

    def wanted(self) -> Iterator[Target]:
        """Yield the targets that are dialled or wait to be dialled again."""
        return (target for target in self._targets.values() if self._is_wanted(target))

    def known(self) -> frozenset[str]:
        """Return the addresses that are configured or named by the directory: O(N)."""
        return frozenset((*self._targets, *self._book))

    def dialable(self, peer: PeerId) -> tuple[str, ...]:
        """Return where the directory says that a peer is, less what must not be dialled."""
        refused = self._own | self._forgotten
        return tuple(address for address in self._book.of(peer) if address not in refused)

    def at(self, address: str) -> frozenset[PeerId]:
        """Return the wanted peers that a dial of this address was for."""
        target = self._targets.get(address)
        return frozenset(() if target is None else target.owners & self._around.wanted)

    def gave_all(self, peer: PeerId) -> bool:
        """Return True when every address of a wanted peer came to nothing at least once."""
        aims = [target for target in self._targets.values() if peer in target.owners]
        return all(not target.untried and not target.attempts for target in aims)

    def leads_to(self, address: str) -> frozenset[PeerId]:
        """Return the peers that an address led to, or that claim it."""
        target = self._targets.get(address)
        if target is None:
            return self._book.owners(address)
        return frozenset(target.owners | ({target.leads_to} if target.leads_to else set()))

    def addresses_of(self, peer: PeerId) -> frozenset[str]:
        """Return the addresses that lead to a peer."""
        tried = (t.address for t in self._targets.values() if leads(t, peer))
        return frozenset((*tried, *self._book.of(peer)))

    def check(self) -> None:
        """Raise InternalError when a bound or a table is broken."""
        self._book.check()
        in_flight = 0
        for address, target in self._targets.items():
            in_flight += len(target.attempts)
            if address != target.address or len(target.attempts) > ATTEMPTS_PER_ADDRESS_MAX:
                raise InternalError(f"target {address} has {len(target.attempts)} attempts")
            if target.attempts != sorted(target.attempts):
                raise InternalError(f"attempts of {address} are out of order")
        if in_flight > ATTEMPTS_MAX:
            raise InternalError(f"{in_flight} dials are in flight: {ATTEMPTS_MAX} is the limit")

    def statistics(self) -> DialerStatistics:
        """Return the current counts."""
        return DialerStatistics(
            targets=len(self._targets),
            in_flight=sum(len(target.attempts) for target in self._targets.values()),
            dials_total=self._dials_total,
            failures_total=self._failures_total,
        )

    # --- policy ------------------------------------------------------------------------

    def _target(self, address: str, now: float) -> Target:
        self._moved = True
        target = self._targets.get(address)
        if target is None:
            owners = set(self._book.owners(address))
            target = self._targets[address] = Target(address, due_at=now, owners=owners)
        return target

    def _aim(self, peer: PeerId, now: float) -> None:
        """Make targets of the addresses of a peer that is wanted."""
        named = self._book.of(peer) or self._around.hearsay.get(peer, ())
        if self._discovery is Discovery.ON:
            for address in sorted(named):
                self._target(address, now).owners.add(peer)

    def _drop_unused(self, target: Target) -> None:
        self._moved = True
        wanted = not target.owners.isdisjoint(self._around.wanted)
        if target.configured or wanted or target.attempts:
            return
        self._targets.pop(target.address, None)
        if target.address not in self._book:
            self._forgotten.discard(target.address)
        for peer in target.owners:
            self._peer_started_at.pop(peer, None)

    def _is_wanted(self, target: Target) -> bool:
        linked = self._around.linked
        if target.address in self._own or target.address in self._forgotten:
            return False
        if target.leads_to in linked or target.leads_to in self._around.avoided:
            return False
        if target.configured and self._is_needed(target):
            # Tried in vain, and everybody who claims it is linked anyway: let it rest.
            claimed = target.leads_to is None and bool(target.owners) and target.owners <= linked
            return not (claimed and target.failures)
        if self._discovery is Discovery.OFF:
            return False
        return bool((target.owners & self._around.wanted) - linked)

    def _is_needed(self, target: Target) -> bool:
        """Return True unless a configured address rests: it led somewhere, and may again."""
        if self._around.seeds is Seeds.WANTED or target.untried:
            return True
        return target.leads_to is None and not target.owners

    def _may_start(self, target: Target) -> bool:
        return len(target.attempts) < ATTEMPTS_PER_ADDRESS_MAX and self._is_wanted(target)

    def _count_unanswered(self) -> None:
        """Count the configured addresses that nobody ever answered at."""
        self._moved = True
        unanswered = (t.configured and t.leads_to is None for t in self._targets.values())
        self._unanswered = sum(unanswered)

    def _longest_s(self, target: Target) -> float:
        return cap_s(target, self._around, self._limits, self._unanswered)

    def _interval_s(self, target: Target) -> float:
        """Return the jittered wait after `failures` attempts: half to all of the backoff."""
        backoff_s = self._limits.dial_backoff_min_s * 2.0 ** max(0, target.failures - 1)
        return self._dice.uniform(0.5, 1.0) * min(backoff_s, self._longest_s(target))

    def _answer_s(self) -> float:
        """Return the seconds after which an unanswered dial is lost."""
        return self._limits.dial_timeout_s + self._limits.handshake_timeout_s

    def _expire(self, now: float) -> None:
        for target in list(self._targets.values()):
            while target.attempts and now >= target.attempts[0] + self._answer_s():
                target.attempts.pop(0)
                target.reason = target.reason or "no answer"
            self._drop_unused(target)
