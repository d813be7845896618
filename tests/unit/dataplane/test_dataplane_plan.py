"""Plans against a strict fake kernel: they reach what is desired, and then are empty."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.dataplane import operations as op
from meshcrdt.dataplane.errors import DataplaneError
from meshcrdt.dataplane.fake import FakeKernel
from meshcrdt.dataplane.mac import mac_of
from meshcrdt.dataplane.model import (
    DataplaneConfig,
    Desired,
    Endpoint,
    Exposure,
    Gateway,
    Port,
    Remote,
)
from meshcrdt.dataplane.plan import overlay_mtu, plan, plan_removal
from meshcrdt.errors import UsageError

TRUSTED = ("192.168.0.0/16",)


def config(**changes: Any) -> DataplaneConfig:
    base: dict[str, Any] = {
        "universes": ("10.32.0.0/12",),
        "vni": 7,
        "trusted": TRUSTED,
        "underlay": ("192.168.0.1",),
    }
    return DataplaneConfig(**{**base, **changes})


def remote(number: int, **changes: Any) -> Remote:
    base: dict[str, Any] = {"underlay": (f"192.168.0.{number}",), "trusted": TRUSTED}
    return Remote(peer=f"p{number}", **{**base, **changes})


def endpoint(number: int, peer: int) -> Endpoint:
    address = f"10.32.1.{number}"
    return Endpoint(address=address, mac=mac_of(address), peer=f"p{peer}")


def port(number: int, **changes: Any) -> Port:
    base: dict[str, Any] = {
        "workload": f"w{number}",
        "namespace": f"/run/netns/w{number}",
        "addresses": (f"10.32.0.{number}/12",),
    }
    return Port(**{**base, **changes})


def settle(kernel: FakeKernel, wanted: Desired, where: DataplaneConfig) -> list[op.Operation]:
    """Apply one plan; the second must be empty, and nothing may be refused."""
    operations = plan(where, wanted, kernel.observe(where, wanted))
    assert kernel.apply(where, operations) == []
    assert plan(where, wanted, kernel.observe(where, wanted)) == []
    return operations


SMALL = st.integers(1, 4)
CONFIGS = st.builds(
    config,
    trusted=st.sampled_from([TRUSTED, ()]),
    underlay=st.sampled_from([("192.168.0.1",), ("192.168.0.9",), ("10.0.0.1",), ()]),
    mtu=st.sampled_from([None, 1300]),
    vni=st.sampled_from([7, 8]),
)
REMOTES = st.lists(
    st.builds(
        remote,
        st.integers(2, 5),
        trusted=st.sampled_from([TRUSTED, ("10.0.0.0/8",), ()]),
        underlay=st.sampled_from([("192.168.0.2",), ("192.168.0.3", "fd00::3"), ("172.16.0.1",)]),
    ),
    unique_by=lambda r: r.peer,
    max_size=3,
)
PORTS = st.lists(
    st.builds(
        lambda number, addresses: port(number, addresses=addresses),
        SMALL,
        st.sampled_from(
            [("10.32.0.1/12",), ("10.32.0.2/12", "fd00::2/48"), ("10.32.0.3/24",), ("fd00::4/48",)]
        ),
    ),
    unique_by=lambda p: p.workload,
    max_size=3,
)
DESIRED = st.builds(
    lambda ports, remotes, endpoints, gateway: Desired(
        ports=tuple(ports),
        remotes=tuple(remotes),
        endpoints=tuple(endpoints),
        gateway=gateway,
    ),
    PORTS,
    REMOTES,
    st.lists(st.builds(endpoint, SMALL, st.integers(2, 6)), max_size=5),
    st.builds(
        Gateway,
        addresses=st.sampled_from([(), ("10.32.0.254/12",), ("10.32.0.253/12", "fd00::1/48")]),
        exposure=st.sampled_from(Exposure),
    ),
)


def damage(kernel: FakeKernel, where: DataplaneConfig, pick: int) -> None:
    """Remove or spoil one thing, as a person or another program might."""
    bridge, vxlan = kernel.bridge, kernel.vxlan
    choices: list[Any] = [
        lambda: kernel.apply(where, [op.RemoveLink(name=where.bridge)]),
        lambda: kernel.apply(where, [op.RemoveLink(name=where.vxlan)]),
        lambda: setattr(kernel, "rules", None),
        lambda: setattr(kernel, "rules", ""),
        lambda: setattr(kernel, "is_forwarding", False),
        lambda: setattr(kernel, "underlay_mtu", 1400),
    ]
    if bridge is not None:
        for change in ({"mac": "02:00:00:00:00:01"}, {"is_up": False}, {"is_quiet": False}):
            choices.append(lambda c=change: setattr(kernel, "bridge", evolve(bridge, **c)))
        stray = evolve(bridge, addresses=frozenset({"10.32.7.7/12"}))
        choices.append(lambda: setattr(kernel, "bridge", stray))
        choices.append(kernel.neighbours.clear)
        choices.append(lambda: kernel.neighbours.add(("10.32.9.9", "02:00:00:00:00:09")))
    if vxlan is not None:
        choices += [
            kernel.forwarding.clear,
            kernel.bridge_forwarding.clear,
            lambda: kernel.forwarding.add(("00:00:00:00:00:00", "192.168.9.9")),
            lambda: kernel.forwarding.update((m, "192.168.9.9") for m, _ in [*kernel.forwarding]),
        ]
        for other in ({"is_guarded": False}, {"is_up": False}, {"mtu": 900}, {"vni": 99}):
            choices.append(lambda c=other: setattr(kernel, "vxlan", evolve(vxlan, **c)))
    for name, link in kernel.links.items():
        inside = link.seen.inside
        assert inside is not None
        choices.append(lambda n=name: kernel.links.pop(n))
        for spoiled in (
            evolve(link.seen, master=None),
            evolve(link.seen, is_up=False),
            evolve(link.seen, inside=evolve(inside, addresses=frozenset())),
            evolve(link.seen, inside=evolve(inside, is_loopback_up=False)),
            evolve(link.seen, inside=evolve(inside, gateways=frozenset({"10.32.3.3"}))),
        ):
            choices.append(lambda x=link, s=spoiled: setattr(x, "seen", s))
    choices[pick % len(choices)]()


@settings(max_examples=150)
@given(
    where=CONFIGS,
    before=DESIRED,
    after=DESIRED,
    picks=st.lists(st.integers(0, 1000), max_size=3),
    present=st.sets(SMALL),
    foreign=st.sampled_from([frozenset(), frozenset({4}), frozenset({4, 6})]),
)
def test_any_state_becomes_the_desired_one_and_damage_is_repaired(
    where: DataplaneConfig,
    before: Desired,
    after: Desired,
    picks: list[int],
    present: set[int],
    foreign: frozenset[int],
) -> None:
    namespaces = {f"/run/netns/w{number}" for number in present}
    kernel = FakeKernel(namespaces=namespaces, own_defaults=dict.fromkeys(namespaces, foreign))
    settle(kernel, before, where)
    settle(kernel, after, where)
    reached = kernel.observe(where, after)
    wanted_ports = {where.outside(p.workload) for p in after.ports if p.namespace in namespaces}
    assert set(reached.ports) == wanted_ports
    for pick in picks:
        damage(kernel, where, pick)
        settle(kernel, after, where)
    repaired = kernel.observe(where, after)
    if kernel.underlay_mtu == 1500:
        assert repaired == reached
    assert kernel.apply(where, plan_removal(where, repaired)) == []
    assert plan_removal(where, kernel.observe(where, Desired())) == []
    assert (kernel.bridge, kernel.vxlan, kernel.links) == (None, None, {})
    assert (kernel.rules, kernel.is_forwarding) == (None, False)


def test_a_restart_changes_nothing() -> None:
    where = config()
    wanted = Desired(ports=(port(1),), remotes=(remote(2),), endpoints=(endpoint(5, 2),))
    kernel = FakeKernel(namespaces={"/run/netns/w1"})
    settle(kernel, wanted, where)
    kernel.log.clear()
    assert settle(kernel, wanted, where) == []
    assert kernel.log == []


def test_a_moved_endpoint_is_replaced_in_place() -> None:
    where, kernel = config(), FakeKernel()
    first = Desired(remotes=(remote(2), remote(3)), endpoints=(endpoint(5, 2),))
    settle(kernel, first, where)
    operations = settle(kernel, evolve(first, endpoints=(endpoint(5, 3),)), where)
    mac = mac_of("10.32.1.5")
    assert operations == [op.SetForwarding(name=where.vxlan, entries=((mac, "192.168.0.3"),))]


def test_of_several_destinations_only_the_right_one_stays() -> None:
    where, kernel = config(), FakeKernel()
    wanted = Desired(remotes=(remote(2),), endpoints=(endpoint(5, 2),))
    settle(kernel, wanted, where)
    mac = mac_of("10.32.1.5")
    kernel.forwarding |= {(mac, "192.168.9.9"), (mac, "192.168.8.8")}
    settle(kernel, wanted, where)
    assert kernel.forwarding == {(mac, "192.168.0.2")}


def test_an_own_address_wins_over_a_remote_claim() -> None:
    where = config()
    mine = port(1)
    claim = Endpoint(address="10.32.0.1", mac=mine.mac, peer="p2")
    kernel = FakeKernel(namespaces={mine.namespace})
    settle(kernel, Desired(ports=(mine,), remotes=(remote(2),), endpoints=(claim,)), where)
    assert kernel.forwarding == set()
    assert kernel.neighbours == set()


@pytest.mark.parametrize(
    ("own", "forwards_v6", "expected"),
    [
        (frozenset(), False, {"10.32.0.9"}),
        (frozenset(), True, {"10.32.0.9", "fd00::9"}),
        (frozenset({4}), True, {"fd00::9"}),
        (frozenset({4, 6}), True, set()),
    ],
)
def test_a_workload_keeps_its_own_default_route(
    own: frozenset[int], forwards_v6: bool, expected: set[str]
) -> None:
    where, mine = config(), port(1, addresses=("10.32.0.1/12", "fd00::1/48"))
    gateway = Gateway(addresses=("10.32.0.9/12", "fd00::9/48"), exposure=Exposure.OUTSIDE)
    kernel = FakeKernel(
        namespaces={mine.namespace},
        own_defaults={mine.namespace: own},
        is_forwarding_v6=forwards_v6,
    )
    settle(kernel, Desired(ports=(mine,), gateway=gateway), where)
    inside = kernel.links[where.outside("w1")].seen.inside
    assert inside is not None
    assert inside.gateways == expected


def test_without_trust_there_is_no_tunnel_device() -> None:
    where, kernel = config(trusted=()), FakeKernel()
    settle(kernel, Desired(remotes=(remote(2),), endpoints=(endpoint(5, 2),)), where)
    assert kernel.vxlan is None
    assert kernel.bridge is not None


def test_no_operation_touches_a_namespace_that_is_gone() -> None:
    where, kernel = config(), FakeKernel()
    wanted = Desired(ports=(port(1),))
    operations = plan(where, wanted, kernel.observe(where, wanted))
    assert not [x for x in operations if isinstance(x, op.CreatePort | op.SetInside)]


def test_a_namespace_that_cannot_be_looked_into_is_left_alone() -> None:
    where, mine = config(), port(1)
    kernel = FakeKernel(namespaces={mine.namespace})
    wanted = Desired(ports=(mine,))
    settle(kernel, wanted, where)
    seen = kernel.observe(where, wanted)
    name = where.outside("w1")
    closed = evolve(
        seen,
        ports={name: evolve(seen.ports[name], inside=None)},
        unreadable={name: "not permitted"},
    )
    assert plan(where, wanted, closed) == []


def test_a_port_in_a_vanished_namespace_takes_no_other_with_it_under_the_same_path() -> None:
    where, path = config(), "/run/netns/shared"
    old = port(1, namespace=path, identity="4:101")
    kernel = FakeKernel(namespaces={path}, identities={path: "4:101"})
    settle(kernel, Desired(ports=(old,)), where)
    kernel.replace_namespace(path, "4:202")
    new = port(2, namespace=path, identity="4:202")
    both = Desired(ports=(old, new))
    settle(kernel, both, where)
    seen = kernel.observe(where, both)
    assert seen.gone == {where.outside("w1")}
    inside = seen.ports[where.outside("w2")].inside
    assert inside is not None
    assert inside.addresses == {"10.32.0.2/12"}


def test_a_mac_in_upper_case_is_the_same_mac() -> None:
    where, kernel = config(), FakeKernel()
    loud = Endpoint(address="10.32.1.5", mac="02:00:00:00:00:AB", peer="p2")
    settle(kernel, Desired(remotes=(remote(2),), endpoints=(loud,)), where)
    # What a kernel shows is in lower case.
    assert kernel.forwarding == {("02:00:00:00:00:ab", "192.168.0.2")}
    assert port(1, mac="02:00:00:00:00:AB").mac == "02:00:00:00:00:ab"


@pytest.mark.parametrize("mac", ["", "junk", "02:00:00:00:00", "02-00-00-00-00-01", "0:0:0:0:0:0"])
def test_what_is_no_mac_is_named(mac: str) -> None:
    with pytest.raises(UsageError, match=repr(mac)):
        Endpoint(address="10.32.1.5", mac=mac, peer="p2")
    with pytest.raises(UsageError, match=repr(mac)):
        port(1, mac=mac)


def test_rules_that_cannot_be_looked_at_are_left_alone_and_removed_with_the_rest() -> None:
    where, kernel = config(), FakeKernel()
    exposed = Desired(gateway=Gateway(exposure=Exposure.OUTSIDE), remotes=(remote(2),))
    seen = evolve(kernel.observe(where, exposed), rules=None, rules_unreadable="nft: timed out")
    kinds = {type(operation) for operation in plan(where, exposed, seen)}
    assert not kinds & {op.SetRules, op.RemoveRules, op.AllowForwarding}
    assert op.CreateBridge in kinds
    assert op.RemoveRules() in plan_removal(where, seen)


def test_a_device_of_another_kind_is_left_alone_and_named() -> None:
    where, kernel = config(), FakeKernel()
    settle(kernel, Desired(), where)
    assert kernel.bridge is not None
    kernel.bridge = evolve(kernel.bridge, kind="dummy")
    seen = kernel.observe(where, Desired())
    with pytest.raises(DataplaneError, match="device meshcrdt exists and is a dummy"):
        plan(where, Desired(), seen)
    assert op.RemoveLink(name="meshcrdt") not in plan_removal(where, seen)


@pytest.mark.parametrize(
    ("changes", "underlay_mtu", "expected"),
    [
        ({}, 1500, 1450),
        ({}, 9000, 8950),
        ({}, None, 1450),
        ({"underlay": ("fd00::1",), "trusted": ("fd00::/64",)}, 1500, 1430),
        ({"mtu": 1300}, 9000, 1300),
    ],
)
def test_mtu_follows_the_underlay(
    changes: dict[str, Any], underlay_mtu: int | None, expected: int
) -> None:
    where, kernel = config(**changes), FakeKernel(underlay_mtu=underlay_mtu)
    assert overlay_mtu(where, kernel.observe(where, Desired())) == expected
