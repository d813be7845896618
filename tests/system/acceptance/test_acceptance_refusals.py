"""Bad input: one clear line that names the value, the right exit code, and nothing changed."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance_daemon import CLI, Daemon, Result, call, local
from acceptance_hosts import figure, host_address
from untouched import settled, wrote_itself
from waiting import free_port, patience, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

REFUSED_S = 10.0
"""A launch whose token everyone refuses ends within this."""


def refused(state_dir: Path, *options: str, within_s: float = 8.0, stdin: str = "") -> Result:
    """Launch a daemon that has to end by itself."""
    command = [*CLI, "launch", "--state-dir", str(state_dir), "--log-level", "error", *options]
    return call(command, within_s=within_s, stdin=stdin)


Make = Callable[..., Daemon]


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Make]:
    made: list[Daemon] = []

    def make(name: str, *options: str, token: str | None = None) -> Daemon:
        daemon = Daemon(name, tmp_path)
        made.append(daemon)
        daemon.launch(*local(free_port()), "--name", name, *options, token=token)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon that refusals must not change."""
    daemon = Daemon("member", tmp_path_factory.mktemp("member"))
    try:
        port = free_port()
        daemon.launch(*local(port), "--name", "member")
        daemon.port = port
        until(
            "it has written itself down",
            lambda: wrote_itself(daemon.status()["digests"]),
            within_s=patience(10.0),
        )
        yield daemon
    finally:
        daemon.close()


def kept(daemon: Daemon) -> tuple[Any, ...]:
    """What no refused command may change."""
    status = daemon.status()
    shown = [status[name] for name in ("peer", "cluster", "state", "peers")]
    held = (daemon.ask("/v1/ipam"), daemon.ask("/v1/names"))
    return (*shown, settled(status["digests"]), *held)


def state_of(member: Daemon, name: str) -> str | None:
    """How a member sees another by name; None when it does not know it."""
    states = {peer["name"]: peer["state"] for peer in member.status()["peers"]}
    return states.get(name)


def leave(member: Daemon, joiner: Daemon) -> None:
    """Reset a joiner, and wait until the member saw it: what it compares is at rest again."""
    name = joiner.name
    until("it is a member", lambda: state_of(member, name) == "alive", within_s=patience(5.0))
    joiner.ok("reset")
    until("it has left", lambda: state_of(member, name) == "left", within_s=patience(5.0))


# --- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["file", "standard input"])
def test_a_garbled_token_is_refused_before_anything_is_made(tmp_path: Path, source: str) -> None:
    value, file = "mct1-notatokenatall", tmp_path / "token.txt"
    file.write_text(value)
    state = tmp_path / "state"
    where = str(file) if source == "file" else "-"
    result = refused(state, *local(free_port()), "127.0.0.1:1", "--join-file", where, stdin=value)
    assert result.code == 1
    assert (where if source == "file" else source) in result.line
    assert value not in result.err + result.out
    assert not state.exists()


def test_an_expired_token_ends_the_launch_and_the_right_one_joins_later(
    member: Daemon, daemons: Make, tmp_path: Path
) -> None:
    before = kept(member)
    made_at = time.time()
    token = member.token("--ttl", "1")
    until("it expires", lambda: time.time() > made_at + 2.5, within_s=5.0)
    file, state = tmp_path / "expired", tmp_path / "joiner"
    file.write_text(token)
    peer = f"127.0.0.1:{member.port}"
    result = refused(state, *local(free_port()), peer, "--join-file", str(file), within_s=REFUSED_S)
    assert result.code == 1
    assert str(file) in result.line
    assert "expired" in result.line
    figure(f"a refused token ends the launch after {result.seconds:.1f} s")
    hidden(token, result)
    assert kept(member) == before
    joiner = daemons("joiner", peer, token=member.token())
    assert joiner.status()["cluster"] == member.status()["cluster"]
    leave(member, joiner)


