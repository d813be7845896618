"""The client side of the HTTP API: one request over a Unix socket or TCP.

Standard library only: it is most of what a verb loads, and a verb answers in 150 ms.
Errors are already what the verb prints: one line and the exit code of the contract.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.places import BEARER_NAME

ANSWER_MARGIN_S = 2.0
"""How much longer than the daemon's own deadline a verb waits for its answer."""
READ_TIMEOUT_S = 5.0
HEARTBEAT_TIMEOUT_S = 45.0
"""A watch that brings neither change nor heartbeat for so long is broken."""
ANSWER_BYTES_MAX = 256 * 1024 * 1024
FEATURE_OFF_STATUS = 501


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; the host name that it sends means nothing."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Open the socket, as HTTPConnection does when a request is sent."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class ApiClient:
    """Talks to one daemon.

    `url` is `unix:///path` or `http://host:port`; the latter needs the bearer token that the
    daemon keeps in its state directory.
    """

    def __init__(self, url: str, *, state_dir: Path | None = None) -> None:
        self.url = url
        self._state_dir = state_dir

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | list[Any] | str | float | bool | None = None,
        has_body: bool | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> Any:
        """Send one request and return the object of a 2xx answer, or None for 204.

        `timeout_s` is the daemon's own deadline; the wait is a little longer. Raises
        CommandError: exit 5 when no daemon answers, 4 when the feature is off there, 1 else.
        """
        send_body = body is not None if has_body is None else has_body
        payload = json.dumps(body).encode() if send_body else None
        connection = self._connection(timeout_s + ANSWER_MARGIN_S)
        try:
            response = self._exchange(connection, method, path, payload)
            data = response.read(ANSWER_BYTES_MAX)
        except TimeoutError:
            raise self._silent(timeout_s + ANSWER_MARGIN_S) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()
        return _judge(response.status, data, url=self.url)

    def events(self, path: str, *, last_event_id: str | None = None) -> Iterator[Any]:
        """Yield the objects of a server-sent stream until the daemon ends it.

        The id of an event, with which a stream is resumed after it, is its "token".
        """
        connection = self._connection(READ_TIMEOUT_S)
        try:
            connection.connect()
            # http.client lets go of the socket at "Connection: close"; the response reads on.
            stream = connection.sock
            more = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
            response = self._exchange(connection, "GET", path, None, more)
            if response.status != 200:
                _judge(response.status, response.read(ANSWER_BYTES_MAX), url=self.url)
            stream.settimeout(HEARTBEAT_TIMEOUT_S)
            yield from _event_objects(response)
        except TimeoutError:
            raise self._silent(HEARTBEAT_TIMEOUT_S) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.url.startswith("unix://"):
            return UnixConnection(self.url.removeprefix("unix://"), timeout_s)
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=timeout_s)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        payload: bytes | None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "Connection": "close", **more}
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if not self.url.startswith("unix://"):
            headers["Authorization"] = f"Bearer {self._bearer()}"
        connection.request(method, path, body=payload, headers=headers)
        return connection.getresponse()

    def _bearer(self) -> str:
        """Return the token of the TCP API; only its file is ever named, never its value."""
        if self._state_dir is None:
            raise CommandError(f"{self.url} needs --state-dir, where its {BEARER_NAME} is kept")
        source = self._state_dir / BEARER_NAME
        try:
            return source.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise CommandError(f"cannot read the API token in {source}: {reason}") from None

    def _unreachable(self, error: Exception) -> CommandError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, PermissionError):
            reason += " (the socket is its owner's and group's)"
        return CommandError(
            f"no daemon answers at {self.url}: {reason}; 'meshcrdt launch' starts one",
            code=ExitCode.NO_DAEMON,
        )

    def _silent(self, waited_s: float) -> CommandError:
        return CommandError(
            f"the daemon at {self.url} did not answer within {waited_s:g} s",
            code=ExitCode.NO_DAEMON,
        )


def segment(text: str) -> str:
    """Return `text` as one percent-encoded segment of a path."""
    return quote(text, safe="")


def _judge(status: int, data: bytes, *, url: str) -> Any:
    """Return the object of a 2xx answer; raise what any other means."""
    if status == 204:
        return None
    try:
        value = json.loads(data)
    except ValueError:
        raise CommandError(f"{url} answered {status} with no JSON: is it a meshcrdt?") from None
    if 200 <= status < 300:
        return value
    problem = value if isinstance(value, dict) else {}
    message = str(problem.get("detail") or problem.get("title") or f"status {status}")
    code = ExitCode.FEATURE_OFF if status == FEATURE_OFF_STATUS else ExitCode.FAILED
    raise CommandError(message, code=code, body=outcome_of(problem))


def outcome_of(problem: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the outcome object that a problem carries, without the problem's own members."""
    if "outcome" not in problem:
        return None
    envelope = ("type", "title", "status", "detail", "instance")
    return {key: value for key, value in problem.items() if key not in envelope}


def _event_objects(response: http.client.HTTPResponse) -> Iterator[Any]:
    """Yield the data of each server-sent event; comments are heartbeats (HTML standard, 9.2)."""
    lines: list[str] = []
    token: str | None = None
    while True:
        raw = response.readline()
        if not raw:
            return
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("data:"):
            lines.append(line.removeprefix("data:").removeprefix(" "))
        elif line.startswith("id:"):
            token = line.removeprefix("id:").removeprefix(" ")
        elif not line and lines:
            event = json.loads("\n".join(lines))
            named = token is not None and isinstance(event, dict)
            yield {**event, "token": token} if named else event
            lines, token = [], None
