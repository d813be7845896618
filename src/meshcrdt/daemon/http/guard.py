"""Who may use the API over TCP: a bearer token, and only by the names of this very listener.

The Unix socket has file permissions. A TCP port can be reached by every local user and, by
DNS rebinding or a form post, by any page in a browser on the host: hence Host and Origin.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from meshcrdt.daemon.http.problems import Problem, problem_response

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """Lets a request through when it carries the token and names this listener."""

    def __init__(self, app: ASGIApp, *, token: str, address: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        host, _, port = address.rpartition(":")
        names = {*LOCAL_NAMES, host}
        self._hosts = {f"{name}:{port}".encode() for name in names}
        self._origins = {b"http://" + name for name in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] == "http":
            refused = self._refusal(dict(scope["headers"]))
            if refused is not None:
                await problem_response(refused)(scope, receive, send)
                return
        elif scope["type"] == "websocket":  # none is served: whoever asks is not a client of ours
            await send({"type": "websocket.close"})
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> Problem | None:
        if headers.get(b"host", b"") not in self._hosts:
            return Problem(HTTPStatus.MISDIRECTED_REQUEST, "the Host header is not this listener")
        if headers.get(b"origin", b"") not in self._origins | {b""}:
            return Problem(HTTPStatus.FORBIDDEN, "the Origin header is not this listener")
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            return Problem(
                HTTPStatus.UNAUTHORIZED,
                "a bearer token is needed: it is in api.token in the daemon's state directory",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None
