"""When a launch gives up, and that a token's source is named and its value never."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import trio

from meshcrdt.daemon.context import Control
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.joining import (
    give_up_when_refused,
    name_source,
    read_token,
    refusal,
    until_ready,
)
from meshcrdt.daemon.observer import DialEnd, Observer
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node.events import DialFailed
from meshcrdt.trust.token import format_token, make_token


@pytest.fixture
def token() -> str:
    made = make_token(
        b"s" * 32, token_id=b"i" * 8, uses=1, expiry_s=2_000_000_000, genesis=b"g" * 32
    )
    return format_token(made)


def test_a_token_comes_from_a_file_or_standard_input(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t"
    path.write_text(f"  {token}\n\n")
    assert read_token(str(path)) == token
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(token.encode())))
    assert read_token("-") == token


def test_an_altered_token_is_named_by_its_source(tmp_path: Path, token: str) -> None:
    path = tmp_path / "t"
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")
    path.write_text(altered)
    with pytest.raises(CommandError, match=str(path)) as caught:
        read_token(str(path))
    assert altered not in str(caught.value)
    assert altered[6:] not in str(caught.value)


def test_the_source_is_put_into_what_the_mesh_says() -> None:
    assert name_source("the token was refused: x", "/t") == "the token from /t was refused: x"
    assert name_source("the token was refused", "-") == "the token from standard input was refused"
    assert name_source("ranges differ", "/t") == "ranges differ"
    assert name_source("the token is late", None) == "the token is late"


def test_silence_is_no_refusal() -> None:
    assert refusal({}) is None
    assert refusal({"tcp://a": DialEnd(False, "nobody answers")}) is None
    ends = {"tcp://a": DialEnd(False, "nobody answers"), "tcp://b": DialEnd(True, "other cluster")}
    assert refusal(ends) == "tcp://b: other cluster"


async def test_a_launch_ends_when_all_who_answer_refuse(autojump_clock: trio.abc.Clock) -> None:
    observer, control = Observer(), Control(Path("/lock"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: give_up_when_refused(observer, control, source="/t"))
        await trio.sleep(30)
        assert not control.stopping.is_set(), "it keeps trying while nobody answers"
        begun = trio.current_time()
        event = DialFailed("tcp://a", "other cluster", True)
        observer.before_handle(event, 0.0)
        observer.after_handle(event, [], 0.0)
        await control.stopping.wait()
        assert trio.current_time() - begun < 10
    assert control.failure is not None
    assert "/t" in str(control.failure)
    assert "other cluster" in str(control.failure)


async def test_an_answer_that_lets_in_comes_before_the_end(
    autojump_clock: trio.abc.Clock,
) -> None:
    observer, control = Observer(), Control(Path("/lock"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: give_up_when_refused(observer, control, source=None))
        event = DialFailed("tcp://a", "busy", True)
        observer.before_handle(event, 0.0)
        observer.after_handle(event, [], 0.0)
        await trio.sleep(1)
        observer.before_handle(DialFailed("tcp://a", "gone", False), 0.0)
        await trio.sleep(30)
        assert not control.stopping.is_set()
        nursery.cancel_scope.cancel()


def test_the_first_who_asks_decides_how_the_daemon_ends() -> None:
    control = Control(Path("/lock"))
    control.stop("a test")
    control.fail(CommandError("too late"))
    assert control.failure is None


async def test_a_joiner_whose_disk_fails_ends_and_never_calls_itself_ready(
    autojump_clock: trio.abc.Clock,
) -> None:
    control = Control(Path("/lock"))
    async with (
        open_mesh(name="joiner", peers=("mem://nobody",), secret=b"s" * 32, join_wait_s=0) as mesh,
        trio.open_nursery() as nursery,
    ):

        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            mesh.node.store_failure = "disk full"
            mesh.turned()

        nursery.start_soon(fail)
        with pytest.raises(CommandError, match="the store failed: disk full"):
            await until_ready(mesh, Observer(), control, source=None)
    assert not control.stopping.is_set()


async def test_a_joiner_that_is_told_to_end_is_no_failure(
    autojump_clock: trio.abc.Clock,
) -> None:
    control = Control(Path("/lock"))
    async with (
        open_mesh(name="joiner", peers=("mem://nobody",), secret=b"s" * 32, join_wait_s=0) as mesh,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: until_stopped(mesh, control))
        await trio.testing.wait_all_tasks_blocked()
        control.stop("a test")


async def until_stopped(mesh: Mesh, control: Control) -> None:
    assert await until_ready(mesh, Observer(), control, source=None) is False
