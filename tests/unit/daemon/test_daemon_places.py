"""Where things are by default, and who wins when several say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshcrdt.daemon import places


def test_root_and_others_have_their_own_defaults() -> None:
    user = {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/u/st", "HOME": "/home/u"}
    assert places.default_api({}, root=True) == "unix:///run/meshcrdt/api.sock"
    assert places.default_api(user, root=False) == "unix:///run/user/7/meshcrdt/api.sock"
    assert places.default_state_dir({}, root=True) == Path("/var/lib/meshcrdt")
    assert places.default_state_dir(user, root=False) == Path("/home/u/st/meshcrdt")


def test_a_host_without_a_login_session_uses_the_state_directory() -> None:
    environ = {"HOME": "/home/u"}
    assert places.default_api(environ, root=False) == (
        "unix:///home/u/.local/state/meshcrdt/api.sock"
    )


@pytest.mark.parametrize(
    ("api", "state_dir", "environ", "expected"),
    [
        ("/a.sock", "/d", {"MESHCRDT_API": "/b.sock"}, "unix:///a.sock"),
        (None, "/d", {"MESHCRDT_API": "/b.sock"}, "unix:///b.sock"),
        (None, "/d", {"MESHCRDT_STATE_DIR": "/e"}, "unix:///d/api.sock"),
        (None, None, {"MESHCRDT_STATE_DIR": "/e"}, "unix:///e/api.sock"),
        (None, None, {}, "unix:///run/meshcrdt/api.sock"),
        ("http://127.0.0.1:1234", None, {}, "http://127.0.0.1:1234"),
    ],
)
def test_order_of_api_addresses(
    api: str | None, state_dir: str | None, environ: dict[str, str], expected: str
) -> None:
    assert places.resolve_api(api, state_dir, environ, root=True) == expected


@pytest.mark.parametrize("text", ["", "nonsense", "unix://", "http://h", "https://h:1", "ftp://x/"])
def test_other_addresses_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="API address"):
        places.parse_api(text)


def test_a_relative_socket_path_becomes_absolute() -> None:
    assert places.parse_api("./x.sock") == f"unix://{Path.cwd() / 'x.sock'}"
