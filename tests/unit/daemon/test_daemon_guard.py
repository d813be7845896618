"""Who gets through to the API over TCP: the token and the listener's own names, or nobody."""

import pytest

from meshcrdt.daemon.http.guard import Guard

HOST = (b"host", b"127.0.0.1:8080")
TOKEN = (b"authorization", b"Bearer token")


async def ask(*headers, kind="http", address="127.0.0.1:8080"):
    """Return the status of the answer, or the type of the message that came first."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "passed"})

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("nothing of a request is read before it is let through")

    await Guard(app, token="token", address=address)(
        {"type": kind, "method": "GET", "path": "/", "headers": list(headers)}, receive, send
    )
    return sent[0].get("status", sent[0]["type"])


async def test_the_token_and_a_name_of_the_listener_are_let_through():
    assert await ask(HOST, TOKEN) == "passed"
    assert await ask((b"host", b"localhost:8080"), TOKEN) == "passed"
    assert await ask(HOST, TOKEN, (b"origin", b"http://127.0.0.1:8080")) == "passed"
    assert await ask((b"host", b"[::1]:80"), TOKEN, address="[::1]:80") == "passed"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((TOKEN,), 421),
        (((b"host", b"evil.example:8080"), TOKEN), 421),
        (((b"host", b"127.0.0.1:81"), TOKEN), 421),
        ((HOST, TOKEN, (b"origin", b"http://evil.example")), 403),
        ((HOST, TOKEN, (b"origin", b"null")), 403),
        ((HOST,), 401),
        ((HOST, (b"authorization", b"Bearer tokem")), 401),
        ((HOST, (b"authorization", b"Bearer \xff")), 401),
        ((HOST, (b"authorization", b"token")), 401),
    ],
)
async def test_everything_else_is_refused(headers, status):
    assert await ask(*headers) == status


async def test_no_websocket_gets_past():
    assert await ask(kind="websocket") == "websocket.close"
