"""The client against servers that behave, misbehave, or are not there."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshcrdt.daemon import client as client_module
from meshcrdt.daemon.client import ApiClient, segment
from meshcrdt.daemon.exits import CommandError, ExitCode

Serve = Callable[[bytes], Callable[[], bytes]]


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def answer(socket_path: Path) -> Iterator[Serve]:
    """Answer one request with these bytes; the returned call gives the request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(socket_path))
    listener.listen()
    threads: list[threading.Thread] = []

    def serve(response: bytes) -> Callable[[], bytes]:
        seen: list[bytes] = []

        def once() -> None:
            stream, _ = listener.accept()
            with stream:
                seen.append(_whole_request(stream))
                stream.sendall(response)

        thread = threading.Thread(target=once)
        thread.start()
        threads.append(thread)

        def request() -> bytes:
            thread.join()
            return seen[0]

        return request

    yield serve
    for thread in threads:
        thread.join()
    listener.close()


def _whole_request(stream: socket.socket) -> bytes:
    """Read a request with its body: one that ends before it breaks the caller's pipe."""
    data = stream.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    while length is not None and len(body) < int(length[1]) and (more := stream.recv(65_536)):
        body, data = body + more, data + more
    return data


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_an_object_comes_back_and_the_body_is_sent(socket_path: Path, answer: Serve) -> None:
    request = answer(http("200 OK", b'{"address": "10.32.0.1/12"}'))
    result = ApiClient(f"unix://{socket_path}").call("POST", "/v1/ipam/allocate", body={"id": "a"})
    assert result == {"address": "10.32.0.1/12"}
    head, _, body = request().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/ipam/allocate HTTP/1.1")
    assert json.loads(body) == {"id": "a"}


def test_no_content_is_none(socket_path: Path, answer: Serve) -> None:
    answer(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert ApiClient(f"unix://{socket_path}").call("DELETE", "/v1/ipam/a") is None


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", ExitCode.FAILED),
        ("409 Conflict", ExitCode.FAILED),
        ("501 Not Implemented", ExitCode.FEATURE_OFF),
        ("503 Service Unavailable", ExitCode.FAILED),
    ],
)
def test_problems_become_one_line_a_code_and_the_outcome(
    socket_path: Path, answer: Serve, status: str, code: ExitCode
) -> None:
    problem = {
        "type": "about:blank",
        "title": "x",
        "status": int(status[:3]),
        "detail": "exhausted: range 10.0.0.0/30 is full",
        "outcome": "exhausted",
        "reason": "range 10.0.0.0/30 is full",
    }
    answer(http(status, json.dumps(problem).encode()))
    with pytest.raises(CommandError, match=r"range 10\.0\.0\.0/30 is full") as caught:
        ApiClient(f"unix://{socket_path}").call("GET", "/v1/x")
    assert caught.value.code is code
    assert caught.value.body == {"outcome": "exhausted", "reason": "range 10.0.0.0/30 is full"}


def test_nobody_there_is_exit_5(socket_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no daemon answers at unix://.*api\.sock") as caught:
        ApiClient(f"unix://{socket_path}").call("GET", "/v1/status")
    assert caught.value.code is ExitCode.NO_DAEMON


def test_something_else_there_is_said_so(socket_path: Path, answer: Serve) -> None:
    answer(http("200 OK", b"<html>", "text/html"))
    with pytest.raises(CommandError, match="is it a meshcrdt"):
        ApiClient(f"unix://{socket_path}").call("GET", "/v1/status")


def test_a_daemon_that_hangs_is_given_up(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_MARGIN_S", 0.01)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(socket_path))
    listener.listen()
    with listener, pytest.raises(CommandError, match="did not answer within") as caught:
        ApiClient(f"unix://{socket_path}").call("GET", "/v1/status", timeout_s=0.01)
    assert caught.value.code is ExitCode.NO_DAEMON


def test_events_are_read_one_by_one(socket_path: Path, answer: Serve) -> None:
    stream = b': hi\n\ndata: {"kind": "snapshot",\ndata: "entries": {}}\n\ndata: 2\n\n'
    answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream)
    events = list(ApiClient(f"unix://{socket_path}").events("/v1/channels/c?watch"))
    assert events == [{"kind": "snapshot", "entries": {}}, 2]


def test_the_id_of_an_event_is_its_token_and_resumes_the_stream(
    socket_path: Path, answer: Serve
) -> None:
    stream = b'data: {"kind": "change"}\n\ndata: {"kind": "change"}\nid: T-1\n\n'
    stream += b"id: T-2\ndata: 2\n\n"
    request = answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream)
    client = ApiClient(f"unix://{socket_path}")
    events = list(client.events("/v1/channels/c?watch", last_event_id="T-0"))
    assert events == [{"kind": "change"}, {"kind": "change", "token": "T-1"}, 2]
    assert b"\r\nLast-Event-ID: T-0\r\n" in request()


def test_the_tcp_api_needs_its_token_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"api\.token: No such file"):
        ApiClient("http://127.0.0.1:9", state_dir=tmp_path).call("GET", "/v1/status")


def test_a_segment_keeps_its_slashes_to_itself() -> None:
    assert segment("a/b c%") == "a%2Fb%20c%25"
