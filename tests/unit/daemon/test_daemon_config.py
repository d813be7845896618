"""Settings: which source wins, and that an error names its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshcrdt.daemon.config import Settings, load_settings
from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.options import OPTIONS


def load(
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    config_file: Path | None = None,
    *,
    root: bool = True,
) -> Settings:
    return load_settings(
        flags or {},
        environ=environ or {},
        config_file=None if config_file is None else str(config_file),
        root=root,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "meshcrdt.toml"


def test_flag_over_variable_over_file_over_default(config: Path) -> None:
    config.write_text('name = "file"\nmtu = 1300\nlog-level = "debug"\n')
    settings = load({"name": "flag"}, {"MESHCRDT_NAME": "var", "MESHCRDT_MTU": "1400"}, config)
    assert (settings.name, settings.of("name").origin) == ("flag", "--name")
    assert (settings.mtu, settings.of("mtu").origin) == (1400, "MESHCRDT_MTU")
    assert (settings.log_level, settings.of("log_level").origin) == (
        "debug",
        f"{config}: log_level",
    )
    assert settings.of("log_format").origin == "default"


def test_lists_and_switches_from_every_source(config: Path) -> None:
    config.write_text('listen = ["127.0.0.1:1", "tcp://[::1]:2"]\nno_discovery = true\n')
    settings = load({}, {"MESHCRDT_PEERS": "h1, h2:9"}, config)
    assert settings.listen == ("tcp://127.0.0.1:1", "tcp://[::1]:2")
    assert settings.peers == ("tcp://h1:6783", "tcp://h2:9")
    assert settings.no_discovery is True


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"MESHCRDT_MTU": "ten"}, "MESHCRDT_MTU: mtu 'ten'"),
        ({"MESHCRDT_IPALLOC_RANGE": "10.0.0.1/8"}, "MESHCRDT_IPALLOC_RANGE: range"),
        ({"MESHCRDT_INSECURE": "perhaps"}, "MESHCRDT_INSECURE"),
    ],
)
def test_a_bad_variable_is_named_and_exits_1(environ: dict[str, str], text: str) -> None:
    with pytest.raises(CommandError, match=text) as caught:
        load({}, environ)
    assert caught.value.code is ExitCode.FAILED


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("mtu = true", "not one value"),
        ("listen = 'x'", "not a list"),
        ("colour = 'red'", "unknown key 'colour'"),
        ("mtu = ", "is not TOML"),
        ("token = 'mct1-x'", "unknown key 'token'"),
    ],
)
def test_a_bad_file_is_named_and_exits_1(config: Path, content: str, text: str) -> None:
    config.write_text(content)
    with pytest.raises(CommandError, match=text) as caught:
        load({}, {}, config)
    assert str(config) in str(caught.value)
    assert caught.value.code is ExitCode.FAILED


def test_a_missing_file_is_named(config: Path) -> None:
    with pytest.raises(CommandError, match=r"meshcrdt\.toml cannot be read"):
        load({}, {}, config)


def test_flags_that_contradict_each_other_are_usage() -> None:
    with pytest.raises(CommandError, match="--no-dns and --dns-listen") as caught:
        load({"no_dns": True, "dns_listen": "127.0.0.1:5353"})
    assert caught.value.code is ExitCode.USAGE
    with pytest.raises(CommandError, match="MESHCRDT_NO_DNS") as caught:
        load({"dns_listen": "127.0.0.1:5353"}, {"MESHCRDT_NO_DNS": "1"})
    assert caught.value.code is ExitCode.FAILED


def test_the_dataplane_follows_who_runs_it() -> None:
    assert load(root=True).dataplane == "linux"
    assert load({}, {"HOME": "/h"}, root=False).dataplane == "none"
    with pytest.raises(CommandError, match="needs root") as caught:
        load({"dataplane": "linux"}, {"HOME": "/h"}, root=False)
    assert caught.value.code is ExitCode.FEATURE_OFF


def test_the_api_is_in_the_state_directory_when_one_is_given(tmp_path: Path) -> None:
    assert load({"state_dir": str(tmp_path)}).api == f"unix://{tmp_path}/api.sock"
    assert load().api == "unix:///run/meshcrdt/api.sock"
    assert load({"state_dir": "/d", "api": "unix:///a"}).api == "unix:///a"


def test_nothing_secret_is_an_option() -> None:
    names = [option.name for option in OPTIONS]
    assert "join_file" in names
    assert not any(word in name for name in names for word in ("secret", "token", "password"))
