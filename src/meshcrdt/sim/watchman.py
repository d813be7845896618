"""Who looks at what, and when: at everything all the time in a small world, else at samples.

A checker of all hosts costs their number times what each holds. In a world of a thousand that
is more than the thousand do, so there hosts take turns, drawn by dice that nobody else rolls:
what is looked at changes no run. Promises to users are few and are looked at in any world,
and at the end every host is asked what its root is and whom it takes for alive.
"""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.base.dice import Dice
from meshcrdt.node.events import AwaitReceipt
from meshcrdt.sim import checkers
from meshcrdt.sim.host import Host, Step
from meshcrdt.sim.ledger import Asked, Ledger

SMALL_HOSTS_MAX = 32
"""Up to so many hosts each is looked at whenever it moved."""
GLOBAL_ROUNDS = 30
"""In a large world all addresses are compared in one of so many rounds."""
END_HOSTS_MAX = 32
"""So many hosts are read from the ground up at the end."""


class Watchman:
    """Calls the checkers; what they find goes to `report`."""

    def __init__(
        self, hosts: list[Host], ledger: Ledger, dice: Dice, report: Callable[[list[str]], None]
    ) -> None:
        self._hosts = hosts
        self._ledger = ledger
        self._dice = dice
        self._report = report
        self._rounds = 0
        self.is_small = len(hosts) <= SMALL_HOSTS_MAX

    def stepped(self, host: Host, step: Step) -> None:
        """Look at a host whose state moved; only in a small world."""
        if self.is_small and step is Step.STATE:
            self._report(checkers.check_stepped(host))

    def second(self) -> None:
        """Look at what moved, and at what all hosts hold together; about once a second."""
        self._rounds += 1
        for host in self._hosts if self.is_small else [self._dice.choice(self._hosts)]:
            self._report(checkers.check_stepped(host))
        if self.is_small or self._rounds % GLOBAL_ROUNDS == 0:
            self._report(checkers.check_addresses(self._hosts))
            self._report(checkers.check_held(self._ledger, self._hosts))
        self._report(checkers.check_promises(self._ledger))

    def half_minute(self) -> None:
        """Look at hosts from the ground up."""
        for host in self._hosts if self.is_small else [self._dice.choice(self._hosts)]:
            self._report(checkers.check_whole(host))

    def reached(self, asked: Asked, command: AwaitReceipt) -> None:
        """Look whether a write is where a user was just told that it is."""
        self._report(checkers.check_receipt(asked, command, self._hosts))

    def end(self) -> None:
        """Judge everything, once the world has healed and settled."""
        self._rounds = GLOBAL_ROUNDS - 1
        self.second()
        read = [host for host in self._hosts if not host.gone]
        if not self.is_small:
            read = self._dice.sample(read, END_HOSTS_MAX)
        self._report(checkers.check_end(self._ledger, self._hosts, read))
