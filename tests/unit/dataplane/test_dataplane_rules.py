"""The pure parts around the plan: paths, overlaps, names, hardware addresses, nft text."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.dataplane.mac import mac_of
from meshcrdt.dataplane.model import (
    DataplaneConfig,
    Desired,
    Exposure,
    Gateway,
    Port,
    Remote,
)
from meshcrdt.dataplane.overlap import HostRoute, why_overlapping
from meshcrdt.dataplane.paths import (
    ClearPath,
    NoPath,
    local_address,
    path_to,
    paths_to,
    tunnel_sources,
    why_no_path,
)
from meshcrdt.dataplane.rules import rules_text, table_script
from meshcrdt.errors import UsageError


def config(**changes: Any) -> DataplaneConfig:
    base: dict[str, Any] = {
        "universes": ("10.32.0.0/12", "fd32::/48"),
        "vni": 42,
        "trusted": ("10.1.0.0/16",),
        "underlay": ("10.1.0.1",),
    }
    return DataplaneConfig(**{**base, **changes})


def remote(**changes: Any) -> Remote:
    base: dict[str, Any] = {"underlay": ("10.1.0.2",), "trusted": ("10.1.0.0/16",)}
    return Remote(peer="aa", name="n2", **{**base, **changes})


def rules(where: DataplaneConfig, wanted: Desired) -> str:
    return rules_text(where, wanted, paths_to(where, wanted.remotes))


def test_both_ends_trusting_is_a_path() -> None:
    assert path_to(config(), remote()) == ClearPath("10.1.0.1", "10.1.0.2")
    assert why_no_path(config(), [remote()]) == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"trusted": ()}, {}, ["no trusted subnets are declared here", "--trusted-subnets"]),
        ({"underlay": ()}, {}, ["this host has no underlay address"]),
        ({}, {"underlay": ()}, ["n2 has no IPv4 underlay address", "10.1.0.1", "none"]),
        ({}, {"underlay": ("fd00::2",)}, ["n2 has no IPv4", "fd00::2"]),
        ({}, {"underlay": ("10.9.0.2",)}, ["10.9.0.2 of n2", "trusted here (10.1.0.0/16)"]),
        ({}, {"trusted": ()}, ["n2 declares no trusted subnets", "10.1.0.1"]),
        ({}, {"trusted": ("10.9.0.0/16",)}, ["10.1.0.1 of this host", "n2 trusts (10.9.0.0/16)"]),
    ],
)
def test_a_missing_path_is_explained(
    ours: dict[str, Any], theirs: dict[str, Any], words: list[str]
) -> None:
    path = path_to(config(**ours), remote(**theirs))
    assert isinstance(path, NoPath)
    assert "\n" not in path.reason
    for word in words:
        assert word in path.reason
    assert why_no_path(config(**ours), [remote(**theirs)]) == {"aa": path.reason}


@given(
    st.lists(st.sampled_from(["10.1.0.0/16", "10.2.0.0/16", "fd00::/64"]), max_size=2),
    st.lists(st.sampled_from(["10.1.0.0/16", "10.2.0.0/16", "fd00::/64"]), max_size=2),
    st.lists(st.sampled_from(["10.1.0.1", "10.2.0.1", "fd00::1"]), max_size=2),
    st.lists(st.sampled_from(["10.1.0.2", "10.2.0.2", "fd00::2"]), max_size=2),
)
def test_no_path_is_ever_chosen_that_either_end_does_not_trust(
    ours: list[str], theirs: list[str], mine: list[str], its: list[str]
) -> None:
    where = config(trusted=tuple(ours), underlay=tuple(mine))
    other = remote(trusted=tuple(theirs), underlay=tuple(its))
    path = path_to(where, other)
    if isinstance(path, ClearPath):
        assert path.local == local_address(where)
        nets = {"10.1": "10.1.0.0/16", "10.2": "10.2.0.0/16", "fd00": "fd00::/64"}
        assert nets[path.host[:4]] in ours
        assert nets[path.local[:4]] in theirs
        assert path.host[:2] == path.local[:2], "one family"
        assert path.host in tunnel_sources(where, [other], paths_to(where, [other]))


def test_overlaps_name_both_and_spare_our_own_and_the_default_route() -> None:
    routes = [
        HostRoute(prefix="0.0.0.0/0", device="eth0"),
        HostRoute(prefix="10.32.0.1/12", device="meshcrdt"),
        HostRoute(prefix="192.0.2.7/24", device="eth0"),
        HostRoute(prefix="fd00::/8", device="eth1"),
    ]
    own = ("meshcrdt",)
    assert why_overlapping(["10.32.0.0/12"], routes, own_devices=own) is None
    assert why_overlapping(["192.0.0.0/8"], routes, own_devices=own) == (
        "range 192.0.0.0/8 overlaps the host's route 192.0.2.0/24 on eth0"
    )
    assert why_overlapping(["fd32::/48"], routes, own_devices=own) == (
        "range fd32::/48 overlaps the host's route fd00::/8 on eth1"
    )
    assert why_overlapping(["10.32.0.0/12"], routes, own_devices=()) == (
        "range 10.32.0.0/12 overlaps the host's route 10.32.0.0/12 on meshcrdt"
    )
    lost = [HostRoute(prefix="10.33.0.0/16", device="")]
    assert why_overlapping(["10.32.0.0/12"], lost, own_devices=own) == (
        "range 10.32.0.0/12 overlaps the host's route 10.33.0.0/16"
    )


@given(st.ip_addresses())
def test_a_mac_is_local_unicast_and_ignores_the_prefix(address: Any) -> None:
    mac = mac_of(str(address))
    first = int(mac[:2], 16)
    assert (first & 1, first & 2) == (0, 2)
    assert mac == mac_of(f"{address}/{ip_address(str(address)).max_prefixlen}")
    assert len(bytes.fromhex(mac.replace(":", ""))) == 6


def test_macs_are_part_of_the_protocol() -> None:
    # Hosts of different versions must agree on them: this value never changes.
    assert mac_of("10.32.0.1/12") == "ba:34:d1:ee:58:bc"
    assert mac_of("fd32::1") == "62:f6:ef:7b:23:f1"
    assert len({mac_of(f"10.32.{n // 256}.{n % 256}") for n in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["", "10.32.0.0/33", "host", "10.32.0.1 "])
def test_a_bad_address_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="is not an IP address"):
        mac_of(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bridge": "a-name-that-is-too-long"}, "a-name-that-is-too-long"),
        ({"bridge": "a/b"}, "a/b"),
        ({"bridge": ""}, "is not an interface name"),
        ({"vni": 0}, "vni 0"),
        ({"vni": 1 << 24}, "vni 16777216"),
        ({"mtu": 100}, "mtu 100"),
        ({"universes": ("10.32.0.1/12",)}, "10.32.0.1/12"),
        ({"trusted": ("x",)}, "'x' is not a CIDR range"),
        ({"underlay": ("10.0.0.1/8",)}, "10.0.0.1/8"),
    ],
)
def test_bad_configuration_names_the_value(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(**changes)
    assert words in str(caught.value)


def test_a_port_needs_an_address() -> None:
    with pytest.raises(UsageError, match="workload 'w1' has no address"):
        Port(workload="w1", namespace="/run/netns/w1")


@given(st.text("abcdefgh-._0123456789", min_size=1, max_size=15), st.text(max_size=200))
def test_every_derived_name_fits_linux_and_differs_between_bridges(
    bridge: str, workload: str
) -> None:
    try:
        where = config(bridge=bridge)
    except UsageError:
        assert bridge[0] in "-."
        return
    for name in (where.vxlan, where.outside(workload)):
        assert 1 <= len(name.encode()) <= 15
    other = config(bridge="other" if bridge != "other" else "another")
    if where.tag != other.tag:
        assert where.vxlan != other.vxlan
        assert where.table != other.table
        assert not where.outside(workload).startswith(other.outside_prefix)


def test_the_guard_accepts_known_hosts_and_drops_the_rest_of_our_vni() -> None:
    where = config(trusted=("10.1.0.0/16", "fd00::/64"))
    known = remote(underlay=("10.1.0.2", "fd00::2", "192.168.0.2"))
    text = rules(where, Desired(remotes=(known, remote(trusted=()))))
    assert "udp dport 6784 @th,96,24 0x2a ip saddr { 10.1.0.2 } accept" in text
    assert "udp dport 6784 @th,96,24 0x2a ip6 saddr { fd00::2 } accept" in text
    assert text.index("accept") < text.index("0x2a drop")
    assert "192.168.0.2" not in text
    assert "masquerade" not in text


def test_masquerading_is_for_the_exposed_alone() -> None:
    exposed = Desired(gateway=Gateway(exposure=Exposure.OUTSIDE))
    text = rules(config(trusted=()), exposed)
    assert 'ip saddr 10.32.0.0/12 ip daddr != 10.32.0.0/12 oifname != "meshcrdt" masquerade' in text
    assert 'ip6 daddr fd32::/48 ip6 saddr != fd32::/48 oifname "meshcrdt" masquerade' in text
    assert "guard" not in text
    assert rules(config(trusted=()), Desired()) == ""


def test_the_script_replaces_only_our_table() -> None:
    script = table_script("meshcrdt_x", "\tchain c {\n\t}", restore="ip_forward was off")
    assert script.startswith("table inet meshcrdt_x\ndelete table inet meshcrdt_x\n")
    assert 'comment "meshcrdt: ip_forward was off"' in script
    assert "flush ruleset" not in script
