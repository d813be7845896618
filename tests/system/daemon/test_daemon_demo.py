"""`make demo`: it tells its story and exits 0 only because its invariants held."""

from __future__ import annotations

import subprocess
import sys

import pytest

from meshcrdt.daemon.demo.account import Account

pytestmark = pytest.mark.system


@pytest.mark.timeout(280)
def test_the_demo_holds_its_invariants() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshcrdt.daemon.demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=270,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BROKEN" not in done.stdout
    for told in ("founded cluster", "splits", "heals", "no address is held twice"):
        assert told in done.stdout


def test_a_broken_invariant_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    account = Account()
    account.check("the sky is up", None)
    account.check("no address is held twice", "10.32.0.1 by two")
    assert account.verdict() == 1
    assert "10.32.0.1 by two" in capsys.readouterr().out
