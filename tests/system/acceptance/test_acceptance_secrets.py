"""No token and no secret is ever seen but in the key file: not by ps, log, status or a copy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_daemon import CLI, Daemon, call, local
from waiting import free_port, patience, until

from meshcrdt.trust.secret import format_secret

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KEY_FILE = "mesh.db.key"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Daemon, Daemon, str]]:
    """A founder; a joiner, detached, that took the token from standard input; the token."""
    founder, joiner = Daemon("founder", tmp_path), Daemon("joiner", tmp_path)
    port = free_port()
    try:
        founder.launch(*local(port), "--name", "founder", "--log-level", "debug")
        token = founder.token()
        options = [*local(free_port()), "--log-level", "debug", "--join-file", "-", "--detach"]
        command = [*CLI, "launch", "--state-dir", str(joiner.state_dir), f"127.0.0.1:{port}"]
        done = call([*command, *options], stdin=token + "\n", within_s=patience(15.0))
        assert done.code == 0, done
        assert token not in done.out + done.err
        yield founder, joiner, token
    finally:
        for daemon in (founder, joiner):
            # The joiner is nobody's child: it is ended by its own verb.
            daemon.run("stop", within_s=12.0)
            daemon.close()


def spellings(secret: bytes) -> list[bytes]:
    """The texts that would give a secret away."""
    return [
        secret,
        secret.hex().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.b32encode(secret).rstrip(b"=").lower(),
        format_secret(secret).encode(),
    ]


def test_neither_token_nor_secret_is_seen_anywhere(pair: tuple[Daemon, Daemon, str]) -> None:
    founder, joiner, token = pair
    until("they know each other", lambda: founder.status()["peers"], within_s=patience(5.0))
    kept = json.loads((founder.state_dir / KEY_FILE).read_text())
    assert kept["secret"] == json.loads((joiner.state_dir / KEY_FILE).read_text())["secret"]
    needles = [token.encode(), token.removeprefix("mct1-").encode()]
    for text in {kept["secret"], kept["seed"]}:
        needles += spellings(bytes.fromhex(text))
    places: dict[str, bytes] = {}
    for daemon in (founder, joiner):
        pid = int((daemon.state_dir / "lock").read_text())
        for kind in ("cmdline", "environ"):
            places[f"{kind} of {daemon.name}"] = Path(f"/proc/{pid}/{kind}").read_bytes()
        places[f"log of {daemon.name}"] = daemon.log().encode()
        for verb in (("status",), ("status", "--json"), ("ps",), ("dns-list", "--json")):
            places[f"{verb} of {daemon.name}"] = daemon.ok(*verb).encode()
        for path in daemon.state_dir.rglob("*"):
            if path.is_file() and path.name != KEY_FILE:
                places[str(path)] = path.read_bytes()
    assert any("mesh.db" in name for name in places)
    assert any("daemon.log" in name for name in places)
    for place, content in places.items():
        for needle in needles:
            assert needle not in content, f"a secret is in {place}"


def test_the_key_file_is_its_owners_and_one_that_is_not_is_refused(
    pair: tuple[Daemon, Daemon, str],
) -> None:
    founder, _, _ = pair
    key = founder.state_dir / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    founder.ok("stop", within_s=12.0)
    key.chmod(0o644)
    command = [*CLI, "launch", "--state-dir", str(founder.state_dir), "--log-level", "error"]
    result = call([*command, *local(free_port())])
    assert result.code == 1
    assert str(key) in result.line
    assert "0644" in result.line
    assert json.loads(key.read_text())["seed"] not in result.err


def test_a_launch_prints_a_token_to_a_terminal_only(pair: tuple[Daemon, Daemon, str]) -> None:
    founder, _, _ = pair
    assert "mct1-" not in founder.log()
    assert "meshcrdt token create" in founder.log()
