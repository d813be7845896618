"""One daemon from launch to reset: exit codes, restarts and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plain_user import USER, as_user, why_no_user
from untouched import settled, wrote_itself

pytestmark = pytest.mark.system

VERB_COST_MAX = 12
"""Times a start of Python, which takes 10 to 12 ms of work where 150 ms were measured."""
DAEMONS_ONLY = {"trio", "cryptography", "starlette", "anycorn", "pyroute2", "dns", "sqlite3"}

STATUS_KEYS = {
    "peer",
    "name",
    "cluster",
    "version",
    "state",
    "minority",
    "peers",
    "connections",
    "ipam",
    "dns",
    "digests",
}


def test_status_is_the_object_of_the_contract(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    status = host.json("status")
    assert set(status) >= STATUS_KEYS
    assert re.fullmatch("[0-9a-f]{32}", status["peer"])
    assert re.fullmatch("[0-9a-f]{32}", status["cluster"])
    assert (status["name"], status["state"], status["minority"]) == ("n1", "ready", False)
    assert status["peers"] == []
    assert status["dns"]["domain"] == "mesh.internal."
    universe = status["ipam"]["universes"][0]
    assert universe["cidr"] == "10.32.0.0/12"
    assert set(universe) >= {"cidr", "owned", "free", "used"}
    assert set(status["digests"]) >= {"directory", "ipam", "names"}
    assert all(not name.startswith("~") for name in status["digests"])


def test_a_token_is_printed_to_terminals_only(make_host: Callable[..., Any]) -> None:
    done = make_host("n1").launch()
    assert done.returncode == 0
    assert "mct1-" not in done.stdout + done.stderr
    assert "meshcrdt token create" in done.stdout


def test_stop_ends_the_process_and_its_socket(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    pid = host.pid
    host.ok("stop")
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert not (host.state_dir / "api.sock").exists()
    assert host.log.count("info    stopping: 'stop' was asked of the API on its socket\n") == 1
    assert host.run("status").returncode == 5


def test_a_second_launch_is_refused_by_pid(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    line = host.refused("launch", "--dataplane", "none", "--listen", "127.0.0.1:0")
    assert f"in use by process {host.pid}" in line
    assert host.json("status")["state"] == "ready"


def test_a_killed_daemon_comes_back_as_itself(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    before = host.json("status")
    address = host.json("allocate", "web")["address"]
    host.ok("dns-add", "web", address)
    host.ok("put", "acme/things", "k", '{"v": [1, null]}')
    host.kill()
    assert host.run("status").returncode == 5
    host.ready("--resume")
    after = host.json("status")
    assert (after["peer"], after["cluster"]) == (before["peer"], before["cluster"])
    assert after["epoch"] != before["epoch"]
    assert host.json("lookup", "web") == {"id": "web", "addresses": [address]}
    assert host.json("allocate", "web")["address"] == address
    assert host.json("dns-lookup", "WEB")["addresses"] == [address.partition("/")[0]]
    assert host.json("get", "acme/things", "k") == {"value": {"v": [1, None]}}


def test_a_restart_keeps_what_workloads_depend_on(make_host: Callable[..., Any]) -> None:
    given = ("--trusted-subnets", "192.0.2.0/24", "--mtu", "1400", "--dns-domain", "lab.example")
    host = make_host("n1").ready(*given)
    assert "trusted subnets 192.0.2.0/24 (--trusted-subnets)" in host.log
    host.kill()
    host.ready()
    status = host.json("status")
    assert status["dataplane"]["trusted"] == ["192.0.2.0/24"]
    assert status["dns"]["domain"] == "lab.example."
    assert f"mtu 1400 (remembered in {host.state_dir})" in host.log
    host.ok("stop")
    refused = host.launch("--trusted-subnets", "198.51.100.0/24", "--ipalloc-range", "10.9.0.0/16")
    assert refused.returncode == 1
    host.ready()
    assert host.json("status")["dataplane"]["trusted"] == ["192.0.2.0/24"], "it was refused"
    host.ok("stop")
    host.ready("--trusted-subnets", "198.51.100.0/24")
    assert host.json("status")["dataplane"]["trusted"] == ["198.51.100.0/24"]
    host.ok("reset")
    assert not host.state_dir.exists(), "an earlier launch had made it"


def test_detached_failure_is_the_daemons_own_line(make_host: Callable[..., Any]) -> None:
    first, second = make_host("n1").ready(), make_host("n2")
    done = second.launch("--listen", first.url)
    assert done.returncode == 1
    assert done.stderr == (
        f"meshcrdt: cannot listen on tcp://{first.url}: Address already in use\n"
    )
    assert not second.state_dir.exists(), "a launch that failed changed nothing"


def test_sigterm_ends_a_foreground_daemon_with_0(make_host: Callable[..., Any]) -> None:
    host = make_host("n1")
    command = [sys.executable, "-m", "meshcrdt", "launch", "--state-dir", str(host.state_dir)]
    command += ["--dataplane", "none", "--listen", host.url, "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        host.pids.append(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"token create" in process.stdout.readline()
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        lines = process.stderr.read().splitlines()
        assert process.wait() == 0
        assert time.monotonic() - begun < 10
    messages = [json.loads(line)["message"] for line in lines]
    assert messages.count("stopping: SIGTERM was received") == 1
    assert all(json.loads(line)["level"] in ("info", "warning") for line in lines)


def test_reset_leaves_nothing(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    old = host.json("status")["cluster"]
    host.ok("reset")
    assert not host.state_dir.exists(), "the launch had made it"
    assert host.run("status").returncode == 5
    host.ready()
    assert host.json("status")["cluster"] != old


def test_a_reset_that_cannot_remove_something_says_so(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    # A directory in place of a file is what even root cannot unlink.
    (host.state_dir / "api.token").mkdir()
    line = host.refused("reset")
    assert f"{host.state_dir}/api.token: Is a directory" in line
    assert not (host.state_dir / "mesh.db").exists()
    assert f"{host.state_dir}/api.token" in host.refused("reset", "--force")
    (host.state_dir / "api.token").rmdir()
    host.ok("reset", "--force")


def test_reset_without_a_daemon_needs_force(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    (host.state_dir / "mine.txt").write_text("not the daemon's")
    host.kill()
    assert "--force" in host.refused("reset", code=5)
    assert (host.state_dir / "mesh.db").exists()
    host.ok("reset", "--force")
    assert os.listdir(host.state_dir) == ["mine.txt"]


def test_insecure_is_shown_and_has_no_token(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready("--insecure")
    assert host.json("status")["encryption"] is False
    assert "off (--insecure)" in host.ok("status")
    assert "--insecure" in host.refused("token", "create", code=4)
    host.ok("stop")
    done = host.launch()
    assert done.returncode == 1
    for text in (str(host.state_dir), "without a secret", "insecure", "encrypted"):
        assert text in done.stderr
    other = make_host("n2").ready()
    other.ok("stop")
    done = other.launch("--insecure")
    assert done.returncode == 1
    for text in (str(other.state_dir), "with a secret", "insecure", "encrypted"):
        assert text in done.stderr


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    host.kill()
    assert (host.state_dir / "api.sock").exists()
    host.ready()
    other = make_host("n2")
    done = other.launch("--api", f"unix://{host.state_dir}/api.sock")
    assert done.returncode == 1
    assert "in use by another daemon" in done.stderr
    assert host.json("status")["state"] == "ready"


def test_a_missing_socket_directory_is_made_private(make_host: Callable[..., Any]) -> None:
    host = make_host("n1")
    api = host.state_dir.parent / "run" / "deep" / "a.sock"
    host.ready("--api", str(api))
    assert api.parent.stat().st_mode & 0o777 == 0o750
    assert api.stat().st_mode & 0o777 == 0o660
    assert host.json("status", "--api", f"unix://{api}")["name"] == "n1"


def test_without_root_the_defaults_are_said(tmp_path: Path) -> None:
    reason = why_no_user()
    if reason is not None:
        pytest.skip(reason)
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        for path in (home, *home.parents[:3]):
            path.chmod(0o755)
        shutil.chown(home, USER)
    environ = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "meshcrdt", "launch", "--listen", "127.0.0.1:0", "--detach"]
    done = subprocess.run(
        [*as_user(), *command],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=40,
    )
    lock = home / "state" / "meshcrdt" / "lock"
    try:
        assert done.returncode == 0, done.stderr
        assert "not root: --dataplane none" in done.stdout
        assert f"not root: the state directory is {home}/state/meshcrdt" in done.stdout
    finally:
        if lock.exists():
            os.kill(int(lock.read_text()), signal.SIGKILL)


def cpu_s(command: list[str]) -> float:
    """Return what a command costs in CPU time, at best: load of others only adds to it."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=40)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def test_a_verb_costs_little_more_than_python_itself(make_host: Callable[..., Any]) -> None:
    """Promised are 150 ms on a quiet machine; this is what any machine can measure of that."""
    host = make_host("n1").ready()
    verb = [sys.executable, "-m", "meshcrdt", "status", "--json"]
    spent = cpu_s([*verb, "--state-dir", str(host.state_dir)])
    assert spent < VERB_COST_MAX * cpu_s([sys.executable, "-c", "pass"])


