"""Dataplanes are found by name: ours, and those that other tools install."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from meshcrdt.base import plugins
from meshcrdt.dataplane.model import DataplaneConfig
from meshcrdt.dataplane.none import NoDataplane
from meshcrdt.dataplane.registry import GROUP, known_dataplane, open_dataplane
from meshcrdt.errors import MissingExtra, UsageError

CONFIG = DataplaneConfig(universes=("10.32.0.0/12",), vni=1, bridge="b")


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    entry = EntryPoint(name, value, GROUP)
    monkeypatch.setattr(plugins, "_known", lambda group: {name: entry} if group == GROUP else {})


def test_an_unknown_name_is_refused_by_naming_the_known() -> None:
    for refused in (known_dataplane, lambda name: open_dataplane(name, CONFIG)):
        with pytest.raises(UsageError, match=r"magic.*linux, none"):
            refused("magic")


def test_ours_are_there() -> None:
    assert known_dataplane("linux") == "linux"
    plane = open_dataplane("none", CONFIG)
    assert isinstance(plane, NoDataplane)
    assert plane.config is CONFIG


def test_another_tool_replaces_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "theirs", "meshcrdt.dataplane.none:NoDataplane")
    assert known_dataplane("theirs") == "theirs"
    assert isinstance(open_dataplane("theirs", CONFIG), NoDataplane)


def test_one_that_lacks_something_is_known_and_says_what_at_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "theirs", "not_installed_anywhere:open")
    assert known_dataplane("theirs") == "theirs"
    with pytest.raises(MissingExtra, match="not_installed_anywhere"):
        open_dataplane("theirs", CONFIG)
