"""Fixtures of the acceptance: real hosts, real daemons, driven as operators' scripts do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent))

from acceptance_cluster import Cluster
from acceptance_hosts import FIGURES, Site, sweep, why_no_hosts


@pytest.fixture(scope="session")
def able() -> None:
    """Skip, with the reason, where hosts cannot be made."""
    reason = why_no_hosts()
    if reason is not None:
        pytest.skip(reason)
    sweep()


def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    site = Site()
    made = Cluster(site, tmp_path_factory.mktemp("site"))
    try:
        site.open()
        yield made
    finally:
        made.close()
        site.close()


@pytest.fixture
def cluster(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A site without hosts yet."""
    yield from _cluster(tmp_path_factory)


@pytest.fixture(scope="module")
def trio_of_hosts(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts with a named workload on each, shared by the tests of one file."""
    for made in _cluster(tmp_path_factory):
        made.form(1, 2, 3)
        for number in (1, 2, 3):
            made.attach(number, str(number))
        yield made


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what was measured."""
    if FIGURES:
        terminalreporter.section("acceptance: measured")
        for line in FIGURES:
            terminalreporter.write_line(line)