def test_a_verb_loads_nothing_that_only_a_daemon_needs(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready()
    script = f"""
import sys
from meshcrdt.daemon.cli import main
sys.argv = ["meshcrdt", "status", "--json", "--state-dir", {str(host.state_dir)!r}]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=40
    )
    assert json.loads(done.stdout)["state"] == "ready", done.stderr
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "meshcrdt" in loaded
    assert loaded & DAEMONS_ONLY == set()


REFUSED: list[tuple[list[str], int, str]] = [
    (["forget", "nobody"], 1, "'nobody'"),
    (["lookup", "nobody"], 1, "'nobody'"),
    (["dns-lookup", "nobody"], 1, "nobody"),
    (["get", "acme/things", "nothing"], 1, "'nothing'"),
    (["claim", "a", "192.0.2.1"], 1, "192.0.2.1"),
    (["allocate", "a", "--subnet", "192.0.2.0/24"], 1, "192.0.2.0/24"),
    (["dns-add", "bad\x07name", "10.32.0.1"], 2, "bad\\x07name"),
    (["attach", "netns:/run/netns/w"], 4, "--dataplane none"),
    (["detach", "netns:/run/netns/w"], 4, "--dataplane none"),
    (["expose"], 4, "--dataplane none"),
    (["put", "names", "k", "v"], 2, "'names'"),
]


def test_one_line_the_right_code_and_nothing_changed(
    make_host: Callable[..., Any], wait_until: Callable[..., float]
) -> None:
    host = make_host("n1").ready()

    def digests() -> dict[str, str]:
        found: dict[str, str] = host.json("status")["digests"]
        return found

    wait_until(lambda: wrote_itself(digests()), "it has written itself down")
    before = (settled(digests()), host.json("ps"))
    for arguments, code, text in REFUSED:
        assert text in host.refused(*arguments, code=code), arguments
    assert (settled(digests()), host.json("ps")) == before


def test_a_full_range_says_so_in_json_too(make_host: Callable[..., Any]) -> None:
    host = make_host("n1").ready("--ipalloc-range", "10.77.0.0/30")
    held = {host.json("allocate", f"w{n}")["address"] for n in range(2)}
    assert held == {"10.77.0.1/30", "10.77.0.2/30"}
    done = host.run("allocate", "w2", "--json", "--timeout", "1")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["outcome"] == "exhausted"
    assert "10.77.0.0/30" in outcome["reason"]
    assert "10.77.0.0/30" in done.stderr
    refused = host.run("claim", "w2", "10.77.0.1", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["holder"] in ("w0", "w1")


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda path: path.write_text("a file"), "is not a directory"),
        (lambda path: path.mkdir(), None),
    ],
)
def test_a_state_directory_that_cannot_be_used(
    make_host: Callable[..., Any], break_it: Callable[[Path], None], text: str | None
) -> None:
    host = make_host("n1")
    break_it(host.state_dir)
    if text is None:
        (host.state_dir / "mesh.db").write_bytes(b"this is no database" * 100)
        text = "mesh.db"
    done = host.launch()
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_watch_is_json_by_the_line(
    make_host: Callable[..., Any], wait_until: Callable[..., float]
) -> None:
    host = make_host("n1").ready()
    host.ok("put", "c", "before", "1")
    out = host.state_dir.parent / "watch.out"
    command = [sys.executable, "-m", "meshcrdt", "watch", "c", "--json"]
    with (
        out.open("wb") as stream,
        subprocess.Popen(
            [*command, "--state-dir", str(host.state_dir)], stdout=stream, stderr=subprocess.PIPE
        ) as watch,
    ):
        wait_until(lambda: out.stat().st_size > 0, "the snapshot came")
        host.ok("put", "c", "sl/ash %", "true")
        host.ok("delete", "c", "before")
        wait_until(lambda: len(out.read_text().splitlines()) == 3, "both changes came")
        host.ok("stop")
        assert watch.wait(timeout=20) == 1
        assert watch.stderr is not None
        assert watch.stderr.read().count(b"\n") == 1
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({event.pop("token") for event in events}) == 3
    assert events == [
        {"kind": "snapshot", "entries": {"before": 1}},
        {"kind": "change", "key": "sl/ash %", "value": True},
        {"kind": "change", "key": "before", "absent": True},
    ]


def test_a_watch_is_resumed_after_a_token(
    make_host: Callable[..., Any], wait_until: Callable[..., float]
) -> None:
    host = make_host("n1").ready()
    host.ok("put", "c", "before", "1")
    out = host.state_dir.parent / "watch.out"
    command = [sys.executable, "-m", "meshcrdt", "watch", "c", "--json"]
    command += ["--state-dir", str(host.state_dir)]

    def watched(*more: str) -> dict[str, Any]:
        with out.open("wb") as stream, subprocess.Popen([*command, *more], stdout=stream) as watch:
            try:
                wait_until(lambda: out.read_bytes().endswith(b"\n"), "the first event came")
            finally:
                watch.kill()
        first: dict[str, Any] = json.loads(out.read_text().splitlines()[0])
        return first

    token = watched()["token"]
    host.ok("put", "c", "since", "2")
    event = watched("--resume", token)
    assert event.pop("token") != token
    assert event == {"kind": "change", "key": "since", "value": 2}
    refused = subprocess.run(
        [*command, "--resume", "nothing"], check=False, capture_output=True, timeout=60
    )
    assert refused.returncode != 0
    assert b"resume is not the token of an event" in refused.stderr
    assert refused.stderr.count(b"\n") == 1