def test_another_clusters_token_ends_the_launch(
    member: Daemon, daemons: Make, tmp_path: Path
) -> None:
    other = daemons("other")
    token = other.token()
    other.ok("stop")
    file, state = tmp_path / "wrong", tmp_path / "stranger"
    file.write_text(token)
    before = kept(member)
    peer = f"127.0.0.1:{member.port}"
    result = refused(state, *local(free_port()), peer, "--join-file", str(file), within_s=REFUSED_S)
    assert result.code == 1
    assert str(file) in result.line
    assert peer in result.line
    hidden(token, result)
    assert kept(member) == before


def hidden(token: str, result: Result) -> None:
    assert token not in result.out + result.err
    assert token[-20:] not in result.out + result.err


# --- launching ---------------------------------------------------------------------------------


def test_a_port_in_use_is_named_and_decides_nothing(
    member: Daemon, daemons: Make, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        state = tmp_path / "late"
        result = refused(state, *local(port))
        assert result.code == 1
        assert str(port) in result.line
        assert "in use" in result.line
        for option in ("--http-addr", "--dns-listen"):
            result = refused(state, *local(free_port()), option, f"127.0.0.1:{port}")
            assert result.code == 1
            assert str(port) in result.line
    # No cluster was made on the way: the same directory can still join one.
    peer = f"127.0.0.1:{member.port}"
    late = daemons("late", peer, token=member.token())
    assert late.status()["cluster"] == member.status()["cluster"]
    leave(member, late)


def test_a_second_launch_on_the_same_directory_names_the_process(member: Daemon) -> None:
    before = kept(member)
    result = refused(member.state_dir, *local(free_port()))
    assert result.code == 1
    assert member.process is not None
    assert str(member.process.pid) in result.line
    assert kept(member) == before


def test_options_that_contradict_the_genesis_name_both_values(
    daemons: Make, member: Daemon, tmp_path: Path
) -> None:
    daemon = daemons("past", "--ipalloc-range", "10.77.0.0/16")
    cluster = daemon.status()["cluster"]
    daemon.ok("stop")
    result = refused(daemon.state_dir, *local(free_port()), "--ipalloc-range", "10.78.0.0/16")
    assert result.code == 1
    assert "10.77.0.0/16" in result.line
    assert "10.78.0.0/16" in result.line
    token = tmp_path / "token"
    token.write_text(member.token())
    result = refused(daemon.state_dir, *local(free_port()), "--join-file", str(token))
    assert result.code == 1
    assert cluster in result.line
    assert member.status()["cluster"] in result.line
    daemon.launch(*local(free_port()))
    assert daemon.status()["cluster"] == cluster
    assert daemon.status()["ipam"]["universes"][0]["cidr"] == "10.77.0.0/16"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (("--ipalloc-range", "10.32.0.0/33"), "10.32.0.0/33"),
        (("--ipalloc-range", "10.32.0.1/12"), "10.32.0.1/12"),
        (("--trusted-subnets", "everything"), "everything"),
        (("--listen", "carrier-pigeon://host:1"), "carrier-pigeon"),
        (("--listen", "tcp://127.0.0.1:99999"), "99999"),
        (("--dns-listen", "nowhere"), "nowhere"),
        (("--mtu", "12"), "12"),
        (("--name", "a\x07b"), r"\x07"),
        (("--dataplane", "magic"), "magic"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_read_is_a_usage_error(
    tmp_path: Path, options: tuple[str, ...], value: str
) -> None:
    state = tmp_path / "state"
    result = refused(state, *options)
    assert result.code == 2
    assert value in result.line
    assert not state.exists()


@pytest.mark.root
def test_a_range_that_hides_a_route_of_the_host_is_refused(cluster: Any) -> None:
    daemon = cluster.daemon_on(1)
    host = cluster.host(1)
    before = cluster.site.state(host)
    command = [*daemon.prefix, *CLI, "launch", "--state-dir", str(daemon.state_dir)]
    options = ["--dataplane", "linux", "--log-level", "error"]
    for given in ("198.51.100.0/24", "198.51.100.24/29"):
        for how in ([], ["--detach"]):
            result = call([*command, *options, *how, "--ipalloc-range", given])
            assert result.code == 1
            overlap = f"range {given} overlaps the host's route 198.51.100.16/28 on eth0"
            assert overlap in result.line
            assert cluster.site.state(host) == before
            assert not daemon.state_dir.exists()
    # Nothing was decided: another range founds the cluster.
    daemon.launch("--ipalloc-range", "10.50.0.0/16")
    assert daemon.status()["ipam"]["universes"][0]["cidr"] == "10.50.0.0/16"
    # The same for a joiner that learns the range from its cluster.
    joiner = cluster.daemon_on(2)
    cluster.site.inside(cluster.host(2), "ip", "addr", "add", "10.50.9.1/24", "dev", "eth0")
    before = cluster.site.state(cluster.host(2))
    joiner.launch("--log-level", "error", host_address(1), token=daemon.token(), wait=False)
    assert joiner.ended() == 1
    assert "range 10.50.0.0/16 overlaps the host's route 10.50.9.0/24 on eth0" in joiner.log()
    assert cluster.site.state(cluster.host(2)) == before


# --- verbs -------------------------------------------------------------------------------------


def test_an_unknown_peer_is_named(member: Daemon) -> None:
    before = kept(member)
    for peer in ("nobody", "192.0.2.99:6783", "abcdef123456"):
        result = member.run("forget", peer)
        assert result.code == 1
        assert peer in result.line
    assert kept(member) == before


@pytest.mark.parametrize(
    ("verb", "value"),
    [
        (("dns-add", "we\x07b", "192.0.2.1"), r"we\x07b"),
        (("dns-add", "we\nb", "192.0.2.1"), r"we\nb"),
        (("dns-remove", "\x1b[2J"), r"\x1b[2J"),
        (("dns-lookup", "\x7f"), r"\x7f"),
        (("attach", "netns:x", "--name", "a\x01"), r"a\x01"),
        (("allocate", "\x02id"), r"\x02id"),
        (("allocate", "id", "--subnet", "10.99.0.0"), "10.99.0.0"),
        (("claim", "id", "10.99.0.999"), "10.99.0.999"),
        (("put", "~directory", "key", "1"), "~directory"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_bad_argument_is_found_before_any_daemon_is_asked(
    member: Daemon, tmp_path: Path, verb: tuple[str, ...], value: str
) -> None:
    before = kept(member)
    result = member.run(*verb)
    assert result.code == 2
    assert value in result.line
    assert kept(member) == before
    nobody = Daemon("nobody", tmp_path)
    assert nobody.run(*verb).code == 2


def test_no_daemon_is_exit_5(tmp_path: Path) -> None:
    result = Daemon("nobody", tmp_path).run("status", "--json")
    assert result.code == 5
    assert str(tmp_path / "nobody" / "api.sock") in result.line
    assert result.out == ""


def test_attach_without_a_dataplane_is_exit_4(member: Daemon) -> None:
    result = member.run("attach", f"pid:{os.getpid()}")
    assert result.code == 4
    assert "--dataplane none" in result.line


def test_a_full_range_is_exhausted_and_says_which(daemons: Make) -> None:
    member = daemons("full", "--ipalloc-range", "10.99.0.0/28")
    held: dict[str, str] = {}
    number = 0
    while True:
        result = member.run("allocate", f"job{number}", "--json")
        outcome = json.loads(result.out)
        if outcome["outcome"] != "allocated":
            break
        held[f"job{number}"] = outcome["address"]
        number += 1
    assert outcome["outcome"] == "exhausted"
    assert result.code == 1
    assert "10.99.0.0/28" in outcome["reason"]
    assert "10.99.0.0/28" in result.line
    # All but the network's own address and its broadcast address.
    assert len(set(held.values())) == len(held) == 14
    before = kept(member)
    assert member.run("allocate", "one-more").code == 1
    assert kept(member) == before
    assert member.json("allocate", "job0")["address"] == held["job0"]
