"""What is removed comes back, what is reset is gone, and a restart touches nothing."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from meshcrdt.dataplane.mac import mac_of
from meshcrdt.dataplane.namespaces import resolve_target

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]


def mtus(world: Any, host: str, workload: str) -> dict[str, int]:
    """Return the MTU of every device that carries workload traffic on one host."""
    found = {}
    for where in (host, f"{world.prefix}{workload}"):
        for link in json.loads(world.run("ip", "-n", where, "-j", "link")):
            if link["ifname"].startswith(("meshcrdt", "mc", "ethmc")):
                found[link["ifname"]] = link["mtu"]
    return found


def test_a_process_is_a_target_and_its_end_is_noticed(world: Any) -> None:
    host = world.host(1).start()
    holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
    world.streams.append(holder)
    own = os.stat("/proc/self/ns/net").st_ino
    path = f"/proc/{holder.pid}/ns/net"
    world.eventually(lambda: os.stat(path).st_ino != own, "the process has its own namespace")
    target = resolve_target(f"pid:{holder.pid}")
    want = world.desired(1, others=[])
    want["ports"][0] |= {"namespace": target.path, "identity": target.identity}
    report = host.ask({"desired": want})
    assert (report["errors"], report["gone"]) == ([], [])
    assert world.reaches("h1", "10.32.0.11")
    holder.kill()
    holder.wait()
    world.eventually(lambda: host.ask({"desired": want})["gone"] == ["w1"], "w1 is gone")


def test_what_somebody_removes_comes_back(world: Any) -> None:
    host, _ = world.build(2, exposure="outside")
    want = world.desired(1, others=[2], exposure="outside")
    names = [link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))]
    vxlan = next(name for name in names if name.startswith("meshcrdt-vx"))
    outside = next(
        name for name in names if name.startswith("mc") and "-" not in name and name != "meshcrdt"
    )
    inside = ["ip", "-n", f"{world.prefix}w1"]
    mac = mac_of("10.32.0.12")
    damages = [
        ["ip", "-n", host.name, "link", "del", "meshcrdt"],
        ["ip", "-n", host.name, "link", "del", vxlan],
        ["ip", "-n", host.name, "link", "del", outside],
        ["ip", "-n", host.name, "link", "set", "meshcrdt", "down"],
        ["ip", "-n", host.name, "link", "set", vxlan, "nomaster"],
        ["ip", "-n", host.name, "addr", "flush", "dev", "meshcrdt"],
        ["ip", "-n", host.name, "neigh", "flush", "dev", "meshcrdt", "nud", "permanent"],
        ["bridge", "-n", host.name, "fdb", "del", mac, "dev", vxlan, "self"],
        ["bridge", "-n", host.name, "fdb", "del", mac, "dev", vxlan, "master"],
        ["bridge", "-n", host.name, "link", "set", "dev", vxlan, "neigh_suppress", "off"],
        ["ip", "netns", "exec", host.name, "nft", "flush", "ruleset"],
        ["ip", "-n", host.name, "link", "set", "meshcrdt", "mtu", "1200"],
        ["ip", "-n", host.name, "link", "set", vxlan, "mtu", "1200"],
        ["ip", "-n", host.name, "link", "set", outside, "mtu", "1200"],
        [*inside, "link", "set", "ethmc0", "mtu", "1200"],
        [*inside, "link", "del", "ethmc0"],
        [*inside, "link", "set", "ethmc0", "down"],
        [*inside, "addr", "flush", "dev", "ethmc0", "scope", "global"],
        [*inside, "route", "del", "default"],
    ]
    for damage in damages:
        world.run(*damage)
        world.eventually(
            lambda: host.ask({"plan": want})["plan"] in ([], ["SetRules"]), str(damage)
        )
        assert world.reaches("w1", "10.32.0.12"), damage
    assert host.run("nft", "list", "ruleset").count("masquerade") == 4
    assert set(mtus(world, host.name, "w1").values()) == {1450}


def test_the_mtu_follows_the_underlay(world: Any) -> None:
    one, two = world.build(2, mtu=1400)
    for host in (one, two):
        found = mtus(world, host.name, f"w{host.number}")
        assert len(found) >= 4, found
        assert set(found.values()) == {1350}, found
    # 1,350 bytes pass in one piece, one more does not.
    whole = ["-M", "do", "-s"]
    assert world.reaches("w1", "10.32.0.12", *whole, "1322")
    assert not world.reaches("w1", "10.32.0.12", *whole, "1323")
    one.run("ip", "link", "set", "eth0", "mtu", "1350")
    report = one.ask({"desired": world.desired(1, others=[2])})
    assert (report["errors"], report["mtu"]) == ([], 1300)
    assert set(mtus(world, one.name, "w1").values()) == {1300}
    assert world.reaches("w1", "10.32.0.12", *whole, "1272")


def test_reset_leaves_the_host_as_it_was(world: Any) -> None:
    host = world.host(1)
    world.namespace("w1")
    before = host.state()
    host.start()
    host.ask({"desired": world.desired(1, others=[2], exposure="outside")})
    assert host.state() != before
    # Also when somebody removed the note of what to put back.
    host.run("nft", "flush", "ruleset")
    assert host.ask({"reset": True}) == {"reset": True}
    assert host.state() == before
    assert "ethmc0" not in world.run("ip", "-n", f"{world.prefix}w1", "link")


def test_hidden_again_puts_forwarding_back(world: Any) -> None:
    host = world.host(1)
    world.namespace("w1")
    host.start()
    host.ask({"desired": world.desired(1, others=[], exposure="outside")})
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    host.kill()
    host.start()
    report = host.ask({"desired": world.desired(1, others=[], exposure="host")})
    assert report["errors"] == []
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "0"
    assert "masquerade" not in host.run("nft", "list", "ruleset")
    assert world.run("ip", "-n", f"{world.prefix}w1", "route", "show", "default") == ""


def test_a_killed_dataplane_keeps_traffic_and_a_new_one_touches_nothing(world: Any) -> None:
    host, _ = world.build(2)
    where = f"{world.prefix}w"
    size = str(4 * 1024 * 1024)
    server = world.stream(f"{where}2", "serve", "10.32.0.12", "7000", size, awaited="listening")
    # 64 pauses of 30 ms: the transfer lasts over the kill and the restart.
    client = world.stream(
        f"{where}1", "send", "10.32.0.12", "7000", size, "0.03", awaited="connected"
    )
    host.kill()
    host.start()
    want = world.desired(1, others=[2])
    assert host.ask({"plan": want})["plan"] == ["SetRules"], "rules alone are set anew"
    assert host.ask({"desired": want})["errors"] == []
    assert client.wait(30) == 0
    assert server.wait(30) == 0


def test_a_vanished_namespace_is_reported_gone(world: Any) -> None:
    host, _ = world.build(2)
    world.run("ip", "netns", "del", f"{world.prefix}w1")
    want = world.desired(1, others=[2])
    world.eventually(
        lambda: (
            host.ask({"plan": want})["plan"] is not None
            and any(report["gone"] == ["w1"] for report in host.watched)
        ),
        "the watch says that w1 is gone",
    )
    assert host.ask({"desired": want})["gone"] == ["w1"]
    report = host.ask({"desired": {**want, "ports": []}})
    assert (report["gone"], report["errors"]) == ([], [])


def test_another_namespace_under_the_same_path_does_not_go_with_the_first(world: Any) -> None:
    host = world.host(1).start()
    name = world.namespace("w1")
    path = f"/run/netns/{name}"
    want = world.desired(1, others=[])
    want["ports"][0] |= {"identity": resolve_target(f"netns:{path}").identity}
    assert host.ask({"desired": want})["errors"] == []
    held = os.open(path, os.O_RDONLY)  # otherwise the kernel may give its number again
    try:
        world.run("ip", "netns", "del", name)
        world.run("ip", "netns", "add", name)
        identity = resolve_target(f"netns:{path}").identity
        later = {**world.port(2), "namespace": path, "identity": identity}
        report = host.ask({"desired": {**want, "ports": [*want["ports"], later]}})
        assert (report["errors"], report["gone"]) == ([], ["w1"])
        assert world.reaches("h1", "10.32.0.12")
    finally:
        os.close(held)


def test_two_dataplanes_on_one_host_do_not_disturb_each_other(world: Any) -> None:
    host, _ = world.build(2)
    other = object.__new__(type(host))
    other.__dict__.update(vars(host), process=None, watched=[])
    world.hosts.append(other)
    world.namespace("w3")
    other.start(bridge="second", vni=43, universes=["10.64.0.0/16"])
    third = {
        "workload": "w1",
        "namespace": f"/run/netns/{world.prefix}w3",
        "addresses": ["10.64.0.1/16"],
    }
    want = {"ports": [third], "gateway": {"addresses": ["10.64.0.254/16"]}}
    assert other.ask({"desired": want})["errors"] == []
    assert world.reaches("w3", "10.64.0.254")
    assert world.reaches("w1", "10.32.0.12")
    assert other.ask({"reset": True}) == {"reset": True}
    assert world.reaches("w1", "10.32.0.12")
    assert host.ask({"plan": world.desired(1, others=[2])})["plan"] == ["SetRules"]


def test_a_taken_interface_name_is_named(world: Any) -> None:
    host = world.host(1).start()
    name = world.namespace("w1")
    world.run("ip", "-n", name, "link", "add", "ethmc0", "type", "bridge")
    report = host.ask({"desired": world.desired(1, others=[])})
    assert report["errors"][0] == f"namespace /run/netns/{name} already has an interface ethmc0"
