"""Several daemons: joining, refusing, and being one cluster over a middle man."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system

Make = Callable[..., Any]
Wait = Callable[..., float]


def alive(host: Any) -> int:
    return sum(peer["state"] == "alive" for peer in host.json("status")["peers"])


def digests(*hosts: Any) -> list[dict[str, str]]:
    return [host.json("status")["digests"] for host in hosts]


def test_three_daemons_are_one_cluster(make_host: Make, wait_until: Wait) -> None:
    one = make_host("n1").ready()
    token = one.token()
    two = make_host("n2").ready(one.url, token=token)
    three = make_host("n3").ready(one.url, token=token)
    hosts = (one, two, three)
    wait_until(lambda: all(alive(host) == 2 for host in hosts), "all see all")
    assert len({host.json("status")["cluster"] for host in hosts}) == 1
    given = [host.json("allocate", "same-id")["address"] for host in hosts]
    assert len(set(given)) == 3, "an id belongs to the node that is asked"
    for host, address in zip(hosts, given, strict=True):
        host.ok("dns-add", "everyone", address)
        host.ok("put", "c", host.name, json.dumps({"from": host.name}))
    wait_until(lambda: len({json.dumps(d) for d in digests(*hosts)}) == 1, "equal digests")
    for host in hosts:
        found = host.json("dns-lookup", "everyone")["addresses"]
        assert sorted(found) == sorted(a.partition("/")[0] for a in given)
        assert set(host.json("get", "c")["entries"]) == {"n1", "n2", "n3"}
        status = host.json("status")
        assert all(c["encrypted"] for c in status["connections"] if c["state"] == "established")
    two.ok("dns-remove", "everyone")
    gone = given[1].partition("/")[0]
    wait_until(
        lambda: gone not in one.json("dns-lookup", "everyone")["addresses"], "its name is gone"
    )


def test_a_restarted_member_needs_neither_peer_nor_token(make_host: Make, wait_until: Wait) -> None:
    one = make_host("n1").ready()
    two = make_host("n2").ready(one.url, token=one.token())
    wait_until(lambda: alive(one) == 1, "joined")
    identity = two.json("status")["peer"]
    two.kill()
    wait_until(lambda: alive(one) == 0, "noticed")
    two.ready()
    wait_until(lambda: alive(two) == 1 and alive(one) == 1, "back")
    assert two.json("status")["peer"] == identity


def test_who_resets_has_left(make_host: Make, wait_until: Wait) -> None:
    one = make_host("n1").ready()
    two = make_host("n2").ready(one.url, token=one.token())
    wait_until(lambda: alive(one) == 1, "joined")
    two.ok("dns-add", "mine", "10.32.9.9")
    wait_until(lambda: one.run("dns-lookup", "mine").returncode == 0, "its name is known")
    two.ok("reset")
    wait_until(lambda: one.json("status")["peers"][0]["state"] == "left", "it has left")
    assert one.run("dns-lookup", "mine").returncode == 1


def test_a_line_of_three_is_one_cluster_through_the_middle(
    make_host: Make, wait_until: Wait
) -> None:
    """1-2-3 with no path 1-3: nobody discovers, and each knows only its neighbour."""
    one = make_host("n1").ready("--no-discovery")
    token = one.token()
    two = make_host("n2").ready("--no-discovery", one.url, token=token)
    # The token of 1 names the address of 1, and stays no way there.
    three = make_host("n3").ready("--no-discovery", two.url, token=token)
    hosts = (one, two, three)
    wait_until(lambda: all(alive(host) == 2 for host in hosts), "all know all")
    linked = {c["peer"] for c in one.json("status")["connections"] if c["state"] == "established"}
    assert three.json("status")["peer"] not in linked, "only what was named is dialled"
    three.ok("dns-add", "far", three.json("allocate", "far")["address"])
    wait_until(lambda: one.run("dns-lookup", "far").returncode == 0, "names pass the middle")
    assert one.json("allocate", "w")["address"] != three.json("allocate", "w")["address"]


def test_a_token_of_another_cluster_is_refused_by_its_source(
    make_host: Make, tmp_path: Any
) -> None:
    one, other = make_host("n1").ready(), make_host("x1").ready("--advertise", "127.0.0.1:1")
    source = tmp_path / "the-token"
    source.write_text(other.token())
    begun = time.monotonic()
    two = make_host("n2")
    done = two.launch(one.url, "--join-file", str(source))
    assert done.returncode == 1
    assert not two.state_dir.exists(), "a launch that was refused changed nothing"
    assert str(source) in done.stderr
    assert "mct1-" not in done.stderr
    assert source.read_text() not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begun < 20, "10 s on a quiet machine"


def test_an_expired_token_is_refused(make_host: Make) -> None:
    one, two = make_host("n1").ready(), make_host("n2")
    token = one.ok("token", "create", "--ttl", "1").strip()
    time.sleep(1.2)
    done = two.launch(one.url, token=token)
    assert done.returncode == 1
    assert "standard input" in done.stderr
    assert "expired" in done.stderr
    two.ready(one.url, token=one.token())


@pytest.mark.parametrize("content", ["", "mct1-garbage", "secret words", "\x00\xff", "mct1-" * 4])
def test_what_is_no_token_is_named_by_its_source(
    make_host: Make, tmp_path: Any, content: str
) -> None:
    source = tmp_path / "file"
    source.write_text(content, encoding="latin-1")
    done = make_host("n2").launch("127.0.0.1:1", "--join-file", str(source))
    assert done.returncode == 1
    assert str(source) in done.stderr
    assert content == "" or content not in done.stderr


def test_a_peer_without_a_token_is_no_way_in(make_host: Make) -> None:
    one = make_host("n1").ready()
    two = make_host("n2")
    two.state_dir.mkdir()
    (two.state_dir / "mine.txt").touch()
    done = two.launch(one.url)
    assert done.returncode == 1
    assert [path.name for path in two.state_dir.iterdir()] == ["mine.txt"]
    assert "token" in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_clusters_refuse_each_other_by_name_and_go_on(
    make_host: Make, wait_until: Wait
) -> None:
    one, other = make_host("n1").ready(), make_host("x1").ready()
    ids = [host.json("status")["cluster"] for host in (one, other)]
    one.ok("connect", other.url)
    other.ok("connect", one.url)
    for host in (one, other):
        wait_until(lambda host=host: all(c[:16] in host.log for c in ids), "both ids are named")
        failed = [c for c in host.json("status")["connections"] if c["state"] != "established"]
        assert failed
        assert failed[0]["reason"]
        assert host.json("allocate", "w")["outcome"] == "allocated"
        assert host.json("status")["state"] == "ready"


def test_an_option_that_contradicts_the_cluster_names_both_values(make_host: Make) -> None:
    one = make_host("n1").ready("--ipalloc-range", "10.50.0.0/16")
    one.ok("stop")
    done = one.launch("--ipalloc-range", "10.51.0.0/16")
    assert done.returncode == 1
    assert "10.51.0.0/16" in done.stderr
    assert "10.50.0.0/16" in done.stderr
    one.ready("--ipalloc-range", "10.50.0.0/16")
    two = make_host("n2")
    done = two.launch(one.url, "--ipalloc-range", "10.52.0.0/16", token=one.token())
    assert done.returncode == 1
    assert "10.52.0.0/16" in done.stderr
    assert "10.50.0.0/16" in done.stderr


def test_two_daemons_on_one_host_do_not_disturb_each_other(make_host: Make) -> None:
    one, other = make_host("n1").ready(), make_host("n2").ready()
    one.ok("put", "c", "k", "1")
    assert other.json("get", "c")["entries"] == {}
    other.ok("stop")
    assert one.json("get", "c")["entries"] == {"k": 1}


def test_the_default_subnet_is_where_addresses_come_from(make_host: Make) -> None:
    one = make_host("n1").ready(
        "--ipalloc-range", "10.50.0.0/16", "--ipalloc-default-subnet", "10.50.7.0/24"
    )
    assert one.json("allocate", "w")["address"].startswith("10.50.7.")
    assert one.json("allocate", "w")["address"].endswith("/24")
    done = make_host("n2").launch(
        "--ipalloc-range", "10.50.0.0/16", "--ipalloc-default-subnet", "10.60.0.0/24"
    )
    assert done.returncode == 1
    assert "10.60.0.0/24" in done.stderr
