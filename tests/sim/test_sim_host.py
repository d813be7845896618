"""A simulated host on its own: what a crash takes with it."""

from __future__ import annotations

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node.config import NodeConfig
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.disk import Disk
from meshcrdt.sim.host import Host
from meshcrdt.sim.scenario import Faults


class NoNetwork:
    """A wire that leads nowhere, and notes what it is asked for."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    def dial(self, source: Host, address: str) -> None:
        self.dialled.append(address)

    def writable(self, source: Host, link: int) -> None:
        raise AssertionError("there is no link")

    def close(self, source: Host, link: int, reason: str) -> None:
        raise AssertionError("there is no link")

    def host_died(self, host: Host) -> None:
        self.dialled.clear()


def test_a_process_that_starts_after_a_crash_does_not_stand_still_as_its_predecessor_did() -> None:
    clock, network, dice = Clockwork(), NoNetwork(), Dice(b"host")

    def birth(host: Host) -> NodeConfig:
        return NodeConfig(
            identity=host.identity,
            epoch=BOTTOM_EPOCH,
            genesis=Genesis.make(host.identity, ["10.32.0.0/16"], nonce=bytes(16)),
            name=host.name,
            peers=("sim://n2",),
        )

    disk = Disk(clock, dice.fork("disk"), Faults())
    host = Host("n1", clock=clock, network=network, disk=disk, dice=dice, birth=birth)
    host.start()
    clock.run_until(1.0)
    host.pause(600.0)
    host.crash()
    host.start()
    clock.run_until(60.0)
    assert len(network.dialled) > 5
